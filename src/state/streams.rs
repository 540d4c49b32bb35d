//! What clients stream to a backend (direct connections): a bounded queue a listener.
//!
//! A client that answers for a model itself sends its answer as events named `{user}:{session}:{request}`. Whoever asked
//! listens under that name before it asks; events that nobody here listens to are not kept.

use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Events that wait for one listener; the listener of a stream that runs ahead further loses it.
pub const QUEUE: usize = 1024;

type Sender = smol::channel::Sender<Box<RawValue>>;
type Listeners = Rc<RefCell<HashMap<Rc<str>, Sender>>>;

/// The streams that somebody listens to.
#[derive(Default)]
pub struct Streams {
    listeners: Listeners,
}

/// One stream, until it is dropped.
pub struct Listener {
    name: Rc<str>,
    queue: smol::channel::Receiver<Box<RawValue>>,
    listeners: Listeners,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Taken,
    /// The listener is [`QUEUE`] events behind and has lost the stream.
    Overrun,
    /// Nobody here listens.
    Nobody,
}

impl Streams {
    /// Listens to a stream. `None` when somebody does already.
    pub fn listen(&self, name: &str) -> Option<Listener> {
        let mut listeners = self.listeners.borrow_mut();
        if listeners.contains_key(name) {
            return None;
        }
        let (sender, queue) = smol::channel::bounded(QUEUE);
        let name: Rc<str> = name.into();
        listeners.insert(name.clone(), sender);
        let listeners = self.listeners.clone();
        Some(Listener {
            name,
            queue,
            listeners,
        })
    }

    /// Hands an event to the listener of its stream.
    pub fn push(&self, name: &str, data: &RawValue) -> Pushed {
        let mut listeners = self.listeners.borrow_mut();
        let Some(sender) = listeners.get(name) else {
            return Pushed::Nobody;
        };
        if sender.try_send(data.to_owned()).is_ok() {
            return Pushed::Taken;
        }
        listeners.remove(name);
        Pushed::Overrun
    }
}

impl Listener {
    /// The next event; `None` when this listener fell too far behind.
    pub async fn next(&self) -> Option<Box<RawValue>> {
        self.queue.recv().await.ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Gone already when it was overrun; then the name may be somebody else's by now.
        if !self.queue.is_closed() {
            self.listeners.borrow_mut().remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::block_on;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    #[test]
    fn a_stream_reaches_its_listener_in_order() {
        let streams = Streams::default();
        assert_eq!(streams.push("u:s:r", &raw("1")), Pushed::Nobody);
        let listener = streams.listen("u:s:r").unwrap();
        assert!(streams.listen("u:s:r").is_none());
        for text in ["1", "2"] {
            assert_eq!(streams.push("u:s:r", &raw(text)), Pushed::Taken);
        }
        assert_eq!(block_on(listener.next()).unwrap().get(), "1");
        assert_eq!(block_on(listener.next()).unwrap().get(), "2");
        drop(listener);
        assert_eq!(streams.push("u:s:r", &raw("3")), Pushed::Nobody);
    }

    #[test]
    fn a_listener_that_falls_behind_loses_the_stream() {
        let streams = Streams::default();
        let slow = streams.listen("s").unwrap();
        for _ in 0..QUEUE {
            assert_eq!(streams.push("s", &raw("0")), Pushed::Taken);
        }
        assert_eq!(streams.push("s", &raw("0")), Pushed::Overrun);
        let next = streams.listen("s").unwrap();
        for _ in 0..QUEUE {
            assert!(block_on(slow.next()).is_some());
        }
        assert!(block_on(slow.next()).is_none());
        drop(slow);
        assert_eq!(streams.push("s", &raw("1")), Pushed::Taken);
        drop(next);
    }
}

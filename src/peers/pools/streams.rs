//! What clients stream to a backend (direct connections): a bounded queue a stream, emptied by the backend.
//!
//! A client that answers for a model itself sends its answer as events named `{user}:{session}:{request}`. Whoever asked
//! opens the stream before it asks, takes what came, and closes it; what comes for a stream that is not open here isn't kept.

use crate::ground::tasks::within;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Streams that may be open at a time.
pub const MOST: usize = 1000;
/// Bytes that may wait in all streams together; the stream that would exceed it is lost.
pub const BYTES: usize = 8 << 20;
/// What an event counts beside its own bytes: its place in the list, and its allocation.
const OVERHEAD: usize = 48;
/// How long an open stream is kept that nobody takes from.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The open streams.
#[derive(Default)]
pub struct Streams {
    open: RefCell<HashMap<String, Stream>>,
    bytes: Cell<usize>,
}

struct Stream {
    events: Vec<Box<RawValue>>,
    bytes: usize,
    /// Events were dropped: the stream is of no use any more.
    lost: bool,
    /// When somebody last opened it or took from it.
    asked: Instant,
    waker: Option<Waker>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Taken,
    /// Too much waits: the stream has lost this event and is over.
    Lost,
    /// It is not open here.
    Nobody,
}

/// Why nothing can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// It is not open.
    Closed,
    /// Events were lost, it is closed now.
    Lost,
}

impl Streams {
    /// Opens a stream, or keeps it open. `false` when there are too many.
    pub fn open(&self, name: &str, now: Instant) -> bool {
        self.drop_forgotten(now);
        let mut open = self.open.borrow_mut();
        if let Some(stream) = open.get_mut(name) {
            stream.asked = now;
            return true;
        }
        if open.len() >= MOST {
            return false;
        }
        let stream = Stream {
            events: Vec::new(),
            bytes: 0,
            lost: false,
            asked: now,
            waker: None,
        };
        open.insert(name.into(), stream);
        true
    }

    /// Hands an event to its stream.
    pub fn push(&self, name: &str, data: &RawValue) -> Pushed {
        let mut open = self.open.borrow_mut();
        let Some(stream) = open.get_mut(name) else {
            return Pushed::Nobody;
        };
        let bytes = data.get().len() + OVERHEAD;
        stream.lost |= self.bytes.get() + bytes > BYTES;
        if let Some(waker) = stream.waker.take() {
            waker.wake();
        }
        if stream.lost {
            self.bytes.set(self.bytes.get() - stream.bytes);
            (stream.events, stream.bytes) = (Vec::new(), 0);
            return Pushed::Lost;
        }
        stream.events.push(data.to_owned());
        stream.bytes += bytes;
        self.bytes.set(self.bytes.get() + bytes);
        Pushed::Taken
    }

    /// Takes what came, waiting for the first event at most `patience`; nothing came: empty.
    pub async fn take(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Vec<Box<RawValue>>, NoStream> {
        let some = poll_fn(|cx| match self.take_now(name) {
            Ok(events) if events.is_empty() => {
                if let Some(stream) = self.open.borrow_mut().get_mut(name) {
                    stream.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            answer => Poll::Ready(answer),
        });
        match within(patience, some).await {
            Some(taken) => taken,
            None => self.take_now(name),
        }
    }

    /// Closes a stream. `false` when it is not open.
    pub fn close(&self, name: &str) -> bool {
        let Some(stream) = self.open.borrow_mut().remove(name) else {
            return false;
        };
        self.bytes.set(self.bytes.get() - stream.bytes);
        if let Some(waker) = stream.waker {
            waker.wake();
        }
        true
    }

    fn take_now(&self, name: &str) -> Result<Vec<Box<RawValue>>, NoStream> {
        let mut open = self.open.borrow_mut();
        let stream = open.get_mut(name).ok_or(NoStream::Closed)?;
        if stream.lost {
            open.remove(name);
            return Err(NoStream::Lost);
        }
        stream.asked = Instant::now();
        self.bytes.set(self.bytes.get() - stream.bytes);
        stream.bytes = 0;
        Ok(std::mem::take(&mut stream.events))
    }

    fn drop_forgotten(&self, now: Instant) {
        let forgotten = |stream: &Stream| now.saturating_duration_since(stream.asked) > PATIENCE;
        self.open.borrow_mut().retain(|_, stream| {
            let keep = !forgotten(stream);
            if !keep {
                self.bytes.set(self.bytes.get() - stream.bytes);
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::block_on;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    fn take(streams: &Streams, name: &str) -> Result<Vec<String>, NoStream> {
        let taken = block_on(streams.take(name, Duration::ZERO))?;
        Ok(taken.iter().map(|raw| raw.get().to_string()).collect())
    }

    #[test]
    fn a_stream_is_taken_in_order() {
        let streams = Streams::default();
        assert_eq!(streams.push("u:s:r", &raw("1")), Pushed::Nobody);
        assert_eq!(take(&streams, "u:s:r"), Err(NoStream::Closed));
        assert!(streams.open("u:s:r", Instant::now()));
        assert_eq!(take(&streams, "u:s:r"), Ok(vec![]));
        for text in ["1", "2"] {
            assert_eq!(streams.push("u:s:r", &raw(text)), Pushed::Taken);
        }
        assert_eq!(take(&streams, "u:s:r").unwrap(), ["1", "2"]);
        assert!(streams.close("u:s:r") && !streams.close("u:s:r"));
    }

    #[test]
    fn what_is_too_much_ends_its_stream_only() {
        let streams = Streams::default();
        let large = raw(&format!("\"{}\"", "x".repeat(BYTES / 2 - 2 - OVERHEAD)));
        for name in ["a", "b"] {
            assert!(streams.open(name, Instant::now()));
            assert_eq!(streams.push(name, &large), Pushed::Taken);
        }
        assert_eq!(streams.push("b", &large), Pushed::Lost);
        assert_eq!(streams.push("b", &raw("1")), Pushed::Lost);
        assert_eq!(take(&streams, "b"), Err(NoStream::Lost));
        assert_eq!(take(&streams, "a").unwrap().len(), 1);
        assert_eq!(streams.bytes.get(), 0);
    }

    #[test]
    fn a_forgotten_stream_makes_room() {
        let streams = Streams::default();
        let start = Instant::now();
        for number in 0..MOST {
            assert!(streams.open(&number.to_string(), start));
        }
        streams.push("1", &raw("1"));
        assert!(!streams.open("more", start));
        assert!(streams.open("more", start + PATIENCE + Duration::from_secs(1)));
        assert_eq!(streams.bytes.get(), 0);
    }
}

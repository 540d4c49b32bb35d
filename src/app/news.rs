//! Volatile news (who types, where cursors are, who is in a chat) are limited in bytes a second for each sender: what is over
//! it is left out, or held back until there is room, the last of each kind alone.

use super::limit::Limit;
use crate::ground::net::Reactor;
use crate::ground::tasks::{Executor, Tasks};
use crate::metrics;
use smol::Timer;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bytes a second of one sender, as they are sent to each receiver, ten times as many at once. A cursor that moves with each
/// frame of a screen takes a third; a state of 64 KiB, the largest, may change once a second.
const RATE: f32 = 262_144.0;

/// Kinds that are held back for one sender: it edits so many documents at once.
const KINDS: usize = 4;

type Send = Box<dyn FnOnce()>;

/// The senders of volatile news: sids, and rooms that tell who is in them.
pub struct News {
    tasks: Tasks,
    limit: Limit,
    /// What is held back, by sender: kinds, which are rooms, and how the last is sent.
    held: RefCell<HashMap<String, Vec<(String, Send)>>>,
}

impl News {
    pub fn new(executor: Executor) -> Self {
        Self {
            tasks: Tasks::new(executor),
            limit: Limit::of(RATE),
            held: RefCell::default(),
        }
    }

    /// Whether the sender may send now; it pays for what it sends.
    pub fn may_send(&self, sender: &str) -> bool {
        // Nothing overtakes what is held back.
        let may = !self.held.borrow().contains_key(sender) && self.wait(sender).is_none();
        if !may {
            metrics::refused("bytes of news");
        }
        may
    }

    /// Charges the sender for something that is sent.
    pub fn pay(&self, sender: &str, bytes: usize) {
        self.limit.pay(sender, bytes as f32, now());
    }

    /// Holds something back until the sender may send again, instead of what is held of its kind.
    pub fn hold(&'static self, sender: &str, kind: &str, send: impl FnOnce() + 'static) {
        let mut held = self.held.borrow_mut();
        let send: Send = Box::new(send);
        if let Some(kinds) = held.get_mut(sender) {
            match kinds.iter_mut().find(|(of, _)| of == kind) {
                Some((_, last)) => *last = send,
                None => {
                    if kinds.len() == KINDS {
                        drop(kinds.remove(0));
                    }
                    kinds.push((kind.to_owned(), send));
                }
            }
            return;
        }
        held.insert(sender.to_owned(), vec![(kind.to_owned(), send)]);
        let (sender, wait) = (sender.to_owned(), self.wait(sender).unwrap_or_default());
        self.tasks.spawn("the last news", async move {
            Timer::after(wait).await;
            let kinds = self.held.borrow_mut().remove(&sender);
            for (_, send) in kinds.into_iter().flatten() {
                send();
            }
        });
    }

    fn wait(&self, sender: &str) -> Option<Duration> {
        self.limit.pay(sender, 0.0, now())
    }
}

fn now() -> Instant {
    Reactor::with(|reactor| reactor.turns().began())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn the_last_of_each_kind_is_sent_once_there_is_room() {
        let executor: Executor = Box::leak(Box::new(smol::LocalExecutor::new()));
        let news: &'static News = Box::leak(Box::new(News::new(executor)));
        let sent = Rc::new(RefCell::new(Vec::new()));
        let send = |kind: &str, number: u32| {
            let sent = sent.clone();
            news.hold("ann", kind, move || sent.borrow_mut().push(number));
        };
        assert!(news.may_send("ann"));
        news.pay("ann", RATE as usize * 10 + 1000);
        assert!(!news.may_send("ann") && news.may_send("bob"));
        send("one", 1);
        send("two", 2);
        send("one", 3);
        assert!(!news.may_send("ann"));
        smol::block_on(executor.run(async {
            while sent.borrow().len() < 2 {
                smol::future::yield_now().await;
            }
        }));
        assert_eq!(
            (&**sent.borrow(), news.tasks.is_empty()),
            (&[3, 2][..], true)
        );
        // No more than a bound, the last among them.
        (0..100).for_each(|n| send(&n.to_string(), n));
        let held = news.held.borrow().get("ann").map(Vec::len);
        assert_eq!(held, Some(KINDS));
    }
}

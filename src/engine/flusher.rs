//! One task that writes, at the end of a turn, for every session that has something to say.
//!
//! Emitting to a thousand sockets marks a thousand sessions and wakes one task; each session's frames go out
//! in one write. Only a session whose kernel buffer is full falls back to its own task.

use super::Session;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

#[derive(Default)]
pub(super) struct Flusher {
    dirty: RefCell<Vec<Rc<Session>>>,
    /// The list that `dirty` swaps with, kept for its buffer.
    spare: Cell<Vec<Rc<Session>>>,
    waker: Cell<Option<Waker>>,
}

/// A list longer than this gives its buffer back after use.
const KEPT: usize = 4096;

impl Flusher {
    pub fn add(&self, session: Rc<Session>) {
        self.dirty.borrow_mut().push(session);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Runs for ever.
    pub async fn run(&self) {
        poll_fn(|cx| {
            self.turn();
            self.waker.set(Some(cx.waker().clone()));
            if !self.dirty.borrow().is_empty() {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })
        .await
    }

    fn turn(&self) {
        let mut list = self.dirty.replace(self.spare.take());
        for session in list.drain(..) {
            session.flush_turn();
        }
        if list.capacity() <= KEPT {
            self.spare.set(list);
        }
    }
}

//! Waiting until something is so, without looking again and again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Those who wait. Rung by whoever changes what they wait for.
#[derive(Default)]
pub struct Bell(RefCell<Vec<Waker>>);

impl Bell {
    /// Everybody who waits looks again.
    pub fn ring(&self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until `look` finds what it looks for.
    pub fn until<T>(&self, look: impl Fn() -> Option<T>) -> impl Future<Output = T> {
        poll_fn(move |cx| self.poll(cx, &look))
    }

    /// Looks once; when nothing is found, the next ring wakes the task of `cx`.
    pub fn poll<T>(&self, cx: &Context<'_>, look: impl Fn() -> Option<T>) -> Poll<T> {
        if let Some(found) = look() {
            return Poll::Ready(found);
        }
        let mut waiting = self.0.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

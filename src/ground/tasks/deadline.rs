//! Work with a deadline.
//!
//! A type of its own, since an `async fn` that awaits its argument keeps it twice: with one deadline inside another the
//! outermost future would be many times as large as its work.

use pin_project_lite::pin_project;
use smol::Timer;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Waits for `work`, no longer than `limit`; `None` when it took longer.
pub fn within<F: Future>(limit: Duration, work: F) -> Within<F> {
    Within {
        work,
        late: Timer::after(limit),
    }
}

pin_project! {
    /// Made by [`within`].
    pub struct Within<F> {
        #[pin]
        work: F,
        #[pin]
        late: Timer,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.work.poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => this.late.poll(cx).map(|_| None),
        }
    }
}

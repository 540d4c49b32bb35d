//! Work that goes on when whoever waits for it stops waiting.

use crate::Executor;
use smol::Task;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Does the work as a task of its own, to its end.
pub fn to_its_end<T: 'static>(
    executor: Executor,
    work: impl Future<Output = T> + 'static,
) -> ToItsEnd<T> {
    ToItsEnd(Some(executor.spawn(work)))
}

/// Waits for such work.
pub struct ToItsEnd<T>(Option<Task<T>>);

impl<T> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Some(task) => Pin::new(task).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

//! Work that takes longer than a turn may: it is done by another thread, and whoever asked for it waits.

use smol::lock::Semaphore;
use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// From so many bytes on, looking at each of them is such work: half a megabyte of JSON takes 2 ms on a desktop, ten times as
/// long on a small machine.
pub const LARGE: usize = 256 << 10;

/// How many at a time. Whoever comes later waits, first come first served: it is large work alone that waits for large work.
static LANES: Semaphore = Semaphore::new(2);

/// Does the work beside our thread.
pub fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Aside<T> {
    off_thread(work, true)
}

/// Does work that waits for the disk beside our thread: it keeps no processor busy, so it waits for no large work.
pub fn aside_on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Aside<T> {
    off_thread(work, false)
}

/// Does the work beside our thread if it takes long, else at once.
pub fn aside_if<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Aside<T> {
    match long {
        true => aside(work),
        false => Aside::done(work()),
    }
}

/// The answer of work that is done, or that waits to be done beside our thread.
#[must_use]
pub enum Aside<T> {
    Done(Option<T>),
    Beside(Pin<Box<dyn Future<Output = Answer>>>),
}

impl<T> Aside<T> {
    pub fn done(answer: T) -> Self {
        Self::Done(Some(answer))
    }
}

impl<T> Unpin for Aside<T> {}

impl<T: 'static> Future for Aside<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let answer = match &mut *self {
            Self::Done(answer) => answer.take(),
            Self::Beside(done) => {
                let answer = ready!(done.as_mut().poll(cx));
                answer.downcast().ok().map(|answer| *answer)
            }
        };
        Poll::Ready(answer.expect("the work is done"))
    }
}

fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    in_lane: bool,
) -> Aside<T> {
    let work = move || -> Answer { Box::new(work()) };
    Aside::Beside(start(Box::new(work), in_lane))
}

/// An answer of any type.
type Answer = Box<dyn Any + Send>;

/// One type for all work: what each of its own needs is 1 to 2 KB of the binary.
fn start(
    work: Box<dyn FnOnce() -> Answer + Send>,
    in_lane: bool,
) -> Pin<Box<dyn Future<Output = Answer>>> {
    Box::pin(async move {
        let _lane = match in_lane {
            true => Some(LANES.acquire().await),
            false => None,
        };
        smol::unblock(work).await
    })
}

//! Work that takes longer than a turn may: it is done by another thread, and whoever asked for it waits.

use smol::lock::Semaphore;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// From so many bytes on, looking at each of them is such work: half a megabyte of JSON takes 2 ms on a desktop, ten times as
/// long on a small machine.
pub const LARGE: usize = 256 << 10;

/// How many at a time. Whoever comes later waits, first come first served: it is large work alone that waits for large work.
static LANES: Semaphore = Semaphore::new(2);

/// Does the work beside our thread.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    off_thread(work, true).await
}

/// Does work that waits for the disk beside our thread: it keeps no processor busy, so it waits for no large work.
pub async fn aside_on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    off_thread(work, false).await
}

fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    in_lane: bool,
) -> impl Future<Output = T> {
    let answer = Arc::new(Mutex::new(None));
    let slot = answer.clone();
    let done = start(
        Box::new(move || {
            let value = work();
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }),
        in_lane,
    );
    async move {
        done.await;
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.expect("the work is done")
    }
}

/// One type for all work: what each of its own needs is 1 to 2 KB of the binary.
fn start(work: Box<dyn FnOnce() + Send>, in_lane: bool) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let _lane = match in_lane {
            true => Some(LANES.acquire().await),
            false => None,
        };
        smol::unblock(work).await;
    })
}

/// Does the work beside our thread if it takes long, else at once.
pub async fn aside_if<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match long {
        true => aside(work).await,
        false => work(),
    }
}

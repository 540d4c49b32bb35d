//! Work that takes longer than a turn may: it is done by another thread, and whoever asked for it waits.

use smol::lock::Semaphore;

/// From so many bytes on, looking at each of them is such work: half a megabyte of JSON takes 2 ms on a desktop, ten times as
/// long on a small machine.
pub const LARGE: usize = 256 << 10;

/// How many at a time. Whoever comes later waits, first come first served: it is large work alone that waits for large work.
static LANES: Semaphore = Semaphore::new(2);

/// Does the work beside our thread.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _lane = LANES.acquire().await;
    smol::unblock(work).await
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

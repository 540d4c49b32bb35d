//! Reads the body of a request within the budget for input.

use super::input::{Ended, grow};
use hyper::body::{Body as _, Incoming};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What hyper holds of a body that is not read yet, counted with it.
const BUFFER: usize = 16 * 1024;

/// Why there is no whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is larger than it may be: its head says so, or it has become so.
    TooLarge,
    /// The client has left, or it breaks the rules of HTTP.
    Broken,
    Ended(Ended),
}

/// The whole body. `hold` counts what has come, and says when there is room for more.
///
/// # Errors
/// Why it can't be had.
pub async fn read_body(
    mut body: Incoming,
    most: usize,
    hold: impl Fn(usize, &Context<'_>) -> Poll<Result<(), Ended>>,
) -> Result<Vec<u8>, BodyFault> {
    if body.size_hint().lower() > most as u64 {
        return Err(BodyFault::TooLarge);
    }
    let mut bytes = Vec::new();
    poll_fn(|cx| {
        loop {
            let room = ready!(hold(bytes.capacity() + BUFFER, cx));
            room.map_err(BodyFault::Ended)?;
            let frame = ready!(Pin::new(&mut body).poll_frame(cx));
            let Some(frame) = frame else {
                return Poll::Ready(Ok(()));
            };
            // Trailers are none of ours.
            let frame = frame.map_err(|_| BodyFault::Broken)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.len() > most - bytes.len() {
                return Poll::Ready(Err(BodyFault::TooLarge));
            }
            grow(&mut bytes, data.len());
            bytes.extend_from_slice(&data);
        }
    })
    .await?;
    Ok(bytes)
}

//! A request's body, frame by frame, each waited for no longer than its deadline.

use super::reply::Problem;
use hyper::StatusCode;
use hyper::body::{Body as _, Bytes, Incoming};
use smol::Timer;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// A body as it arrives.
pub struct Frames {
    body: Incoming,
    /// Set by the first wait, to that one's deadline. Setting it anew for every frame would cost a wake-up of the
    /// reactor each, so it fires too early, and is set to what the deadline has become by then.
    timer: Option<Timer>,
}

impl Frames {
    pub fn new(body: Incoming) -> Self {
        Self { body, timer: None }
    }

    /// What arrives next; `None` at the end.
    ///
    /// # Errors
    /// Nothing arrived before the deadline, or the body broke off.
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<Bytes>, Problem> {
        poll_fn(|cx| match self.poll_data(cx) {
            Poll::Pending => self.poll_timer(deadline, cx).map(|()| Err(late())),
            ready => ready,
        })
        .await
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Problem>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(_)) => return Poll::Ready(Err(broken())),
                // Trailers are none of ours.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Ok(Some(data))),
                    Err(_) => continue,
                },
            }
        }
    }

    fn poll_timer(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Timer::at(deadline));
        loop {
            let now = ready!(Pin::new(&mut *timer).poll(cx));
            if now >= deadline {
                return Poll::Ready(());
            }
            timer.set_at(deadline);
        }
    }
}

pub fn late() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "The body took too long to arrive.",
    )
}

pub fn broken() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "The body ended in the middle.")
}

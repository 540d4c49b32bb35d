//! hyper's timer on our executor: for the deadline of a request's head.

use crate::ground::net::Watch;
use hyper::rt::{Sleep, Timer};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// hyper knows one deadline for a head, from the end of the last request on. This one begins with the head: until then the
/// connection is on its way to rest, and nothing has to be waited for.
#[derive(Clone)]
pub struct HeadTimer {
    /// The connection.
    pub watch: Watch,
}

struct Waiting {
    watch: Watch,
    /// How long a head may take.
    patience: Duration,
    /// Runs since the head has begun.
    timer: Option<smol::Timer>,
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    /// Polled by hyper whenever something was read that is no whole head yet.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.watch.has_heard() {
            return Poll::Pending;
        }
        let patience = self.patience;
        let timer = || smol::Timer::after(patience);
        let timer = self.timer.get_or_insert_with(timer);
        Pin::new(timer).poll(cx).map(drop)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, patience: Duration) -> Pin<Box<dyn Sleep>> {
        self.watch.expect();
        Box::pin(Waiting {
            watch: self.watch.clone(),
            patience,
            timer: None,
        })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

//! hyper's timer on our executor: for the deadline of a request's head.

use crate::ground::net::Watch;
use hyper::rt::{Sleep, Timer};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// hyper knows one deadline for a head, from the end of the last request on. This one waits that long for a head to begin,
/// and another time for a head that has begun.
#[derive(Clone)]
pub struct HeadTimer {
    /// How long a head may take that has begun.
    pub head_timeout: Duration,
    /// The connection.
    pub watch: Watch,
}

struct Waiting {
    timer: smol::Timer,
    /// `None` since the head has begun.
    idle: Option<HeadTimer>,
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    /// Polled by hyper whenever something was read that is no whole head yet.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(head) = self.idle.take_if(|head| head.watch.has_heard()) {
            self.timer.set_after(head.head_timeout);
        }
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.watch.expect();
        Box::pin(Waiting {
            timer: smol::Timer::at(deadline),
            idle: Some(self.clone()),
        })
    }
}

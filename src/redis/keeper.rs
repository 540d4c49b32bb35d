//! Keeps Redis connected: tries for ever, says in one line that it is away and in one that it is back.

use super::Inner;
use super::link::Link;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Between two attempts: first, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that held this long is tried again at once.
const HELD: Duration = Duration::from_secs(10);

/// Why Redis is not reached, and since when.
pub struct Outage {
    pub since: Instant,
    pub why: String,
}

/// Runs as long as the server does.
pub async fn keep(redis: Rc<Inner>) {
    let mut pause = PAUSE;
    loop {
        let mut wait = pause;
        match Link::open(redis.executor, &redis.target).await {
            Ok(link) => {
                let since = Instant::now();
                redis.came(link.clone());
                let why = futures_lite::future::or(link.ended(), redis.health(&link)).await;
                redis.went(&why);
                pause = PAUSE;
                wait = if since.elapsed() < HELD {
                    PAUSE
                } else {
                    Duration::ZERO
                };
            }
            Err(why) => {
                redis.went(&why);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        smol::Timer::after(wait).await;
    }
}

impl Inner {
    fn came(&self, link: Link) {
        *self.link.borrow_mut() = Some(link);
        self.connections.set(self.connections.get() + 1);
        match self.outage.take() {
            Some(outage) => {
                let away = outage.since.elapsed().as_secs_f32();
                log::info!("{} is back after {away:.1} s", self.target);
            }
            None => log::info!("{} is connected", self.target),
        }
        self.changed.ring();
    }

    fn went(&self, why: &str) {
        self.link.take();
        let mut outage = self.outage.borrow_mut();
        match &mut *outage {
            Some(outage) => outage.why = why.to_owned(),
            None => {
                log::warn!(
                    "{} is away ({why}); this instance serves its own sockets and tries again every 1 to 30 s",
                    self.target
                );
                *outage = Some(Outage {
                    since: Instant::now(),
                    why: why.to_owned(),
                });
            }
        }
        drop(outage);
        self.changed.ring();
    }

    /// Asks a silent connection whether it lives, when the options want that.
    async fn health(&self, link: &Link) -> String {
        let Some(interval) = self.target.health_check else {
            return futures_lite::future::pending().await;
        };
        loop {
            smol::Timer::after(interval).await;
            // A command that is not answered in time ends the link by itself.
            let _ = self.send(link, &redis::cmd("PING")).await;
        }
    }
}

//! Keeps Redis connected: tries for ever, says in one line that it is away and in one that it is back.

use super::Inner;
use super::cluster::Cluster;
use super::link::Link;
use crate::log::tenths;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Between two attempts: first, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two attempts to have a Cluster whole again, while some of it answers: first, and at most.
const HEAL_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_HEAL_PAUSE: Duration = Duration::from_secs(1);
/// A connection that held this long is tried again at once.
const HELD: Duration = Duration::from_secs(10);

/// Why Redis, or a part of it, is not reached, and since when.
pub struct Outage {
    pub since: Instant,
    pub why: String,
}

/// Runs as long as the server does.
pub async fn keep_connected(redis: Rc<Inner>) {
    let mut pause = PAUSE;
    let mut known = Vec::new();
    loop {
        let mut wait = pause;
        match Link::open(redis.executor, &redis.target, &known).await {
            Ok(link) => {
                let since = Instant::now();
                redis.came(link.clone());
                let why = match &link {
                    Link::One(node) => node.ended().await,
                    Link::Cluster(cluster) => {
                        let why = redis.follow(cluster).await;
                        known = cluster.nodes();
                        why
                    }
                };
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
                let away = tenths(outage.since.elapsed());
                log::info!("{} is back after {away} s", self.target);
            }
            None => log::info!("{} is connected", self.target),
        }
        self.changed.ring();
    }

    fn went(&self, why: &str) {
        self.link.take();
        self.lacks(
            why,
            "is away",
            "this instance serves its own sockets and tries again every 1 to 30 s",
        );
    }

    /// Said once, until it is back.
    fn lacks(&self, why: &str, what: &str, so: &str) {
        let mut outage = self.outage.borrow_mut();
        match &mut *outage {
            Some(outage) => outage.why = why.to_owned(),
            None => {
                log::warn!("{} {what} ({why}); {so}", self.target);
                *outage = Some(Outage {
                    since: Instant::now(),
                    why: why.to_owned(),
                });
            }
        }
        drop(outage);
        self.changed.ring();
    }

    /// Looks after a Cluster that may lack a node. Returns when none answers any more.
    async fn follow(&self, cluster: &Cluster) -> String {
        loop {
            let mut lack = cluster.troubled().await;
            let mut pause = HEAL_PAUSE;
            loop {
                if let Some(why) = &lack {
                    let so = "what other nodes have is shared all the same";
                    self.lacks(why, "is not whole", so);
                }
                match cluster.heal().await {
                    Ok(still) => lack = still,
                    Err(why) => return why,
                }
                if lack.is_none() {
                    break;
                }
                smol::Timer::after(pause).await;
                pause = (pause * 2).min(LONGEST_HEAL_PAUSE);
            }
            self.whole();
            // One that moves slots has news all the time.
            smol::Timer::after(HEAL_PAUSE).await;
        }
    }

    /// A node that was lost may have forgotten everything: whoever writes behind reconciles as after a reconnect.
    fn whole(&self) {
        if let Some(outage) = self.outage.take() {
            let lacked = tenths(outage.since.elapsed());
            log::info!("{} is whole again after {lacked} s", self.target);
            self.connections.set(self.connections.get() + 1);
            self.changed.ring();
        }
    }
}

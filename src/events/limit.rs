//! How many events a socket may send: a token bucket each, made by its first event.

use crate::socket::Sid;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

/// How many seconds' worth of events a rested socket may send at once.
const BURST_SECONDS: f32 = 10.0;

/// The buckets, 36 bytes each.
pub struct Limit {
    /// Events a second; `None`: no limit.
    rate: Option<f32>,
    buckets: RefCell<HashMap<Sid, Bucket>>,
}

struct Bucket {
    left: f32,
    at: Instant,
    told: bool,
}

/// What is to be done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Too many; `first` the first time for this socket.
    Drop {
        first: bool,
    },
}

impl Limit {
    pub fn new(events_per_second: Option<usize>) -> Self {
        Self {
            rate: events_per_second.map(|rate| rate as f32),
            buckets: RefCell::default(),
        }
    }

    /// An event of this socket came at `now`.
    pub fn pass(&self, sid: Sid, now: Instant) -> Verdict {
        let Some(rate) = self.rate else {
            return Verdict::Pass;
        };
        let depth = rate * BURST_SECONDS;
        let mut buckets = self.buckets.borrow_mut();
        let bucket = buckets.entry(sid).or_insert(Bucket {
            left: depth,
            at: now,
            told: false,
        });
        let elapsed = now.saturating_duration_since(bucket.at).as_secs_f32();
        bucket.left = depth.min(bucket.left + elapsed * rate);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Verdict::Pass;
        }
        let first = !std::mem::replace(&mut bucket.told, true);
        Verdict::Drop { first }
    }

    /// The socket is gone.
    pub fn forget(&self, sid: Sid) {
        self.buckets.borrow_mut().remove(&sid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limit = Limit::new(Some(2));
        let (sid, start) = (Sid::random(), Instant::now());
        for _ in 0..20 {
            assert_eq!(limit.pass(sid, start), Verdict::Pass);
        }
        assert_eq!(limit.pass(sid, start), Verdict::Drop { first: true });
        assert_eq!(limit.pass(sid, start), Verdict::Drop { first: false });
        assert_eq!(limit.pass(Sid::random(), start), Verdict::Pass);
        let later = start + Duration::from_millis(500);
        assert_eq!(limit.pass(sid, later), Verdict::Pass);
        assert_eq!(limit.pass(sid, later), Verdict::Drop { first: false });
        limit.forget(sid);
        assert_eq!(limit.pass(sid, later), Verdict::Pass);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let limit = Limit::new(None);
        let (sid, now) = (Sid::random(), Instant::now());
        assert!((0..10_000).all(|_| limit.pass(sid, now) == Verdict::Pass));
        assert!(limit.buckets.borrow().is_empty());
    }
}

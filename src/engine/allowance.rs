//! How much a client may send: who sends more is not read for a while. Nothing is dropped.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How many seconds' worth a rested client may send at once.
const BURST: f32 = 10.0;

/// Bytes of a message that cost as much as a message.
const BYTES: f32 = 65536.0;

/// How much has grown back when a client is read again, in seconds' worth: no timer for each message.
const BREATH: f32 = 0.1;

/// A token bucket that may be overdrawn: what has been handled is paid for afterwards.
pub struct Allowance {
    left: Cell<f32>,
    at: Cell<Instant>,
}

impl Allowance {
    /// A rested client's, at so many messages a second.
    pub fn new(rate: f32, now: Instant) -> Self {
        Self {
            left: Cell::new(rate * BURST),
            at: Cell::new(now),
        }
    }

    /// What a message of so many bytes costs.
    pub fn cost(bytes: usize) -> f32 {
        1.0 + bytes as f32 / BYTES
    }

    /// Whether it is as full as a new one.
    pub fn is_rested(&self, rate: f32, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at.get());
        self.left.get() + since.as_secs_f32() * rate >= rate * BURST
    }

    /// Pays for something; how long to wait before the next if there was not enough.
    pub fn pay(&self, cost: f32, rate: f32, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.at.replace(now));
        let grown = self.left.get() + since.as_secs_f32() * rate;
        let left = grown.min(rate * BURST) - cost;
        self.left.set(left);
        (left < 0.0).then(|| Duration::from_secs_f32((1f32.max(rate * BREATH) - left) / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let start = Instant::now();
        let allowance = Allowance::new(2.0, start);
        for _ in 0..20 {
            assert_eq!(allowance.pay(1.0, 2.0, start), None);
        }
        let wait = allowance.pay(1.0, 2.0, start);
        assert_eq!(wait, Some(Duration::from_secs(1)));
        let later = start + Duration::from_secs(1);
        assert_eq!(allowance.pay(1.0, 2.0, later), None);
        assert!(allowance.pay(1.0, 2.0, later).is_some());
    }

    #[test]
    fn what_is_large_costs_more() {
        let start = Instant::now();
        let allowance = Allowance::new(10.0, start);
        let wait = allowance.pay(Allowance::cost(16 << 20), 10.0, start);
        // 257 for it, 100 at hand, one more before it goes on.
        assert_eq!(wait, Some(Duration::from_secs_f32(15.8)));
    }
}

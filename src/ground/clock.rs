//! What time it is. The time of day is for what others read: tokens, records, pools. It may be set, by years on a computer
//! without a clock of its own; so how long something lasts is measured by the monotonic clock ([`Instant`]).

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far the time of day may drift from the monotonic clock between two looks without having been set.
const DRIFT: Duration = Duration::from_secs(2);

/// Epoch seconds.
pub fn now() -> i64 {
    since_epoch().as_secs().cast_signed()
}

/// The time of day since the epoch, for those who need more of it than seconds.
pub fn since_epoch() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Epoch seconds, to be told.
    pub told: i64,
    /// To measure from.
    pub at: Instant,
}

impl Moment {
    pub fn now() -> Self {
        Self {
            told: now(),
            at: Instant::now(),
        }
    }

    /// When this second (epoch seconds) comes, if the time of day is right now. `None`: later than can be measured.
    pub fn of(&self, told: i64) -> Option<Instant> {
        let ahead = told.saturating_sub(self.told);
        let distance = Duration::from_secs(ahead.unsigned_abs());
        match ahead {
            0.. => self.at.checked_add(distance),
            // What was before the monotonic clock began is over as well.
            _ => Some(self.at.checked_sub(distance).unwrap_or(self.at)),
        }
    }
}

/// Notices that the time of day was set, when it is looked at.
pub struct Steps {
    /// Both clocks at the last look, and when a step was last noticed.
    last: Cell<(Duration, Instant)>,
    noticed: Cell<Option<Instant>>,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            last: Cell::new((since_epoch(), Instant::now())),
            noticed: Cell::default(),
        }
    }
}

impl Steps {
    /// Whether the time of day was not set for so long: what others wrote by it in that time can be compared with it.
    pub fn none_for(&self, time: Duration) -> bool {
        self.look(since_epoch(), Instant::now(), time)
    }

    fn look(&self, told: Duration, at: Instant, time: Duration) -> bool {
        let (told_before, before) = self.last.replace((told, at));
        let expected = told_before + at.saturating_duration_since(before);
        if told.abs_diff(expected) > DRIFT {
            self.noticed.set(Some(at));
        }
        let noticed = self.noticed.get();
        noticed.is_none_or(|noticed| at.saturating_duration_since(noticed) > time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    #[test]
    fn a_step_is_noticed_and_passes() {
        for back in [false, true] {
            let steps = Steps::default();
            let (told, start) = steps.last.get();
            let look = |seconds: u32, told| steps.look(told, start + SECOND * seconds, 10 * SECOND);
            assert!(look(100, told + 101 * SECOND));
            let set = if back { told - MONTH } else { told + MONTH };
            assert!(!look(200, set + 200 * SECOND) && !look(210, set + 210 * SECOND));
            assert!(look(211, set + 211 * SECOND) && look(900, set + 901 * SECOND));
        }
    }

    #[test]
    fn a_second_to_come_is_found_on_the_monotonic_clock() {
        let now = Moment::now();
        assert_eq!(now.of(now.told + 60), Some(now.at + 60 * SECOND));
        assert!(now.of(now.told - 60).is_some_and(|at| at <= now.at));
        assert!(now.of(i64::MIN + 1).is_some_and(|at| at <= now.at));
        assert!(now.of(i64::MAX).is_none_or(|at| at > now.at));
    }
}

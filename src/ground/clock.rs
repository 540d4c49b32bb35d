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
}

/// When this second (epoch seconds) comes, if the time of day is right now. `None`: later than can be measured.
pub fn instant_of(second: i64) -> Option<Instant> {
    let (told, at) = (since_epoch(), Instant::now());
    let second = Duration::from_secs(u64::try_from(second).unwrap_or_default());
    match second.checked_sub(told) {
        Some(ahead) => at.checked_add(ahead),
        // What was before the monotonic clock began is over as well.
        None => Some(at.checked_sub(told.saturating_sub(second)).unwrap_or(at)),
    }
}

/// Whether a moment has come; not if there is none.
pub fn has_come(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| moment <= Instant::now())
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
        let (told, now) = (now(), Instant::now());
        let minute = 60 * SECOND;
        let ahead = instant_of(told + 60).unwrap() - now;
        assert!(ahead <= minute && ahead > minute - 2 * SECOND, "{ahead:?}");
        for past in [told - 60, told, 0, i64::MIN] {
            assert!(instant_of(past).is_some_and(|at| at <= Instant::now()));
        }
        assert!(instant_of(i64::MAX).is_none_or(|at| at > now));
    }
}

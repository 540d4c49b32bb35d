//! What is kept for who comes back, within its bounds.

use super::away::AllAway;
use super::ring::Ring;
use super::sending::{Sending, Stand};
use crate::ground::net::Reactor;
use crate::ground::tasks::{Executor, Single, Tasks};
use crate::socket::{Sid, Target};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// Who can come back, for how long, and what that may cost.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Browsers; otherwise only who asks for it.
    pub browsers: bool,
    /// How long a session is remembered.
    pub time: Duration,
    /// Bytes of all that is kept.
    pub bytes: usize,
    /// How long it takes at most until a dead connection is noticed.
    pub silence: Duration,
}

impl Settings {
    /// How long an event may be missed by somebody who still can come back: it may have been sent into a dead connection,
    /// and the one before it as long ago again (see `Place::quiet`).
    fn age(&self) -> Duration {
        self.time + self.silence * 2
    }
}

/// All that is kept.
pub struct Recovery {
    pub settings: Settings,
    pub ring: RefCell<Ring>,
    pub away: RefCell<AllAway>,
    pub tasks: Tasks,
    pub sweeping: Single,
    /// The server goes down, and another process goes on with what is kept.
    pub goes_on: Cell<bool>,
}

impl Recovery {
    pub fn new(executor: Executor, settings: Settings) -> Self {
        Self {
            settings,
            ring: RefCell::new(Ring::new()),
            away: RefCell::default(),
            tasks: Tasks::new(executor),
            sweeping: Single::default(),
            goes_on: Cell::default(),
        }
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.ring.borrow().last()
    }

    /// Where the sequence stands.
    pub fn stand(&self) -> Stand {
        Stand {
            last: self.last(),
            silence: self.settings.silence,
            now: now(),
        }
    }

    /// Keeps an event, if it is `watched`, or somebody may come back who was to get it. Whether it did.
    pub fn keep(&self, target: &Target<'_>, sending: Sending<'_>, watched: bool) -> bool {
        let wanted = watched || self.away.borrow().concerns(target);
        let Some(frame) = sending.kept(wanted) else {
            return false;
        };
        let now = now();
        self.ring.borrow_mut().push(frame, target, now);
        self.trim(now);
        true
    }

    /// Lets events go that are too old, or too many. Whether nothing is left, of sessions either.
    pub fn trim(&self, now: Instant) -> bool {
        let Settings { bytes, .. } = self.settings;
        let (mut ring, away) = (self.ring.borrow_mut(), self.away.borrow());
        ring.trim(bytes.saturating_sub(away.bytes()), self.settings.age(), now);
        ring.is_empty() && away.is_empty()
    }

    /// The session that is to be given up next, if one is.
    pub fn oldest(&self, now: Instant) -> Option<Sid> {
        let Settings { bytes, time, .. } = self.settings;
        self.away.borrow_mut().oldest(bytes / 2, time, now)
    }

    /// From one look at what is too old to the next.
    pub fn pause(&self) -> Duration {
        (self.settings.time / 8).max(Duration::from_millis(250))
    }
}

/// When this turn began.
pub fn now() -> Instant {
    Reactor::with(|reactor| reactor.turns().began())
}

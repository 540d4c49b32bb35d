//! How long one thing keeps our thread busy: everybody else waits meanwhile.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// From here on the log says what took so long.
const LONG: Duration = Duration::from_millis(50);

/// What the thread does now, and the longest it took without looking up.
pub struct Turns {
    began: Cell<Instant>,
    longest: Cell<Duration>,
    what: Cell<&'static str>,
    who: Cell<[u8; 20]>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            began: Cell::new(Instant::now()),
            longest: Cell::default(),
            what: Cell::new(""),
            who: Cell::default(),
        }
    }

    /// When the turn began: close enough to now for limits.
    pub fn began(&self) -> Instant {
        self.began.get()
    }

    /// The longest so far.
    pub fn longest(&self) -> Duration {
        self.longest.get()
    }

    /// What this turn is about, and whose socket (20 bytes of its sid) brought it.
    pub fn is_about(&self, what: &'static str, who: &[u8; 20]) {
        self.what.set(what);
        self.who.set(*who);
    }

    /// A turn begins; what was before it is nobody's.
    pub fn begin(&self) -> Instant {
        let now = Instant::now();
        self.began.set(now);
        now
    }

    /// A turn is over and the next one begins.
    pub(crate) fn over(&self, kind: &'static str) -> Instant {
        let (before, now) = (self.began.get(), self.begin());
        let took = now - before;
        if took > self.longest.get() {
            self.longest.set(took);
        }
        let what = self.what.replace("");
        if took > LONG {
            let ms = took.as_millis();
            let who = self.who.get();
            match std::str::from_utf8(&who) {
                Ok(who) if !what.is_empty() => {
                    log::info!("{what} of {who} took {ms} ms: everybody else waited");
                }
                _ => log::info!("{kind} took {ms} ms: everybody else waited"),
            }
        }
        now
    }
}

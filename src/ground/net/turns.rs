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
    /// The task that ran last.
    task: Cell<&'static str>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            began: Cell::new(Instant::now()),
            longest: Cell::default(),
            what: Cell::new(""),
            who: Cell::default(),
            task: Cell::new(""),
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

    /// This turn is a task's of that name.
    pub fn is_task(&self, name: &'static str) {
        self.task.set(name);
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
        let (what, task) = (self.what.replace(""), self.task.replace(""));
        if took > LONG {
            let who = self.who.get();
            let what = name(what, task, kind, &who);
            let ms = took.as_millis();
            log::info!("{what} took {ms} ms: everybody else waited");
        }
        now
    }
}

/// What took so long: somebody's event, or a task, or something of this kind.
fn name(what: &str, task: &str, kind: &str, who: &[u8]) -> String {
    match (what, task) {
        ("", "") => kind.to_owned(),
        ("", task) => ["the task \"", task, "\""].concat(),
        (what, _) => [what, " of ", str::from_utf8(who).unwrap_or_default()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn what_takes_long_has_a_name() {
        let name = |what, task| name(what, task, "writing", b"sid");
        assert_eq!(name("usage", "a message"), "usage of sid");
        assert_eq!(name("", "a message"), "the task \"a message\"");
        assert_eq!(name("", ""), "writing");
    }
}

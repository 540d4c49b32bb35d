//! How long one thing keeps our thread busy: everybody else waits meanwhile.

use log::Level;
use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// From here on the log says what took so long.
const LONG: Duration = Duration::from_millis(50);

/// What the thread does now, and the longest it took without looking up.
pub struct Turns {
    began: Cell<Instant>,
    longest: Cell<Duration>,
    /// The processor's time when it began, and the most that one took of it, while that is measured.
    worked: Cell<Duration>,
    hardest: Cell<Duration>,
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
            worked: Cell::default(),
            hardest: Cell::default(),
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

    /// The most that one took of the processor: what a turn takes longer than that, others had it, on a machine that is busy.
    /// Measured with the log's level `debug`, since the clock costs a system call.
    pub fn hardest(&self) -> Option<Duration> {
        is_measured().then(|| self.hardest.get())
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
        if is_measured() {
            self.worked.set(worked());
        }
        now
    }

    /// A turn is over and the next one begins.
    pub(crate) fn over(&self, kind: &'static str) -> Instant {
        let (before, work_before) = (self.began.get(), self.worked.get());
        let now = self.begin();
        let (took, work) = (now - before, self.worked.get().saturating_sub(work_before));
        if took > self.longest.get() {
            self.longest.set(took);
        }
        if work > self.hardest.get() {
            self.hardest.set(work);
        }
        let (what, task) = (self.what.replace(""), self.task.replace(""));
        if took > LONG {
            let who = self.who.get();
            let what = name(what, task, kind, &who);
            let ms = took.as_millis();
            match is_measured() {
                true => log::info!(
                    "{what} took {ms} ms, of which {} at work: everybody else waited",
                    work.as_millis()
                ),
                false => log::info!("{what} took {ms} ms: everybody else waited"),
            }
        }
        now
    }
}

fn is_measured() -> bool {
    log::max_level() >= Level::Debug
}

/// What this thread has had of the processor.
fn worked() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
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

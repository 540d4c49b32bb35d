//! Whose rights have changed a moment ago: what was asked before that is not believed any more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// No answer is on its way for longer.
const HOLDS: Duration = Duration::from_secs(60);
/// Changes that are remembered one by one; beyond that, everything counts as changed.
const MOST: usize = 4096;

/// The last change of each user, and of each user's access to a thing.
#[derive(Default)]
pub struct Changes {
    last: RefCell<HashMap<Rc<str>, Instant>>,
    all: Cell<Option<Instant>>,
}

impl Changes {
    /// This has just changed.
    pub fn note(&self, key: Rc<str>, now: Instant) {
        let mut last = self.last.borrow_mut();
        if last.len() >= MOST {
            last.retain(|_, at| now.saturating_duration_since(*at) < HOLDS);
        }
        if last.len() >= MOST {
            last.clear();
            self.all.set(Some(now));
        }
        last.insert(key, now);
    }

    /// Whether it has changed since that was asked.
    pub fn since(&self, key: &str, asked: Instant) -> bool {
        let one = self.last.borrow().get(key).copied();
        one.max(self.all.get()).is_some_and(|at| at >= asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_after_the_question_counts_and_is_bounded() {
        let (changes, start) = (Changes::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(!changes.since("a", start));
        changes.note("a".into(), later(1));
        assert!(changes.since("a", start) && changes.since("a", later(1)));
        assert!(!changes.since("a", later(2)) && !changes.since("b", start));
        for n in 0..MOST * 2 {
            changes.note(n.to_string().into(), later(2));
            assert!(changes.last.borrow().len() <= MOST);
        }
        assert!(changes.since("b", later(2)), "too many to tell apart");
        assert!(!changes.since("b", later(3)));
    }
}

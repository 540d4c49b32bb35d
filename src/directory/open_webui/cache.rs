//! What Open WebUI answered a moment ago. Bounded; what is old stays for the time of an outage.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Entries at most.
const MOST: usize = 4096;
/// How long an answer may stand in while Open WebUI is away.
const STANDS_IN: Duration = Duration::from_secs(600);

/// Answers by what they are about.
pub struct Cache<T> {
    entries: RefCell<HashMap<Rc<str>, (Instant, T)>>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        let entries = RefCell::default();
        Self { entries }
    }
}

impl<T: Clone> Cache<T> {
    /// The answer, if it is no older than this.
    pub fn get(&self, key: &str, age: Duration, now: Instant) -> Option<T> {
        let entries = self.entries.borrow();
        let (at, answer) = entries.get(key)?;
        (now.saturating_duration_since(*at) <= age).then(|| answer.clone())
    }

    /// The last answer, while there is no newer one to be had.
    pub fn last(&self, key: &str, now: Instant) -> Option<T> {
        self.get(key, STANDS_IN, now)
    }

    /// Notes an answer, unless there is a newer one.
    pub fn put(&self, key: Rc<str>, answer: T, now: Instant) {
        let mut entries = self.entries.borrow_mut();
        if entries.get(&key).is_some_and(|(at, _)| *at > now) {
            return;
        }
        if entries.len() >= MOST && !entries.contains_key(&key) {
            entries.retain(|_, (at, _)| now.saturating_duration_since(*at) < STANDS_IN / 10);
            if entries.len() >= MOST {
                entries.clear();
            }
        }
        entries.insert(key, (now, answer));
    }

    pub fn forget(&self, key: &str) {
        self.entries.borrow_mut().remove(key);
    }

    /// Forgets the answers of which this is so.
    pub fn forget_all(&self, is_old: impl Fn(&str, &T) -> bool) {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|key, (_, answer)| !is_old(key, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_age_and_are_bounded() {
        let cache = Cache::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        cache.put("a".into(), 1, start);
        assert_eq!(cache.get("a", second, start + second), Some(1));
        assert_eq!(cache.get("a", second, start + second * 2), None);
        assert_eq!(cache.last("a", start + STANDS_IN), Some(1));
        assert_eq!(cache.last("a", start + STANDS_IN + second), None);
        for n in 0..MOST * 2 {
            cache.put(n.to_string().into(), n, start + STANDS_IN);
            assert!(cache.entries.borrow().len() <= MOST);
        }
        assert_eq!(cache.last("a", start + STANDS_IN), None);
        cache.put("b".into(), 2, start);
        cache.put("b".into(), 1, start - second);
        assert_eq!(cache.last("b", start), Some(2));
        cache.forget("b");
        assert_eq!(cache.last("b", start), None);
        cache.put("c".into(), 3, start);
        cache.put("d".into(), 4, start);
        cache.forget_all(|key, answer| key == "c" && *answer == 3);
        assert_eq!(
            (cache.last("c", start), cache.last("d", start)),
            (None, Some(4))
        );
    }
}

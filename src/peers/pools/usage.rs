//! The usage pool: which models are in use, by which sessions, since when.

use super::changes::Changes;
use crate::socket::Sid;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Seconds after which an entry that was not renewed is dropped, and between two sweeps (contract, Periodic work).
pub const LIFETIME: i64 = 3;

/// `usage_pool[model][sid] = updated_at` of this instance's sessions.
#[derive(Default)]
pub struct UsagePool {
    models: RefCell<BTreeMap<String, BTreeMap<Sid, i64>>>,
    /// For whoever copies the pool elsewhere; the keys are models.
    pub changes: Changes<String>,
}

impl UsagePool {
    /// This session uses this model at `now` (epoch seconds).
    pub fn touch(&self, model: &str, sid: Sid, now: i64) {
        let mut models = self.models.borrow_mut();
        match models.get_mut(model) {
            Some(sessions) => drop(sessions.insert(sid, now)),
            None => drop(models.insert(model.into(), BTreeMap::from([(sid, now)]))),
        }
        drop(models);
        self.changes.note(model.into());
    }

    /// The session is gone.
    pub fn forget(&self, sid: Sid) {
        self.drop_where(|sessions| sessions.remove(&sid).is_some());
    }

    /// Drops what was not renewed in time, then models that nobody uses. Returns whether any is left.
    pub fn sweep(&self, now: i64) -> bool {
        self.drop_where(|sessions| {
            let before = sessions.len();
            sessions.retain(|_, updated_at| now - *updated_at <= LIFETIME);
            sessions.len() < before
        });
        !self.is_empty()
    }

    /// The models in use, sorted.
    pub fn models(&self) -> Vec<String> {
        self.models.borrow().keys().cloned().collect()
    }

    /// The sessions that use a model, with their last sign; empty when nobody does.
    pub fn sessions(&self, model: &str) -> Vec<(Sid, i64)> {
        let models = self.models.borrow();
        let sessions = models.get(model).into_iter().flatten();
        sessions.map(|(sid, at)| (*sid, *at)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.models.borrow().is_empty()
    }

    /// `drop` takes entries of a model out and tells whether there were some.
    fn drop_where(&self, drop: impl Fn(&mut BTreeMap<Sid, i64>) -> bool) {
        self.models.borrow_mut().retain(|model, sessions| {
            if drop(sessions) {
                self.changes.note(model.clone());
            }
            !sessions.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_age_and_models_vanish_with_their_last_session() {
        let usage = UsagePool::default();
        let (a, b) = (Sid::random(), Sid::random());
        usage.touch("m", a, 10);
        usage.touch("m", b, 12);
        usage.touch("n", b, 12);
        assert!(usage.sweep(13));
        assert_eq!(usage.sessions("m").len(), 2);
        assert!(usage.sweep(14));
        assert_eq!(usage.sessions("m"), vec![(b, 12)]);
        assert_eq!(usage.models(), ["m", "n"]);
        usage.forget(b);
        assert!(!usage.sweep(14) && usage.models().is_empty());
    }
}

//! The usage pool: which models are in use, by which sessions, since when.

use super::changes::Changes;
use crate::ground::clock::Moment;
use crate::socket::{BySid, Sid};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Seconds after which an entry that was not renewed is dropped, and between two sweeps (contract, Periodic work).
pub const LIFETIME: Duration = Duration::from_secs(3);

/// `usage_pool[model][sid] = updated_at` of this instance's sessions.
#[derive(Default)]
pub struct UsagePool {
    models: RefCell<HashMap<String, BySid<Moment>>>,
    /// For whoever copies the pool elsewhere; the keys are models.
    pub changes: Changes<String>,
}

impl UsagePool {
    /// This session uses this model.
    pub fn touch(&self, model: &str, sid: Sid, now: Moment) {
        let mut models = self.models.borrow_mut();
        match models.get_mut(model) {
            Some(sessions) => drop(sessions.insert(sid, now)),
            None => drop(models.insert(model.into(), BySid::from_iter([(sid, now)]))),
        }
        drop(models);
        self.changes.note(model.into());
    }

    /// The session is gone.
    pub fn forget(&self, sid: Sid) {
        self.drop_where(|sessions| sessions.remove(&sid).is_some());
    }

    /// Drops what was not renewed in time, then models that nobody uses. Returns whether any is left.
    pub fn sweep(&self, now: Instant) -> bool {
        self.drop_where(|sessions| {
            let before = sessions.len();
            sessions.retain(|_, updated| now.saturating_duration_since(updated.at) <= LIFETIME);
            sessions.len() < before
        });
        !self.is_empty()
    }

    /// The models in use, sorted.
    pub fn models(&self) -> Vec<String> {
        let mut models: Vec<String> = self.models.borrow().keys().cloned().collect();
        models.sort_unstable();
        models
    }

    /// The sessions that use a model, with their last sign in epoch seconds; empty when nobody does.
    pub fn sessions(&self, model: &str) -> Vec<(Sid, i64)> {
        let models = self.models.borrow();
        let sessions = models.get(model).into_iter().flatten();
        sessions.map(|(sid, last)| (*sid, last.told)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.models.borrow().is_empty()
    }

    /// `drop` takes entries of a model out and tells whether there were some.
    fn drop_where(&self, drop: impl Fn(&mut BySid<Moment>) -> bool) {
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
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // The time of day is set back in between: it decides nothing.
        let moment = |told, seconds| Moment {
            told,
            at: at(seconds),
        };
        usage.touch("m", a, moment(1000, 10));
        usage.touch("m", b, moment(12, 12));
        usage.touch("n", b, moment(12, 12));
        assert!(usage.sweep(at(13)));
        assert_eq!(usage.sessions("m").len(), 2);
        assert!(usage.sweep(at(14)));
        assert_eq!(usage.sessions("m"), vec![(b, 12)]);
        assert_eq!(usage.models(), ["m", "n"]);
        usage.forget(b);
        assert!(!usage.sweep(at(14)) && usage.models().is_empty());
    }
}

//! How much the sessions of a user may send together: who sends more is read more slowly. What costs more than its own handling
//! is charged by its cost.

use crate::engine::Allowance;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A user may have so many sessions that send as much as one may.
const SESSIONS: f32 = 4.0;

/// Users from whom on those who are rested are forgotten.
const MANY: usize = 256;

/// The users who have sent something lately.
pub struct Limit {
    /// Events of one session a second; `None`: no limit.
    rate: Option<f32>,
    users: RefCell<HashMap<Rc<str>, Allowance>>,
    /// How many users there may be before the rested ones are looked for.
    room: Cell<usize>,
}

impl Limit {
    pub fn new(events_per_second: Option<usize>) -> Self {
        Self {
            rate: events_per_second.map(|rate| rate as f32 * SESSIONS),
            ..Self::of(0.0)
        }
    }

    /// At so much a second.
    pub fn of(rate: f32) -> Self {
        Self {
            rate: Some(rate),
            users: RefCell::default(),
            room: Cell::new(MANY),
        }
    }

    /// Whether everybody may send as much as they like.
    pub fn is_none(&self) -> bool {
        self.rate.is_none()
    }

    /// Charges a user for something at `now`; how long the session's next message has to wait if it was too much. An ordinary
    /// event costs 1.
    pub fn pay(&self, user: &str, cost: f32, now: Instant) -> Option<Duration> {
        let rate = self.rate?;
        let mut users = self.users.borrow_mut();
        if let Some(allowance) = users.get(user) {
            return allowance.pay(cost, rate, now);
        }
        if users.len() >= self.room.get() {
            users.retain(|_, allowance| !allowance.is_rested(rate, now));
            self.room.set(MANY.max(users.len() * 2));
        }
        let allowance = Allowance::new(rate, now);
        let wait = allowance.pay(cost, rate, now);
        users.insert(user.into(), allowance);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_sessions_share_what_four_may_send() {
        let limit = Limit::new(Some(2));
        let start = Instant::now();
        assert!((0..80).all(|_| limit.pay("ann", 1.0, start).is_none()));
        assert!(limit.pay("ann", 1.0, start).is_some() && limit.pay("bob", 1.0, start).is_none());
        let later = start + Duration::from_secs(1);
        assert!(limit.pay("ann", 1.0, later).is_none());
    }

    #[test]
    fn what_costs_more_is_charged_so() {
        let limit = Limit::new(Some(2));
        let start = Instant::now();
        assert_eq!(limit.pay("ann", 80.0, start), None);
        // Seven more than there is, and one before it goes on.
        let wait = limit.pay("ann", 7.0, start);
        assert_eq!(wait, Some(Duration::from_secs(1)));
    }

    #[test]
    fn who_is_rested_is_forgotten() {
        let limit = Limit::new(Some(2));
        let start = Instant::now();
        for user in 0..2000 {
            let at = start + Duration::from_secs(60 * user);
            assert_eq!(limit.pay(&user.to_string(), 1.0, at), None);
        }
        assert!(limit.users.borrow().len() <= MANY);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let limit = Limit::new(None);
        assert!((0..10_000).all(|_| limit.pay("ann", 1.0, Instant::now()).is_none()));
        assert!(limit.users.borrow().is_empty());
    }
}

//! Why sessions ended: the last ones, for whoever asks "why was I dropped".

use super::core::Core;
use crate::ground::clock::now;
use crate::socket::Sid;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Sessions that are remembered.
const MOST: usize = 100;
/// Characters of a name that are.
const NAME: usize = 100;

/// A session that has ended.
#[derive(Clone)]
pub struct Gone {
    pub sid: Sid,
    /// Its id, name and role; null if nobody had signed in.
    pub user: Value,
    pub why: &'static str,
    /// Epoch seconds.
    pub at: i64,
}

/// The last of them, the latest at the end.
#[derive(Default)]
pub struct LastGone(RefCell<VecDeque<Gone>>);

impl LastGone {
    /// A session ends, and is still in its pool.
    pub fn note(&self, core: &Core, sid: Sid, why: &'static str) {
        let user = core.pools.sessions.who(sid).map_or(Value::Null, |who| {
            let name: String = who.user.name.chars().take(NAME).collect();
            json!({"id": who.user.id, "name": name, "role": who.user.role})
        });
        let at = now();
        self.keep(Gone { sid, user, why, at });
    }

    /// Those who have not signed in make room first: they may be anybody, and many.
    fn keep(&self, gone: Gone) {
        let mut last = self.0.borrow_mut();
        if last.len() == MOST {
            let first = last.iter().position(|gone| gone.user.is_null());
            last.remove(first.unwrap_or_default());
        }
        last.push_back(gone);
    }

    /// A session has come back: it has not ended.
    pub fn forget(&self, sid: Sid) {
        self.0.borrow_mut().retain(|gone| gone.sid != sid);
    }

    /// The sessions of this user, or all; the latest first.
    pub fn of(&self, user_id: Option<&str>) -> Vec<Gone> {
        let fits = |gone: &&Gone| user_id.is_none() || gone.user["id"].as_str() == user_id;
        let last = self.0.borrow();
        last.iter().rev().filter(fits).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered_and_strangers_go_first() {
        let last = LastGone::default();
        let keep = |user: Value, at| {
            let sid = Sid::random();
            last.keep(Gone {
                sid,
                user,
                why: "x",
                at,
            });
        };
        let times = |user| last.of(user).iter().map(|gone| gone.at).collect::<Vec<_>>();
        for at in 0..3 {
            keep(json!({"id": "ann"}), at);
        }
        for at in 3..1000 {
            keep(Value::Null, at);
        }
        assert_eq!(times(Some("ann")), [2, 1, 0]);
        assert_eq!((last.of(None).len(), times(None)[0]), (MOST, 999));
        for at in 1000..1200 {
            keep(json!({"id": "bob"}), at);
        }
        assert_eq!(
            (times(Some("ann")).len(), times(Some("bob")).len()),
            (0, MOST)
        );
        assert_eq!((times(None)[0], times(None)[MOST - 1]), (1199, 1100));
    }
}

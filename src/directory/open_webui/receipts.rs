//! Read receipts that wait to be delivered: what each user has read in a channel or a chat. Bounded.

use crate::directory::types::Identity;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

/// Receipts that may wait.
const MOST: usize = 10_000;

/// What was read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receipt {
    Channel(String),
    Chat(String),
}

/// One user's receipts.
pub struct Receipts {
    pub user_id: String,
    /// When the oldest of them came.
    pub since: Instant,
    pub read: BTreeSet<Receipt>,
}

/// The receipts that wait, sorted by the token of their user.
#[derive(Default)]
pub struct Waiting(RefCell<Vec<(Rc<str>, Receipts)>>);

impl Waiting {
    /// Adds one; `false`: too many wait.
    pub fn add(&self, who: &Identity, receipt: Receipt) -> bool {
        let mut waiting = self.0.borrow_mut();
        if waiting.iter().map(|(_, r)| r.read.len()).sum::<usize>() >= MOST {
            return false;
        }
        let at = match place(&waiting, &who.token) {
            Ok(at) => at,
            Err(at) => {
                let receipts = Receipts {
                    user_id: who.user.id.clone(),
                    since: Instant::now(),
                    read: BTreeSet::new(),
                };
                waiting.insert(at, (who.token.clone(), receipts));
                at
            }
        };
        waiting[at].1.read.insert(receipt);
        true
    }

    /// Adds what could not be delivered to what came meanwhile.
    pub fn put_back(&self, token: Rc<str>, older: Receipts) {
        let mut waiting = self.0.borrow_mut();
        match place(&waiting, &token) {
            Ok(at) => {
                let newer = &mut waiting[at].1;
                newer.since = older.since;
                newer.read.extend(older.read);
            }
            Err(at) => waiting.insert(at, (token, older)),
        }
    }

    /// Takes those of the next user, in the order of their tokens.
    pub fn take_after(&self, token: &str) -> Option<(Rc<str>, Receipts)> {
        let mut waiting = self.0.borrow_mut();
        let next = waiting.partition_point(|(other, _)| **other <= *token);
        (next < waiting.len()).then(|| waiting.remove(next))
    }

    /// How many users have some.
    pub fn users(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Where those of this token are, or belong.
fn place(waiting: &[(Rc<str>, Receipts)], token: &str) -> Result<usize, usize> {
    waiting.binary_search_by(|(other, _)| (**other).cmp(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::types::User;
    use crate::token::Claims;

    fn who(id: &str) -> Identity {
        let user = User {
            id: id.into(),
            name: id.into(),
            role: "user".into(),
            record: "{}".into(),
        };
        Identity {
            user,
            token: format!("token of {id}").into(),
            claims: Claims::default(),
            as_of: Default::default(),
        }
    }

    #[test]
    fn receipts_of_a_user_are_coalesced() {
        let waiting = Waiting::default();
        for _ in 0..5 {
            assert!(waiting.add(&who("a"), Receipt::Chat("c".into())));
            assert!(waiting.add(&who("a"), Receipt::Channel("c".into())));
        }
        let (token, receipts) = waiting.take_after("").unwrap();
        assert_eq!((&*token, receipts.read.len()), ("token of a", 2));
        assert!(waiting.add(&who("a"), Receipt::Chat("d".into())));
        waiting.put_back(token, receipts);
        assert!(waiting.add(&who("b"), Receipt::Chat("c".into())));
        let (token, receipts) = waiting.take_after("").unwrap();
        assert_eq!((&*receipts.user_id, receipts.read.len()), ("a", 3));
        waiting.put_back(token.clone(), receipts);
        let (token, receipts) = waiting.take_after(&token).unwrap();
        assert_eq!((&*receipts.user_id, receipts.read.len()), ("b", 1));
        assert!(waiting.take_after(&token).is_none());
    }

    #[test]
    fn receipts_that_wait_are_bounded() {
        let waiting = Waiting::default();
        for n in 0..MOST {
            assert!(waiting.add(&who("a"), Receipt::Chat(n.to_string())));
        }
        assert!(!waiting.add(&who("b"), Receipt::Chat("c".into())));
    }
}

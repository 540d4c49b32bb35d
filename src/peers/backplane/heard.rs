//! Users whose rights have changed, as other instances say, until somebody has taken them.

use crate::ground::tasks::Bell;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Users that may wait: they are taken at once.
const MOST: usize = 65_536;

/// The users.
#[derive(Default)]
pub struct ChangedUsers {
    waiting: RefCell<BTreeSet<String>>,
    filled: Bell,
}

impl ChangedUsers {
    pub fn add(&self, user_id: &str) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < MOST {
            waiting.insert(user_id.to_owned());
        }
        drop(waiting);
        self.filled.ring();
    }

    /// Waits until there are some, and takes them.
    pub async fn taken(&self) -> Vec<String> {
        let some = || {
            let users = self.waiting.take();
            (!users.is_empty()).then_some(users)
        };
        self.filled.until(some).await.into_iter().collect()
    }
}

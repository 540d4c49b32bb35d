//! What other instances told by its name, until somebody has taken it: users whose rights have changed, answers that have ended, notes that
//! were removed.

use crate::ground::tasks::Bell;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Names that may wait: they are taken at once.
const MOST: usize = 65_536;

/// The names, each once.
#[derive(Default)]
pub struct Heard {
    waiting: RefCell<BTreeSet<String>>,
    filled: Bell,
}

impl Heard {
    pub fn add(&self, name: &str) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < MOST {
            waiting.insert(name.to_owned());
        }
        drop(waiting);
        self.filled.ring();
    }

    /// Waits until there are some, and takes them.
    pub fn taken(&self) -> impl Future<Output = Vec<String>> {
        let some = || {
            let names = self.waiting.take();
            (!names.is_empty()).then(|| names.into_iter().collect())
        };
        self.filled.until(some)
    }
}

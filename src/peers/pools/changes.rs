//! What changed in a pool since somebody last looked: a set of keys, so that many changes of one entry are one.
//!
//! Nobody looks unless [`Changes::watch`] was called: then nothing is kept. The set is bounded: over [`MOST`] keys
//! it is given up, and the next batch says that everything may have changed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Keys that are kept while nobody looks.
pub const MOST: usize = 50_000;

/// The keys that changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Batch<K> {
    /// These. An entry that is gone from the pool was removed.
    Keys(BTreeSet<K>),
    /// Nobody knows which: compare everything.
    All,
}

/// The changes of one pool, for one watcher.
pub struct Changes<K> {
    watched: Cell<bool>,
    keys: RefCell<BTreeSet<K>>,
    lost: Cell<bool>,
    /// Whether somebody waits for what changed to be known elsewhere.
    urgent: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self {
            watched: Cell::new(false),
            keys: RefCell::default(),
            lost: Cell::new(false),
            urgent: Cell::new(false),
            waker: Cell::new(None),
        }
    }
}

impl<K: Ord> Changes<K> {
    /// From now on changes are kept; the first batch is [`Batch::All`].
    pub fn watch(&self) {
        self.watched.set(true);
        self.lost.set(true);
    }

    /// This entry changed in a way that can wait a moment.
    pub fn note(&self, key: K) {
        if !self.watched.get() {
            return;
        }
        if !self.lost.get() {
            let mut keys = self.keys.borrow_mut();
            keys.insert(key);
            if keys.len() > MOST {
                *keys = BTreeSet::new();
                self.lost.set(true);
            }
        }
        self.wake();
    }

    /// This entry came, went, or changed so that others should soon know.
    pub fn note_urgent(&self, key: K) {
        self.note(key);
        self.hurry();
    }

    /// What changed should soon be looked at.
    pub fn hurry(&self) {
        if self.is_some() {
            self.urgent.set(true);
            self.wake();
        }
    }

    /// The batch could not be delivered: the next one says so.
    pub fn undelivered(&self) {
        self.lost.set(true);
        self.keys.take();
        self.wake();
    }

    /// Whether anything has changed,
    pub fn is_some(&self) -> bool {
        self.lost.get() || !self.keys.borrow().is_empty()
    }

    /// and whether in a way that others should soon know.
    pub fn is_urgent(&self) -> bool {
        self.urgent.get()
    }

    /// Waits until `look` is true of these changes.
    pub async fn until(&self, look: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            if look(self) {
                return Poll::Ready(());
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Takes what has changed.
    pub fn take(&self) -> Batch<K> {
        self.urgent.set(false);
        let keys = self.keys.take();
        match self.lost.take() {
            true => Batch::All,
            false => Batch::Keys(keys),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn many_changes_of_one_key_are_one() {
        let changes = Changes::default();
        changes.note(1);
        assert!(!changes.is_some());
        changes.watch();
        assert_eq!(changes.take(), Batch::All);
        assert_eq!(block_on(poll_once(changes.until(Changes::is_some))), None);
        for key in [1, 2, 1, 1] {
            changes.note(key);
        }
        block_on(changes.until(Changes::is_some));
        assert_eq!(changes.take(), Batch::Keys(BTreeSet::from([1, 2])));
        assert_eq!(changes.take(), Batch::Keys(BTreeSet::new()));
    }

    #[test]
    fn too_many_keys_become_all() {
        let changes = Changes::default();
        changes.watch();
        changes.take();
        for key in 0..=MOST {
            changes.note(key);
        }
        changes.note(0);
        assert_eq!(changes.take(), Batch::All);
        changes.note(7);
        assert_eq!(changes.take(), Batch::Keys(BTreeSet::from([7])));
        changes.note(8);
        changes.undelivered();
        assert_eq!(changes.take(), Batch::All);
    }

    #[test]
    fn some_changes_are_urgent() {
        let changes = Changes::default();
        changes.watch();
        changes.take();
        changes.hurry();
        assert!(!changes.is_urgent());
        changes.note(1);
        assert!(!changes.is_urgent());
        changes.note_urgent(2);
        assert!(changes.is_urgent());
        assert_eq!(changes.take(), Batch::Keys(BTreeSet::from([1, 2])));
        assert!(!changes.is_urgent());
    }
}

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
    waker: Cell<Option<Waker>>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self {
            watched: Cell::new(false),
            keys: RefCell::default(),
            lost: Cell::new(false),
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

    /// This entry changed, came or went.
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
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The batch could not be delivered: the next one says so.
    pub fn undelivered(&self) {
        self.lost.set(true);
        self.keys.take();
    }

    /// Waits until something has changed and takes it.
    pub async fn next(&self) -> Batch<K> {
        poll_fn(|cx| {
            if self.lost.take() {
                self.keys.take();
                return Poll::Ready(Batch::All);
            }
            let keys = self.keys.take();
            if keys.is_empty() {
                self.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(Batch::Keys(keys))
        })
        .await
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
        changes.watch();
        assert_eq!(block_on(changes.next()), Batch::All);
        assert_eq!(block_on(poll_once(changes.next())), None);
        for key in [1, 2, 1, 1] {
            changes.note(key);
        }
        assert_eq!(
            block_on(changes.next()),
            Batch::Keys(BTreeSet::from([1, 2]))
        );
        assert_eq!(block_on(poll_once(changes.next())), None);
    }

    #[test]
    fn too_many_keys_become_all() {
        let changes = Changes::default();
        changes.watch();
        block_on(changes.next());
        for key in 0..=MOST {
            changes.note(key);
        }
        changes.note(0);
        assert_eq!(block_on(changes.next()), Batch::All);
        changes.note(7);
        assert_eq!(block_on(changes.next()), Batch::Keys(BTreeSet::from([7])));
    }
}

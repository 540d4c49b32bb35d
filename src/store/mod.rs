//! The embedded ACID store.
//!
//! One redb file, one writer, no lock of ours:
//!
//! - **Reading** is synchronous: first the [`overlay`] of what is written but not yet on disk, then a
//!   snapshot of the last commit. So readers see every write at once, and never wait for the disk's sync.
//! - **Writing** ([`Store::write`]) puts a [`Batch`] into the overlay and returns. Changes of one batch reach
//!   the disk together or not at all.
//! - **Durable** ([`Store::durable`]) waits until everything written so far is on disk. Who tells anybody
//!   "saved" awaits it first. All that wait share one commit, which is one fsync (group commit).
//! - **The flusher** (one task) owns the file. It sleeps while nothing is pending: no timer, no write. It commits at
//!   once when somebody waits or half of [`overlay::MAX_BYTES`] is used, else [`flush::LINGER`] after the first write. The
//!   file goes to the blocking pool for each commit and comes back with a new snapshot.
//! - **What the store does now** is one of five words ([`state`]): saving, failing, read-only, closing, closed.
//! - **Failing**: a commit that fails (disk full, read-only, broken) tells those who wait, and stays
//!   pending: readers see it, the flusher tries again, after a second and then up to every 30 s. At
//!   [`overlay::MAX_BYTES`] new writes are refused; what was taken stays.
//! - **Growth**: when the file has doubled since it was looked at last, or an eighth of it was deleted, it is looked at
//!   as soon as nothing is pending, or when it is twice as much; and rewritten (a copy, renamed over it) when more than
//!   half of it is free. The same at start.

mod disk;
mod error;
mod file;
mod flush;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod open;
mod overlay;
mod rename;
mod schema;
mod state;
mod table;
mod verify;
mod view;

#[cfg(test)]
mod tests;

pub use error::{OpenError, StoreError};
pub(crate) use open::passing_name;
pub(crate) use table::{Batch, Table, key};
pub(crate) use verify::{Report, verify};

use crate::ground::tasks::{Executor, Tasks, aside_on_disk};
use flush::Flusher;
use state::State;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The name of the file in the data folder.
pub(crate) const FILE_NAME: &str = "siskin.redb";

/// The store. Dropping it without [`Store::close`] loses what was not yet durable, as a crash would.
pub struct Store {
    shared: Rc<Shared>,
    /// Owns the file; ends with the store.
    flusher: Tasks,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.flusher.end();
    }
}

/// What the store and its flusher share.
struct Shared {
    path: PathBuf,
    state: RefCell<State>,
}

impl Store {
    /// Opens the store in the folder `folder` (made if it isn't there). Blocks; for the start.
    ///
    /// A damaged file is moved aside and an empty store opened; on a read-only or full disk the store
    /// opens for reading. Both are said in the log and by [`Store::degraded`].
    pub(crate) fn open(executor: Executor, folder: &Path) -> Result<Self, OpenError> {
        let (file, state) = open::open(folder)?;
        let shared = Rc::new(Shared {
            path: folder.join(FILE_NAME),
            state: RefCell::new(state),
        });
        let flusher = Tasks::new(executor);
        flusher.spawn("writes the store", Flusher::new(shared.clone(), file).run());
        Ok(Self { shared, flusher })
    }

    /// The value of `key`.
    pub(crate) fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.shared.state.borrow();
        if let Some(pending) = state.overlay.get(table, key) {
            return Ok(pending.map(<[u8]>::to_vec));
        }
        let snapshot = state.snapshot()?;
        snapshot.get(table, key).map_err(read_fault)
    }

    /// Is there a value of `key`?
    pub(crate) fn contains(&self, table: Table, key: &str) -> Result<bool, StoreError> {
        let state = self.shared.state.borrow();
        if let Some(pending) = state.overlay.get(table, key) {
            return Ok(pending.is_some());
        }
        let snapshot = state.snapshot()?;
        snapshot.contains(table, key).map_err(read_fault)
    }

    /// Up to `limit` entries whose keys begin with `prefix` and come after `after` (exclusive; empty: from the
    /// first), in the order of their keys.
    pub(crate) fn scan(
        &self,
        table: Table,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let state = self.shared.state.borrow();
        let mut pending = state.overlay.scan(table, prefix, after).peekable();
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let snapshot = state.snapshot()?;
        let scanned = snapshot.scan(table, prefix, after, |key, value| {
            // What is pending before this key comes first; what is pending for it replaces it.
            while let Some((newer, value)) = pending.next_if(|(newer, _)| *newer < key) {
                found.extend(value.map(|value| (newer.to_owned(), value.to_vec())));
            }
            match pending.next_if(|(newer, _)| *newer == key) {
                Some((_, newer)) => {
                    found.extend(newer.map(|value| (key.to_owned(), value.to_vec())));
                }
                None => found.push((key.to_owned(), value.to_vec())),
            }
            found.len() < limit
        });
        scanned.map_err(read_fault)?;
        if found.len() < limit {
            let rest = pending.filter_map(|(k, v)| Some((k.to_owned(), v?.to_vec())));
            found.extend(rest.take(limit - found.len()));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Takes the changes: readers see them from now on, the disk has them after [`Store::durable`].
    pub(crate) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let bytes = batch
            .0
            .iter()
            .map(|c| c.key.len() + c.value.as_ref().map_or(0, Vec::len));
        let mut state = self.shared.state.borrow_mut();
        state.admit(bytes.sum())?;
        state.overlay.write(batch);
        state.wake_flusher();
        Ok(())
    }

    /// Appends to the value of `key`. `false` if there is none.
    pub(crate) fn append(&self, table: Table, key: &str, tail: &[u8]) -> Result<bool, StoreError> {
        {
            let mut state = self.shared.state.borrow_mut();
            state.admit(tail.len())?;
            if state.overlay.append(table, key, tail) {
                state.wake_flusher();
                return Ok(true);
            }
        }
        let Some(mut value) = self.get(table, key)? else {
            return Ok(false);
        };
        value.extend_from_slice(tail);
        let mut batch = Batch::new();
        batch.put(table, key, value);
        self.write(batch).map(|()| true)
    }

    /// Waits until everything written so far is on disk, or a commit of it has failed.
    pub(crate) async fn durable(&self) -> Result<(), StoreError> {
        let answer = self.shared.state.borrow_mut().wait_for_commit();
        match answer {
            Some(answer) => answer.get().await,
            None => Ok(()),
        }
    }

    /// Writes a consistent copy of everything written so far to `path`, which appears there whole and synced or
    /// not at all. Others go on reading and writing meanwhile. Returns its length in bytes.
    pub(crate) async fn backup(&self, path: &Path) -> Result<u64, StoreError> {
        self.durable().await?;
        let snapshot = self.shared.state.borrow().on_disk.clone()?;
        let path = PathBuf::from(path);
        let copied = aside_on_disk(move || {
            disk::backup(&snapshot, &path)?;
            Ok(disk::length(&path))
        });
        copied.await.map_err(|error: disk::Error| {
            log::error!("store: can't back up: {error}");
            disk::fault(&error)
        })
    }

    /// Commits tried since the start.
    #[cfg(test)]
    pub(crate) fn commits(&self) -> u64 {
        self.shared.state.borrow().overlay.sealed()
    }

    /// What is wrong with the store, if something is: a sentence for `/ready`.
    pub(crate) fn degraded(&self) -> Option<String> {
        self.shared.state.borrow().degraded()
    }

    /// Brings what is pending to disk and closes the file, so that the next start needn't repair it. Whoever reads or
    /// writes from now on is refused.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let answer = self.shared.state.borrow_mut().wait_for_close();
        answer.get().await
    }
}

/// Says in the log what a reader can't be told.
fn read_fault(error: disk::Error) -> StoreError {
    log::error!("store: can't read: {error}");
    disk::fault(&error)
}

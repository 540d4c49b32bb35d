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
//! - **The flusher** (one task) sleeps while nothing is pending: no timer, no write. It commits at once when
//!   somebody waits or half of [`MAX_PENDING_BYTES`] is used, else [`LINGER`] after the first write. The database itself moves
//!   to the blocking pool for each commit and comes back with a new snapshot.
//! - **Failing**: a commit that fails (disk full, read-only, broken) tells those who wait, and stays
//!   pending: readers see it, the flusher tries again, after a second and then up to every 30 s. At
//!   [`MAX_PENDING_BYTES`] new writes are refused; what was taken stays.
//! - **Growth**: when the file has doubled since it was looked at last, or an eighth of it was deleted, it is looked at
//!   as soon as nothing is pending, or when it is twice as much; and rewritten (a copy, renamed over it) when more than
//!   half of it is free. The same at start.

mod disk;
mod error;
mod flush;
mod open;
mod overlay;
mod schema;
mod table;
mod tail;
mod verify;
mod view;

#[cfg(test)]
mod tests;

pub use error::{Fault, OpenError};
pub use flush::LINGER;
pub use open::passing_name;
pub use overlay::MAX_BYTES as MAX_PENDING_BYTES;
pub use schema::current as schema_version;
pub use table::{Batch, Change, Table, key};
pub use verify::{Report, verify};

use crate::ground::tasks::Executor;
use disk::Snapshot;
use overlay::Overlay;
use redb::Database;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Waker;

/// The name of the file in the data folder.
pub const FILE_NAME: &str = "siskin.redb";

/// The store. Dropping it without [`Store::close`] loses what was not yet durable, as a crash would.
pub struct Store {
    shared: Rc<Shared>,
    /// Commits what is pending; ends with the store.
    _flusher: smol::Task<()>,
}

/// What the store and its flusher share.
struct Shared {
    path: PathBuf,
    state: RefCell<State>,
}

struct State {
    overlay: Overlay,
    /// The last commit; `None` when nothing can be read.
    snapshot: Option<Snapshot>,
    /// `None` while it is on the blocking pool, and when it can't be opened for writing.
    database: Option<Database>,
    /// Is it on the blocking pool?
    is_out: bool,
    /// Holds the view of a file that can't be written to.
    reader: Option<Database>,
    /// Everything up to this generation is on disk.
    on_disk: u64,
    /// Commits that succeeded, ever.
    commits: u64,
    /// Commits that failed, ever; the generation that the last one tried; why; is it still so.
    failures: u64,
    failed: u64,
    fault: Option<Fault>,
    /// Why the store opened degraded, if it did. For ever.
    degraded: Option<String>,
    /// Nothing may be written at all, since the start.
    read_only: Option<Fault>,
    /// Those who wait for a commit, and how many they are.
    waiters: Vec<Waker>,
    waiting: usize,
    /// The flusher, when it sleeps.
    flusher: Option<Waker>,
    /// No more commits: the store is closing.
    closing: bool,
    /// The file's length when its free space was looked at last.
    measured: u64,
    /// By how many bytes the values have become more since; less than 0 when they became fewer.
    growth: i64,
}

impl Store {
    /// Opens the store in the folder `folder` (made if it isn't there). Blocks; for the start.
    ///
    /// A damaged file is moved aside and an empty store opened; on a read-only or full disk the store
    /// opens for reading. Both are said in the log and by [`Store::degraded`].
    pub fn open(executor: Executor, folder: &Path) -> Result<Self, OpenError> {
        let opened = open::open(folder)?;
        let path = folder.join(FILE_NAME);
        let state = State {
            overlay: Overlay::new(),
            snapshot: opened.snapshot,
            database: opened.database,
            is_out: false,
            reader: opened.reader,
            on_disk: 0,
            commits: 0,
            failures: 0,
            failed: 0,
            fault: None,
            degraded: opened.degraded,
            read_only: opened.read_only,
            waiters: Vec::new(),
            waiting: 0,
            flusher: None,
            closing: false,
            measured: disk::length(&path),
            growth: 0,
        };
        let shared = Rc::new(Shared {
            path,
            state: RefCell::new(state),
        });
        let flusher = executor.spawn(flush::run(shared.clone()));
        Ok(Self {
            shared,
            _flusher: flusher,
        })
    }

    /// The value of `key`.
    pub fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let state = self.shared.state.borrow();
        if let Some(pending) = state.overlay.get(table, key) {
            return Ok(pending.map(<[u8]>::to_vec));
        }
        let snapshot = state.snapshot.as_ref().ok_or(state.unreadable())?;
        snapshot.get(table, key).map_err(read_fault)
    }

    /// Is there a value of `key`?
    pub fn contains(&self, table: Table, key: &str) -> Result<bool, Fault> {
        let state = self.shared.state.borrow();
        if let Some(pending) = state.overlay.get(table, key) {
            return Ok(pending.is_some());
        }
        let snapshot = state.snapshot.as_ref().ok_or(state.unreadable())?;
        snapshot.contains(table, key).map_err(read_fault)
    }

    /// Up to `limit` entries whose keys begin with `prefix` and come after `after` (exclusive; empty: from the
    /// first), in the order of their keys.
    pub fn scan(
        &self,
        table: Table,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let state = self.shared.state.borrow();
        let mut pending = state.overlay.scan(table, prefix, after).peekable();
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let snapshot = state.snapshot.as_ref().ok_or(state.unreadable())?;
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
    pub fn write(&self, batch: Batch) -> Result<(), Fault> {
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
    pub fn append(&self, table: Table, key: &str, tail: &[u8]) -> Result<bool, Fault> {
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
    pub async fn durable(&self) -> Result<(), Fault> {
        flush::durable(&self.shared).await
    }

    /// Writes a consistent copy of everything written so far to `path`, which appears there whole and synced or
    /// not at all. Others go on reading and writing meanwhile. Returns its length in bytes.
    pub async fn backup(&self, path: &Path) -> Result<u64, Fault> {
        flush::backup(&self.shared, path).await
    }

    /// Bytes of keys and values that wait for the disk.
    pub fn pending_bytes(&self) -> usize {
        self.shared.state.borrow().overlay.bytes()
    }

    /// Commits (and so syncs) since the start.
    pub fn commits(&self) -> u64 {
        self.shared.state.borrow().commits
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// What is wrong with the store, if something is: a sentence for `/ready`.
    pub fn degraded(&self) -> Option<String> {
        let state = self.shared.state.borrow();
        let fault = state.fault.map(|fault| fault.sentence().to_owned());
        fault.or_else(|| state.degraded.clone())
    }

    /// Brings what is pending to disk and closes the file, so that the next start needn't repair it.
    pub async fn close(&self) -> Result<(), Fault> {
        flush::close(&self.shared).await
    }
}

impl State {
    /// May `bytes` more be pending?
    fn admit(&self, bytes: usize) -> Result<(), Fault> {
        if let Some(fault) = self.read_only {
            return Err(fault);
        }
        if self.closing {
            return Err(Fault::Closed);
        }
        if bytes > MAX_PENDING_BYTES {
            return Err(Fault::TooLarge);
        }
        if self.overlay.has_room(bytes) {
            return Ok(());
        }
        // While the disk fails, that is the reason, and waiting a moment no help.
        Err(self.fault.unwrap_or(Fault::Backlog))
    }

    fn unreadable(&self) -> Fault {
        self.fault.or(self.read_only).unwrap_or(Fault::Closed)
    }

    fn wake_flusher(&mut self) {
        if let Some(waker) = self.flusher.take() {
            waker.wake();
        }
    }
}

/// Says in the log what a reader can't be told.
fn read_fault(error: disk::Error) -> Fault {
    log::error!("store: can't read: {error}");
    disk::fault(&error)
}

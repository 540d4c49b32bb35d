//! The flusher: one task that brings what is pending to disk, and those who wait for it.

use super::disk::{self, Snapshot};
use super::error::Fault;
use super::overlay::MAX_BYTES;
use super::table::Change;
use super::verify::{self, Lock};
use super::{Shared, State, open};
use futures_lite::future;
use redb::Database;
use smol::Timer;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// How long a write that nobody waits for may stay in memory.
pub const LINGER: Duration = Duration::from_secs(1);

/// The longest pause after a commit that failed; the first is [`LINGER`].
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The flusher's life.
pub(super) async fn run(shared: Rc<Shared>) {
    let mut pause = LINGER;
    loop {
        until(&shared, |state| !state.overlay.is_empty()).await;
        let delay = Timer::after(pause);
        if shared.state.borrow().fault.is_none() {
            // Due at once when somebody waits or much is pending, else after LINGER.
            future::or(until(&shared, State::is_due), async {
                delay.await;
            })
            .await;
        } else {
            // While the disk fails, those who wait wait for the next attempt, a second at most.
            future::or(
                async {
                    Timer::after(LINGER).await;
                    until(&shared, |state| state.waiting > 0).await;
                },
                async {
                    delay.await;
                },
            )
            .await;
        }
        commit(&shared).await;
        pause = match shared.state.borrow().fault {
            None => LINGER,
            Some(_) => (pause * 2).min(LONGEST_PAUSE),
        };
        compact_if_due(&shared).await;
    }
}

impl State {
    fn is_due(&self) -> bool {
        self.waiting > 0 || self.closing || self.overlay.bytes() > MAX_BYTES / 2
    }

    fn wake_waiters(&mut self) {
        for waker in self.waiters.drain(..) {
            waker.wake();
        }
    }
}

/// Sleeps until `ready`; writers and waiters wake it.
async fn until(shared: &Shared, ready: fn(&State) -> bool) {
    future::poll_fn(|context| {
        let mut state = shared.state.borrow_mut();
        if ready(&state) {
            return Poll::Ready(());
        }
        state.flusher = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// What came back from the blocking pool.
struct Returned {
    /// `None`: the file can't be opened for writing for now.
    database: Option<Database>,
    /// In that case, what can be read of it.
    reader: Option<Database>,
    /// The state on disk; `None` if it can't be read, or is still what it was.
    snapshot: Option<Snapshot>,
    /// By how many bytes the values became more.
    result: Result<i64, disk::Error>,
}

/// Brings everything that is pending to disk.
async fn commit(shared: &Rc<Shared>) {
    let (database, readable, (sealed, changes)) = {
        let mut state = shared.state.borrow_mut();
        state.is_out = true;
        let readable = state.reader.is_some();
        (state.database.take(), readable, state.overlay.seal())
    };
    let path = shared.path.clone();
    let commit = move || commit_blocking(database, readable, &path, &changes);
    let returned = smol::unblock(commit).await;
    let mut state = shared.state.borrow_mut();
    match state.take_back(returned) {
        Ok(growth) => {
            state.growth += growth;
            if state.fault.take().is_some() {
                log::info!("store: the disk takes writes again; nothing that was pending is lost");
            }
            state.overlay.settle(sealed);
            state.commits += 1;
            state.on_disk = sealed;
        }
        Err(error) => {
            let fault = disk::fault(&error);
            if state.fault != Some(fault) {
                log::error!("store: can't save: {error}; it stays pending and is tried again");
            }
            state.fault = Some(fault);
            state.failures += 1;
            state.failed = sealed;
        }
    }
    state.wake_waiters();
}

impl State {
    /// The file is at home again.
    fn take_back(&mut self, returned: Returned) -> Result<i64, disk::Error> {
        self.is_out = false;
        if returned.database.is_some() || returned.reader.is_some() {
            self.reader = returned.reader;
        }
        self.database = returned.database;
        if returned.snapshot.is_some() {
            self.snapshot = returned.snapshot;
        }
        returned.result
    }
}

/// The database, which a rewrite may still hold when the store closes; `None` if it has to be opened again.
async fn until_home(shared: &Shared) -> Option<Database> {
    future::poll_fn(|context| {
        let mut state = shared.state.borrow_mut();
        if state.is_out {
            state.waiters.push(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(state.database.take())
    })
    .await
}

/// One attempt. After an error redb refuses everything, so the file is opened again, which also makes
/// it readable again. `readable`: that has happened before, and it could only be read.
fn commit_blocking(
    database: Option<Database>,
    readable: bool,
    path: &Path,
    changes: &[Change],
) -> Returned {
    let database = match database.map_or_else(|| reopen(path), Ok) {
        Ok(database) => database,
        Err(error) if readable => return Returned::nothing(error),
        Err(error) => return Returned::reading(path, Err(error)),
    };
    match disk::commit(&database, changes) {
        Ok(growth) => Returned::with(database, Ok(growth), path),
        Err(error) => {
            drop(database);
            Returned::reopened(path, Err(error))
        }
    }
}

fn reopen(path: &Path) -> Result<Database, disk::Error> {
    // Never makes a new file: what is pending belongs to the one that was there.
    disk::builder().open(path).map_err(disk::boxed)
}

impl Returned {
    fn nothing(error: disk::Error) -> Self {
        Self {
            database: None,
            reader: None,
            snapshot: None,
            result: Err(error),
        }
    }

    fn with(database: Database, result: Result<i64, disk::Error>, path: &Path) -> Self {
        match Snapshot::take(&database) {
            Ok(snapshot) => Self {
                database: Some(database),
                reader: None,
                snapshot: Some(snapshot),
                result,
            },
            // Committed or not, it can't be read: open it again at the next attempt.
            Err(error) => {
                drop(database);
                Self::reading(path, Err(result.err().unwrap_or(error)))
            }
        }
    }

    /// For writing, or else for reading.
    fn reopened(path: &Path, result: Result<i64, disk::Error>) -> Self {
        match reopen(path) {
            Ok(database) => Self::with(database, result, path),
            Err(_) => Self::reading(path, result),
        }
    }

    /// It can't be written to: what is in it can be read all the same.
    fn reading(path: &Path, result: Result<i64, disk::Error>) -> Self {
        let reader = verify::open_for_reading(path, Lock::None).ok();
        Self {
            database: None,
            snapshot: reader.as_ref().and_then(|r| Snapshot::take(r).ok()),
            reader,
            result,
        }
    }
}

impl State {
    /// Is it likely, and the moment right, that most of the file is free? To know costs reading it.
    fn is_look_due(&self, length: u64) -> bool {
        // At rest it costs nobody a wait. Who never rests waits for twice as much. A value takes up to four times its bytes
        // of the file.
        let patience = if self.overlay.is_empty() { 1 } else { 2 };
        let grown = length >= self.measured.saturating_mul(2 * patience);
        let emptied = self.growth < 0 && self.growth.unsigned_abs() >= length / 8 * patience;
        length >= open::SMALL && (grown || emptied) && !self.closing
    }
}

/// Rewrites the file when most of it is free.
async fn compact_if_due(shared: &Rc<Shared>) {
    let length = disk::length(&shared.path);
    let database = {
        let mut state = shared.state.borrow_mut();
        if !state.is_look_due(length) {
            return;
        }
        let Some(database) = state.database.take() else {
            return;
        };
        (state.measured, state.growth) = (length, 0);
        state.is_out = true;
        database
    };
    let path = shared.path.clone();
    let (returned, old) = smol::unblock(move || compact_blocking(database, &path)).await;
    {
        let mut state = shared.state.borrow_mut();
        if let Err(error) = state.take_back(returned) {
            log::warn!("store: can't rewrite {}: {error}", shared.path.display());
        }
        state.measured = disk::length(&shared.path);
        state.wake_waiters();
    }
    smol::unblock(move || drop(old)).await;
}

/// Returns the old file, too, if there is a new one: until its snapshot is replaced it is read from.
fn compact_blocking(database: Database, path: &Path) -> (Returned, Option<Database>) {
    match open::compacted(&database, path) {
        Ok(None) => (Returned::with(database, Ok(0), path), None),
        Ok(Some(compacted)) => (Returned::with(compacted, Ok(0), path), Some(database)),
        Err(error) => {
            // Whichever file has the name now is whole.
            drop(database);
            (Returned::reopened(path, Err(error)), None)
        }
    }
}

/// Counts those who wait, also when they stop waiting.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut state = shared.state.borrow_mut();
        state.waiting += 1;
        state.wake_flusher();
        drop(state);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().waiting -= 1;
    }
}

/// Waits until what is written by now is on disk, or an attempt that carried it has failed.
pub(super) async fn durable(shared: &Shared) -> Result<(), Fault> {
    let (target, failures) = {
        let state = shared.state.borrow();
        (state.overlay.newest(), state.failures)
    };
    if shared.state.borrow().on_disk >= target {
        return Ok(());
    }
    let _waiting = Waiting::new(shared);
    future::poll_fn(|context| {
        let mut state = shared.state.borrow_mut();
        if state.on_disk >= target {
            return Poll::Ready(Ok(()));
        }
        if state.failures > failures && state.failed >= target {
            return Poll::Ready(Err(state.fault.unwrap_or(Fault::Failed)));
        }
        state.waiters.push(context.waker().clone());
        Poll::Pending
    })
    .await
}

/// Copies what is on disk after everything written so far is.
pub(super) async fn backup(shared: &Shared, path: &Path) -> Result<u64, Fault> {
    durable(shared).await?;
    let snapshot = until_snapshot(shared).await?;
    let path = PathBuf::from(path);
    let copied = smol::unblock(move || {
        disk::backup(&snapshot, &path)?;
        Ok(disk::length(&path))
    });
    copied.await.map_err(|error: disk::Error| {
        log::error!("store: can't back up: {error}");
        disk::fault(&error)
    })
}

/// A snapshot of one's own, as soon as the database is at home.
async fn until_snapshot(shared: &Shared) -> Result<Snapshot, Fault> {
    future::poll_fn(|context| {
        let mut state = shared.state.borrow_mut();
        let taken = match (&state.database, &state.reader) {
            (Some(database), _) => Snapshot::take(database),
            (None, Some(reader)) => Snapshot::take(reader),
            (None, None) if state.fault.is_some() || state.read_only.is_some() || state.closing => {
                return Poll::Ready(Err(state.unreadable()));
            }
            (None, None) => {
                state.waiters.push(context.waker().clone());
                return Poll::Pending;
            }
        };
        Poll::Ready(taken.map_err(super::read_fault))
    })
    .await
}

/// The last commit, then the file is closed.
pub(super) async fn close(shared: &Shared) -> Result<(), Fault> {
    shared.state.borrow_mut().closing = true;
    let saved = durable(shared).await;
    let database = until_home(shared).await;
    {
        let mut state = shared.state.borrow_mut();
        (state.reader, state.snapshot) = (None, None);
    }
    if let Some(database) = database {
        let closed = smol::unblock(move || database.close()).await;
        if let Err(error) = closed {
            log::warn!("store: not closed cleanly, the next start repairs it: {error}");
        }
    }
    saved
}

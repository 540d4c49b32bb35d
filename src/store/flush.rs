//! The flusher: one task that brings what is pending to disk, and those who wait for it.

use super::disk::{self, Snapshot};
use super::error::Fault;
use super::overlay::MAX_BYTES;
use super::table::Change;
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
    /// `None`: the file can't be opened again for now.
    database: Option<Database>,
    /// The state on disk; `None` if it can't be read.
    snapshot: Option<Snapshot>,
    result: Result<(), disk::Error>,
}

/// Brings everything that is pending to disk.
async fn commit(shared: &Rc<Shared>) {
    let database = until_home(shared).await;
    let (sealed, changes) = shared.state.borrow_mut().overlay.seal();
    let path = shared.path.clone();
    let returned = smol::unblock(move || commit_blocking(database, &path, &changes)).await;
    let mut state = shared.state.borrow_mut();
    state.database = returned.database;
    if returned.snapshot.is_some() {
        state.snapshot = returned.snapshot;
    }
    match returned.result {
        Ok(()) => {
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

/// Takes the database; `None` if it has to be opened again. The flusher is the only one who takes it.
async fn until_home(shared: &Shared) -> Option<Database> {
    shared.state.borrow_mut().database.take()
}

/// One attempt. After an error redb refuses everything, so the file is opened again, which also makes
/// it readable again.
fn commit_blocking(database: Option<Database>, path: &Path, changes: &[Change]) -> Returned {
    let database = match database.map_or_else(|| reopen(path), Ok) {
        Ok(database) => database,
        Err(error) => return Returned::nothing(error),
    };
    let result = disk::commit(&database, changes);
    let Err(error) = result else {
        return Returned::with(database, Ok(()));
    };
    drop(database);
    match reopen(path) {
        Ok(database) => Returned::with(database, Err(error)),
        Err(_) => Returned::nothing(error),
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
            snapshot: None,
            result: Err(error),
        }
    }

    fn with(database: Database, result: Result<(), disk::Error>) -> Self {
        match Snapshot::take(&database) {
            Ok(snapshot) => Self {
                database: Some(database),
                snapshot: Some(snapshot),
                result,
            },
            // Committed or not, it can't be read: open it again at the next attempt.
            Err(error) => Self::nothing(result.err().unwrap_or(error)),
        }
    }
}

/// Rewrites the file when it has doubled, most of it is free and nothing is pending.
async fn compact_if_due(shared: &Rc<Shared>) {
    let length = disk::length(&shared.path);
    let database = {
        let mut state = shared.state.borrow_mut();
        if length < state.measured.saturating_mul(2) || !state.overlay.is_empty() {
            return;
        }
        state.measured = length;
        state.database.take()
    };
    let Some(database) = database else { return };
    let path = shared.path.clone();
    let (database, snapshot) = smol::unblock(move || compact_blocking(database, &path)).await;
    let mut state = shared.state.borrow_mut();
    state.database = database;
    if snapshot.is_some() {
        state.snapshot = snapshot;
    }
    state.measured = disk::length(&shared.path);
    state.wake_waiters();
}

fn compact_blocking(database: Database, path: &Path) -> (Option<Database>, Option<Snapshot>) {
    let database = match open::compacted(&database, path) {
        Ok(compacted) => Some(compacted.unwrap_or(database)),
        Err(error) => {
            log::warn!("store: can't rewrite {}: {error}", path.display());
            // Whichever file has the name now is whole.
            drop(database);
            reopen(path).ok()
        }
    };
    let snapshot = database.as_ref().and_then(|d| Snapshot::take(d).ok());
    (database, snapshot)
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
    let (database, snapshot) = {
        let mut state = shared.state.borrow_mut();
        state.reader = None;
        (state.database.take(), state.snapshot.take())
    };
    drop(snapshot);
    if let Some(database) = database {
        let closed = smol::unblock(move || database.close()).await;
        if let Err(error) = closed {
            log::warn!("store: not closed cleanly, the next start repairs it: {error}");
        }
    }
    saved
}

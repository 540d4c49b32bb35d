//! The flusher: one task that owns the file and brings what is pending to disk.
//!
//! It sleeps until something is pending, waits a moment for more, commits, and looks whether the file is worth a rewrite.
//! When the store closes it commits a last time, closes the file and ends.

use super::Shared;
use super::disk;
use super::error::StoreError;
use super::file::{Done, File, SMALL};
use super::overlay::MAX_BYTES;
use super::state::{State, Status};
use crate::ground::tasks::aside_on_disk;
use futures_lite::future;
use smol::Timer;
use std::mem;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// How long a write that nobody waits for may stay in memory.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The longest pause after a commit that failed; the first is twice [`LINGER`].
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The owner of the file.
pub(super) struct Flusher {
    shared: Rc<Shared>,
    file: File,
    /// The file's length when its free space was looked at last.
    measured: u64,
    /// By how many bytes the values have become more since; less than 0 when they became fewer.
    growth: i64,
}

impl Flusher {
    pub(super) fn new(shared: Rc<Shared>, file: File) -> Self {
        let measured = disk::length(&shared.path);
        Self {
            shared,
            file,
            measured,
            growth: 0,
        }
    }

    /// Its life, which ends when the store is closed.
    pub(super) async fn run(mut self) {
        let mut pause = LINGER;
        loop {
            self.until(State::has_work).await;
            self.until_due(pause).await;
            if self.shared.state.borrow().is_closing() {
                break;
            }
            pause = match self.commit().await {
                Ok(()) => LINGER,
                Err(_) => (pause * 2).min(LONGEST_PAUSE),
            };
            self.rewrite_if_due().await;
        }
        self.close().await;
    }

    /// Sleeps until `ready`; whoever writes, waits or closes wakes it.
    async fn until(&self, ready: fn(&State) -> bool) {
        future::poll_fn(|context| {
            let mut state = self.shared.state.borrow_mut();
            if ready(&state) {
                return Poll::Ready(());
            }
            state.flusher = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The same, but not longer than this.
    async fn until_or(&self, ready: fn(&State) -> bool, longest: Duration) {
        let timer = async {
            Timer::after(longest).await;
        };
        future::or(self.until(ready), timer).await;
    }

    /// Waits for the moment to commit: at once when somebody waits or much is pending, else after [`LINGER`]. While the disk
    /// fails it is after `pause`, and who waits may have to wait for the next attempt a second.
    async fn until_due(&self, pause: Duration) {
        let is_failing = matches!(self.shared.state.borrow().status(), Status::Failing(_));
        if is_failing {
            self.until_or(State::is_closing, LINGER).await;
            let rest = pause.saturating_sub(LINGER);
            self.until_or(State::is_awaited, rest).await;
        } else {
            self.until_or(is_due, LINGER).await;
        }
    }

    /// Brings everything that is pending to disk.
    async fn commit(&mut self) -> Result<(), StoreError> {
        let (generation, changes) = self.shared.state.borrow_mut().overlay.seal();
        let (file, path) = (mem::take(&mut self.file), self.shared.path.clone());
        let done = aside_on_disk(move || file.commit(&path, &changes)).await;
        let result = self.take_back(done).await;
        self.growth += result.as_ref().unwrap_or(&0);
        let mut state = self.shared.state.borrow_mut();
        state.committed(generation, result.map(drop))
    }

    /// The file is here again. Readers see what it holds now.
    async fn take_back(&mut self, done: Done) -> Result<i64, disk::Error> {
        let Done {
            file,
            result,
            replaced,
        } = done;
        let fault = result
            .as_ref()
            .err()
            .map_or(StoreError::Failed, |e| disk::fault(e));
        self.shared.state.borrow_mut().on_disk = file.on_disk(fault);
        self.file = file;
        if replaced.is_some() {
            aside_on_disk(move || drop(replaced)).await;
        }
        result
    }

    /// Rewrites the file when most of it is free.
    async fn rewrite_if_due(&mut self) {
        let length = disk::length(&self.shared.path);
        if !self.is_look_due(length) {
            return;
        }
        let open = match mem::take(&mut self.file) {
            File::Writable(open) => open,
            other => {
                self.file = other;
                return;
            }
        };
        (self.measured, self.growth) = (length, 0);
        let path = self.shared.path.clone();
        let done = aside_on_disk(move || open.rewrite(&path)).await;
        let is_writable = matches!(done.file, File::Writable(_));
        if let Err(error) = self.take_back(done).await {
            log::warn!(
                "store: can't rewrite {}: {error}",
                self.shared.path.display()
            );
            if !is_writable {
                self.shared.state.borrow_mut().fail(&error);
            }
        }
        self.measured = disk::length(&self.shared.path);
    }

    /// Is it likely, and the moment right, that most of the file is free? To know costs reading it.
    fn is_look_due(&self, length: u64) -> bool {
        let state = self.shared.state.borrow();
        // At rest it costs nobody a wait. Who never rests waits for twice as much. A value takes up to four times its bytes
        // of the file.
        let patience = if state.overlay.is_empty() { 1 } else { 2 };
        let grown = length >= self.measured.saturating_mul(2 * patience);
        let emptied = self.growth < 0 && self.growth.unsigned_abs() >= length / 8 * patience;
        length >= SMALL && (grown || emptied) && state.status() == Status::Saving
    }

    /// The last commit, then the file is closed.
    async fn close(mut self) {
        let is_pending = !self.shared.state.borrow().overlay.is_empty();
        let saved = match is_pending {
            true => self.commit().await,
            false => Ok(()),
        };
        self.shared.state.borrow_mut().on_disk = Err(StoreError::Closed);
        let file = self.file;
        aside_on_disk(move || file.close()).await;
        self.shared.state.borrow_mut().closed(saved);
    }
}

fn is_due(state: &State) -> bool {
    state.is_awaited() || state.overlay.bytes() > MAX_BYTES / 2
}

//! What the store does now, in one word, and what that means to whoever reads, writes or waits.
//!
//! | [`Status`] | a read gets | a write is | `degraded` says | it ends when |
//! | --- | --- | --- | --- | --- |
//! | `Saving` | what was written | taken | what happened at the start, if something did | a commit fails: `Failing`; `close`: `Closing` |
//! | `Failing` | what was written; the fault where the file can't be read | taken while there is room for it to wait, then refused with the fault | the fault | a commit succeeds: `Saving`; `close`: `Closing` |
//! | `ReadOnly` | what was there at the start | refused with the fault | why, and what can be read | `close`: `Closing` |
//! | `Closing` | what was written | refused | as `Saving` | one last commit was tried: `Closed` |
//! | `Closed` | a refusal | refused | as `Saving` | never |
//!
//! The flusher moves it on, but for `Closing`, which [`super::Store::close`] sets. It owns the file, too: what is here is what
//! others need of it.

use super::disk::{self, Snapshot};
use super::error::StoreError;
use super::overlay::{MAX_BYTES, Overlay};
use smol::channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::task::Waker;

/// What the store does now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Status {
    /// The last commit succeeded, or there was none yet.
    Saving,
    /// The last commit failed. What it carried stays pending, and the flusher tries again.
    Failing(StoreError),
    /// The file couldn't be written to at the start. For good.
    ReadOnly(StoreError),
    /// Nothing more is taken; what is pending gets one last commit.
    Closing,
    /// The file is closed.
    Closed,
}

/// What the store and its flusher share.
pub(super) struct State {
    /// Moved on by the methods below alone.
    status: Status,
    /// What is written but not yet on disk. Always empty when the store is read-only.
    pub(super) overlay: Overlay,
    /// What is on disk, or why it can't be read. Set by the flusher after each job.
    pub(super) on_disk: Result<Arc<Snapshot>, StoreError>,
    /// What happened at the start that somebody should know of, for as long as the store is open.
    start: Option<String>,
    waiters: Vec<Waiter>,
    /// The flusher, when it sleeps.
    pub(super) flusher: Option<Waker>,
}

/// Somebody who waits until a generation of the overlay is on disk. Who stops waiting drops the receiver.
struct Waiter {
    generation: u64,
    answer: Sender<Result<(), StoreError>>,
}

/// What somebody waits for.
pub(super) struct Confirmation(Receiver<Result<(), StoreError>>);

impl Confirmation {
    pub(super) async fn get(self) -> Result<(), StoreError> {
        self.0.recv().await.unwrap_or(Err(StoreError::Closed))
    }
}

/// The generation that no commit carries: whoever waits for it waits until the file is closed.
const CLOSE: u64 = u64::MAX;

impl State {
    pub(super) fn new(
        status: Status,
        on_disk: Result<Arc<Snapshot>, StoreError>,
        start: Option<String>,
    ) -> Self {
        Self {
            status,
            overlay: Overlay::new(),
            on_disk,
            start,
            waiters: Vec::new(),
            flusher: None,
        }
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// May `bytes` more be pending?
    pub(super) fn admit(&self, bytes: usize) -> Result<(), StoreError> {
        let no_room = match self.status {
            Status::Saving => StoreError::Backlog,
            // Waiting a moment is no help.
            Status::Failing(fault) => fault,
            Status::ReadOnly(fault) => return Err(fault),
            Status::Closing | Status::Closed => return Err(StoreError::Closed),
        };
        if bytes > MAX_BYTES {
            return Err(StoreError::TooLarge);
        }
        match self.overlay.has_room(bytes) {
            true => Ok(()),
            false => Err(no_room),
        }
    }

    /// A sentence for `/ready`, if something is wrong.
    pub(super) fn degraded(&self) -> Option<String> {
        match self.status {
            Status::Failing(fault) => Some(fault.sentence().to_owned()),
            _ => self.start.clone(),
        }
    }

    /// What is on disk.
    pub(super) fn snapshot(&self) -> Result<&Snapshot, StoreError> {
        self.on_disk.as_deref().map_err(|fault| *fault)
    }

    pub(super) fn wake_flusher(&mut self) {
        if let Some(waker) = self.flusher.take() {
            waker.wake();
        }
    }

    /// Is the flusher wanted? A store that is failing wants it also when nothing is pending, to be able to save again.
    pub(super) fn has_work(&self) -> bool {
        !self.overlay.is_empty() || matches!(self.status, Status::Failing(_)) || self.is_closing()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.status == Status::Closing
    }

    /// Does somebody wait for a commit or for the end?
    pub(super) fn is_awaited(&self) -> bool {
        self.is_closing() || self.waiters.iter().any(|w| !w.answer.is_closed())
    }

    /// Answered when everything written so far is on disk, or a commit of it has failed. `None`: it is there.
    pub(super) fn wait_for_commit(&mut self) -> Option<Confirmation> {
        (!self.overlay.is_empty()).then(|| self.wait_for(self.overlay.newest()))
    }

    /// Takes no more writes. Answered when the file is closed, with the last commit's result.
    pub(super) fn wait_for_close(&mut self) -> Confirmation {
        if self.status != Status::Closed {
            self.status = Status::Closing;
        }
        self.wait_for(CLOSE)
    }

    fn wait_for(&mut self, generation: u64) -> Confirmation {
        let (answer, answered) = bounded(1);
        // When the file is closed nobody is left to answer: the sender is dropped, which says so.
        if self.status != Status::Closed {
            self.waiters.push(Waiter { generation, answer });
            self.wake_flusher();
        }
        Confirmation(answered)
    }

    /// A commit of everything up to `generation` succeeded, or failed.
    pub(super) fn committed(
        &mut self,
        generation: u64,
        result: Result<(), disk::Error>,
    ) -> Result<(), StoreError> {
        let result = match result {
            Ok(()) => {
                self.overlay.forget(generation);
                self.recover();
                Ok(())
            }
            Err(error) => Err(self.fail(&error)),
        };
        self.answer(generation, result);
        result
    }

    fn recover(&mut self) {
        if let Status::Failing(_) = self.status {
            log::info!("store: the disk takes writes again; nothing that was pending is lost");
            self.status = Status::Saving;
        }
    }

    /// The file can't be written to for now.
    pub(super) fn fail(&mut self, error: &redb::Error) -> StoreError {
        let fault = disk::fault(error);
        if self.status != Status::Failing(fault) {
            log::error!("store: can't save: {error}; it stays pending and is tried again");
        }
        if !self.is_closing() {
            self.status = Status::Failing(fault);
        }
        fault
    }

    /// The file is closed.
    pub(super) fn closed(&mut self, saved: Result<(), StoreError>) {
        self.status = Status::Closed;
        self.answer(CLOSE, saved);
    }

    fn answer(&mut self, generation: u64, result: Result<(), StoreError>) {
        self.waiters.retain(|waiter| {
            let waits = waiter.generation > generation;
            if !waits {
                // Who stopped waiting needs no answer.
                let _ = waiter.answer.try_send(result);
            }
            waits
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Batch, Table};
    use super::*;
    use std::io::{Error, ErrorKind};

    fn state() -> State {
        State::new(
            Status::Saving,
            Err(StoreError::Failed),
            Some("a start".into()),
        )
    }

    fn written() -> State {
        let mut state = state();
        let mut batch = Batch::new();
        batch.put(Table::Users, "a", "1");
        state.overlay.write(batch);
        state
    }

    fn full() -> Result<(), disk::Error> {
        Err(disk::boxed(redb::Error::Io(Error::from(
            ErrorKind::StorageFull,
        ))))
    }

    fn answered(answer: &Confirmation) -> Option<Result<(), StoreError>> {
        answer.0.try_recv().ok()
    }

    #[test]
    fn a_store_that_fails_says_so_takes_writes_and_recovers() {
        let mut state = written();
        let (generation, _) = state.overlay.seal();
        assert_eq!(state.committed(generation, full()), Err(StoreError::Full));
        assert_eq!(state.status, Status::Failing(StoreError::Full));
        assert_eq!(state.degraded().unwrap(), StoreError::Full.sentence());
        assert_eq!(state.admit(1), Ok(()));
        assert_eq!(state.admit(MAX_BYTES), Err(StoreError::Full));
        assert_eq!(state.admit(MAX_BYTES + 1), Err(StoreError::TooLarge));
        let (generation, changes) = state.overlay.seal();
        assert_eq!(changes.len(), 1, "what failed is tried again");
        assert_eq!(state.committed(generation, Ok(())), Ok(()));
        assert_eq!(state.status, Status::Saving);
        assert_eq!(state.degraded().unwrap(), "a start");
        assert!(!state.has_work());
    }

    #[test]
    fn who_waits_hears_of_the_commit_that_carries_its_writes() {
        let mut state = state();
        assert!(state.wait_for_commit().is_none(), "nothing is pending");
        let mut state = written();
        let first = state.wait_for_commit().unwrap();
        let (generation, _) = state.overlay.seal();
        let mut batch = Batch::new();
        batch.put(Table::Users, "b", "1");
        state.overlay.write(batch);
        let second = state.wait_for_commit().unwrap();
        let _ = state.committed(generation, full());
        assert_eq!(answered(&first), Some(Err(StoreError::Full)));
        assert_eq!(answered(&second), None);
        assert!(state.is_awaited());
        drop(second);
        assert!(!state.is_awaited(), "it gave up");
    }

    #[test]
    fn a_store_that_closes_takes_nothing_more_and_never_opens_again() {
        let mut state = written();
        let close = state.wait_for_close();
        assert!(state.is_closing() && state.is_awaited() && state.has_work());
        assert_eq!(state.admit(1), Err(StoreError::Closed));
        let (generation, _) = state.overlay.seal();
        let saved = state.committed(generation, full());
        assert_eq!(state.status, Status::Closing);
        assert_eq!(answered(&close), None, "the file is still open");
        state.closed(saved);
        assert_eq!(answered(&close), Some(Err(StoreError::Full)));
        let late = [state.wait_for_close(), state.wait_for_commit().unwrap()];
        assert_eq!(state.status, Status::Closed);
        for answer in late {
            assert_eq!(smol::block_on(answer.get()), Err(StoreError::Closed));
        }
        assert_eq!(state.admit(1), Err(StoreError::Closed));
    }

    #[test]
    fn a_read_only_store_refuses_writes_for_good() {
        let mut state = State::new(
            Status::ReadOnly(StoreError::ReadOnly),
            Err(StoreError::ReadOnly),
            None,
        );
        assert_eq!(state.admit(0), Err(StoreError::ReadOnly));
        assert_eq!(state.snapshot().err(), Some(StoreError::ReadOnly));
        assert!(!state.has_work());
        drop(state.wait_for_close());
        assert!(state.has_work(), "it closes though nobody waits for it");
    }
}

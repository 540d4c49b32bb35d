//! What the local directory keeps of a note's document, and what it does not have yet.
//!
//! Updates are added to it as records, a moment's worth each, so that typing costs bytes as few as it makes; after
//! [`MOST_RECORDS`], or when they are more than what was there before, all are replaced by the merged state.

use super::history::{History, Rejected};
use super::mend::mended;
use super::reader::{Reader, put_bytes};
use super::vector::Vector;
use crate::directory::local::{KeptDocument, Local};
use crate::ground::tasks::{Aside, aside_if};
use crate::metrics;
use crate::store::StoreError;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What no save of the note takes with it is kept so long after the last change,
pub const QUIET: Duration = Duration::from_millis(500);
/// and at least so often.
const LONGEST: Duration = Duration::from_secs(5);
/// If the store didn't take it, it is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// Records beside the merged state.
const MOST_RECORDS: u64 = 256;
/// Bytes of them that are no reason to merge.
const LEAST_BYTES: usize = 64 << 10;
/// Bytes that wait to be kept as they came; if there are more, the merged state is kept.
const MOST_WAITING: usize = 256 << 10;

/// A document in the store. Whoever changes it holds the document's order.
pub struct OnDisk {
    local: Rc<Local>,
    note_id: Box<str>,
    loaded: Cell<bool>,
    epoch: Cell<u64>,
    /// The number of the next record, and how many there are beside the merged state.
    next: Cell<u64>,
    records: Cell<u64>,
    /// Bytes of the merged state and of the records beside it.
    merged: Cell<usize>,
    added: Cell<usize>,
    /// Updates that are not kept yet, each after its length; or that all are to be kept anew.
    waiting: RefCell<Vec<u8>>,
    anew: Cell<bool>,
    /// When what waits is to be kept: half a second after the last change, and at the latest.
    due: Cell<Option<(Instant, Instant)>>,
    /// Something was there when it was loaded.
    found: Cell<bool>,
    /// What is of documents that have ended: nothing of it is to be seen any more.
    ended: RefCell<Vector>,
}

impl OnDisk {
    pub fn new(local: Rc<Local>, note_id: &str) -> Self {
        Self {
            local,
            note_id: note_id.into(),
            loaded: Cell::default(),
            epoch: Cell::default(),
            next: Cell::default(),
            records: Cell::default(),
            merged: Cell::default(),
            added: Cell::default(),
            waiting: RefCell::default(),
            anew: Cell::default(),
            due: Cell::default(),
            found: Cell::default(),
            ended: RefCell::default(),
        }
    }

    pub fn is_loaded(&self) -> bool {
        self.loaded.get()
    }

    /// What is kept of it.
    pub fn kept(&self) -> Result<KeptDocument, StoreError> {
        self.local.document(&self.note_id)
    }

    /// Reads what is kept into the history, which is empty before. What is no update of it is left out.
    pub async fn load(&self, kept: KeptDocument, history: &Arc<Mutex<History>>) {
        self.epoch.set(kept.epoch);
        self.next.set(kept.next);
        let mut sizes = kept.records.iter().map(Vec::len);
        let merged = sizes.next().unwrap_or(0);
        self.merged.set(merged);
        self.added.set(sizes.sum());
        self.records
            .set((kept.records.len() as u64).saturating_sub(1));
        self.found.set(!kept.records.is_empty());
        let (list, records) = (history.clone(), kept.records);
        let bytes = merged + self.added.get();
        let outdated = kept.outdated;
        let read = move || {
            let mut history = list.lock().unwrap_or_else(PoisonError::into_inner);
            let bad = records.iter().map(|record| read(&mut history, record));
            let bad = bad.sum::<usize>();
            if outdated {
                history.bury();
            }
            (bad, history.vector().clone())
        };
        let (bad, vector) = aside_if(bytes > super::LIGHT, read).await;
        *self.ended.borrow_mut() = match outdated {
            true => vector,
            false => Vector::decode(&kept.ended).unwrap_or_default(),
        };
        if outdated {
            self.keep_buried(history).await;
        }
        if bad > 0 {
            metrics::refuse("stored update", bad as u64);
            let note_id = &self.note_id;
            log::error!("{bad} stored updates of note {note_id:?} are none, and left out");
            self.anew.set(true);
            self.due
                .set(Some((Instant::now() + QUIET, Instant::now() + LONGEST)));
        }
        self.loaded.set(true);
    }

    /// What is of documents that have ended.
    pub fn ended(&self) -> Vector {
        self.ended.borrow().clone()
    }

    /// Whether all of it has ended.
    pub fn is_buried(&self, history: &History) -> bool {
        let ended = self.ended.borrow();
        !ended.is_empty() && history.vector().is_within(&ended)
    }

    /// What was added has ended.
    pub async fn bury(&self, what: &Vector, history: &Arc<Mutex<History>>) {
        self.ended.borrow_mut().join(what);
        self.keep_buried(history).await;
    }

    /// Keeps the merged state, and what of it has ended.
    async fn keep_buried(&self, history: &Arc<Mutex<History>>) {
        let (record, number) = (state(history).await, self.next.get());
        let ended = self.ended.borrow().encode();
        self.merged.set(record.len());
        let (epoch, local) = (self.epoch.get(), &self.local);
        if let Err(fault) = local.bury_document(&self.note_id, epoch, number, record, ended) {
            let note_id = &self.note_id;
            return log::debug!(
                "that the document of note {note_id:?} has ended is not kept: {fault}"
            );
        }
        self.next.set(number + 1);
        self.added.set(0);
        self.records.set(0);
        *self.waiting.borrow_mut() = Vec::new();
        self.anew.set(false);
        self.due.set(None);
    }

    /// It ends, and whoever comes back with it is known by what is left of it, which is all that the history has.
    pub async fn end_known(&self, all: &Vector, history: &Arc<Mutex<History>>) {
        self.epoch.set(self.epoch.get() + 1);
        self.bury(all, history).await;
    }

    /// How many documents the note had before this one.
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Whether something of it was kept when it was loaded, so that somebody may come back with it.
    pub fn was_found(&self) -> bool {
        self.found.get()
    }

    /// When what is not kept yet is to be kept, if there is any: soon, and at the latest, should something else be about to do
    /// so.
    pub fn due(&self) -> Option<(Instant, Instant)> {
        let due = self.due.get();
        due.map(|(soon, latest)| (soon.min(latest), latest))
    }

    /// An update is in the history.
    pub fn add(&self, update: &[u8]) {
        let now = Instant::now();
        let latest = self.due.get().map_or(now + LONGEST, |(_, latest)| latest);
        self.due.set(Some((now + QUIET, latest)));
        if self.anew.get() {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + update.len() > MOST_WAITING {
            *waiting = Vec::new();
            self.anew.set(true);
        } else {
            put_bytes(&mut waiting, update);
        }
    }

    /// Keeps what is not kept yet: it reaches the disk with the store's next commit. What the store refuses waits on: `false`.
    pub async fn keep(&self, history: &Arc<Mutex<History>>) -> bool {
        if !self.loaded.get() || self.due.get().is_none() {
            return true;
        }
        let added = self.added.get() + self.waiting.borrow().len();
        let whole = self.anew.get()
            || self.records.get() >= MOST_RECORDS
            || added > self.merged.get().max(LEAST_BYTES);
        let record = match whole {
            true => state(history).await,
            false => self.waiting.borrow().clone(),
        };
        let (number, bytes) = (self.next.get(), record.len());
        let kept = self
            .local
            .keep_document(&self.note_id, number, record, whole);
        if let Err(fault) = kept {
            let again = Instant::now() + RETRY;
            self.due.set(Some((again, again)));
            log::debug!(
                "the document of note {:?} is not kept yet: {fault}",
                self.note_id
            );
            return false;
        }
        self.next.set(number + 1);
        if whole || number == 0 {
            self.merged.set(bytes);
            self.added.set(0);
            self.records.set(0);
        } else {
            self.added.set(added);
            self.records.set(self.records.get() + 1);
        }
        *self.waiting.borrow_mut() = Vec::new();
        self.anew.set(false);
        self.due.set(None);
        true
    }

    /// The same, and waits until it is on disk.
    pub async fn keep_now(&self, history: &Arc<Mutex<History>>) {
        self.keep(history).await;
        if let Err(fault) = self.local.durable().await {
            log::debug!(
                "the document of note {:?} is not on disk yet: {fault}",
                self.note_id
            );
        }
    }

    /// Its note is gone, and nobody has anything of it.
    pub fn forget(&self) {
        if let Err(fault) = self.local.forget_document(&self.note_id) {
            let note_id = &self.note_id;
            log::debug!("the document of note {note_id:?} is not forgotten: {fault}");
        }
    }

    /// Nobody comes back to it: nothing of it is kept.
    pub fn end(&self) {
        if self.loaded.get()
            && self.next.get() > 0
            && let Err(fault) = self.local.end_document(&self.note_id)
        {
            log::debug!(
                "the document of note {:?} is not ended: {fault}",
                self.note_id
            );
        }
    }
}

/// The merged state, as a record.
fn state(history: &Arc<Mutex<History>>) -> Aside<Vec<u8>> {
    let long = history
        .lock()
        .is_ok_and(|history| history.takes_long(0) || history.size() > super::LIGHT);
    let history = history.clone();
    let state = move || {
        let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = Vec::with_capacity(history.size() + 5);
        put_bytes(&mut record, history.state());
        record
    };
    aside_if(long, state)
}

/// Reads a record into the history; how many of its updates are none.
fn read(history: &mut History, record: &[u8]) -> usize {
    let (mut reader, mut bad) = (Reader::new(record), 0);
    while !reader.rest().is_empty() {
        let Ok(update) = reader.bytes() else {
            return bad + 1;
        };
        let appended = mended(&Vector::default(), update.to_vec())
            .map_err(|_| Rejected::Malformed)
            .and_then(|update| history.append(&update));
        bad += usize::from(matches!(
            appended,
            Err(Rejected::Malformed | Rejected::TooLarge)
        ));
    }
    bad
}

//! Documents of an instance that is alone, kept in memory; those of the local directory's notes beside them, too.

mod ended;

use super::history::{EMPTY, History, Rejected};
use super::on_disk::OnDisk;
use super::open::{Entered, Open};
use super::update::Contents;
use super::vector::Vector;
use super::{Away, Left, Seed, Version};
use crate::directory::local::Local;
use crate::ground::names::note_of_document;
use crate::ground::tasks::aside_if;
use crate::socket::Sid;
use smol::lock::{Mutex as Order, MutexGuard};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What a document takes beside its updates, in bytes, about.
const OVERHEAD: usize = 512;

type Appended = Result<Contents, Rejected>;
type Append = fn(&mut History, &[u8]) -> Appended;

/// A document that somebody has open, or that is not saved yet.
#[derive(Default)]
struct Stored {
    kept: Rc<Kept>,
    /// Who has it open, and whether they come back with what they have of it.
    users: Vec<(Sid, bool)>,
    /// Somebody who lost the connection comes back with it.
    awaited: bool,
    /// The last one did not say that it is done with it.
    dropped: bool,
}

/// The updates of a document.
#[derive(Default)]
struct Kept {
    history: Arc<Mutex<History>>,
    /// Held by whoever changes or reads it, while that is done beside our thread.
    order: Order<()>,
    /// Bytes of all updates.
    size: Cell<usize>,
    version: Cell<Version>,
    /// What it counts in the bytes of all.
    counted: Cell<usize>,
    on_disk: Option<Box<OnDisk>>,
    /// It was read from the store, and nobody has been told so.
    restored: Cell<bool>,
}

/// All of them by id, and what each session has open.
#[derive(Default)]
pub struct Memory {
    documents: RefCell<HashMap<Rc<str>, Stored>>,
    open: Open,
    /// The last version of any of them.
    version: Cell<Version>,
    /// Bytes of all of them, and the most that they may have.
    bytes: Cell<usize>,
    most: usize,
    /// There was no room when it was needed last, which is said once.
    full: Cell<bool>,
    /// Where documents of notes are kept.
    local: OnceCell<Rc<Local>>,
}

impl Kept {
    /// Calls with the history; beside our thread if it takes long. The caller holds the order.
    async fn with<T: Send + 'static>(
        &self,
        takes_long: impl FnOnce(&History) -> bool,
        work: impl FnOnce(&mut History) -> T + Send + 'static,
    ) -> T {
        let history = self.history.clone();
        let work = move |history: &Mutex<History>| {
            let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
            let done = work(&mut history);
            (done, history.size())
        };
        // Nobody else holds it.
        let long = history.lock().is_ok_and(|history| takes_long(&history));
        let (done, size) = aside_if(long, move || work(&history)).await;
        self.size.set(size);
        done
    }

    /// Whether there is nothing but what is left of one that has ended. The caller holds the order.
    fn is_buried(&self) -> bool {
        self.on_disk.as_deref().is_some_and(|on_disk| {
            let history = self.history.lock();
            history.is_ok_and(|history| on_disk.is_buried(&history))
        })
    }
}

/// Opening.
impl Memory {
    /// Documents that take so many bytes at most.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Documents of notes are kept here from now on.
    pub fn keep_in(&self, local: Rc<Local>) {
        let first = self.local.set(local).is_ok();
        debug_assert!(first, "there is one local directory");
    }

    /// `false` when the session has as many open as it may. `returns`: should it lose its connection, it comes back with what
    /// it has of the document.
    pub fn join(&self, id: &str, sid: Sid, returns: bool) -> bool {
        match self.open.enter(id, sid) {
            Entered::Full => false,
            Entered::Before => true,
            Entered::Now(id) => {
                self.kept(&id);
                let mut documents = self.documents.borrow_mut();
                documents.entry(id).or_default().users.push((sid, returns));
                true
            }
        }
    }

    /// Answers when what the session has begun is done, too.
    pub async fn leave(&self, id: &str, sid: Sid, how: Left) {
        self.open.leave(id, sid);
        let kept = self.documents.borrow_mut().get_mut(id).map(|document| {
            let at = document.users.iter().position(|(user, _)| *user == sid);
            if let Some(at) = at {
                let (_, returns) = document.users.swap_remove(at);
                document.awaited |= how == Left::Lost || returns && how == Left::Gone;
                document.dropped = how != Left::Done;
            }
            document.kept.clone()
        });
        if let Some(kept) = kept {
            kept.order.lock().await;
        }
    }

    pub fn is_open(&self, id: &str, sid: Sid) -> bool {
        self.open.is_open(id, sid)
    }

    pub fn of(&self, sid: Sid) -> Vec<Rc<str>> {
        self.open.of(sid)
    }

    pub fn users(&self, id: &str) -> Vec<Sid> {
        let documents = self.documents.borrow();
        documents
            .get(id)
            .map(|document| document.users.iter().map(|(sid, _)| *sid).collect())
            .unwrap_or_default()
    }
}

/// Changing.
impl Memory {
    pub async fn append(&self, id: &str, update: &[u8]) -> Appended {
        self.append_by(History::append_mended, id, update).await
    }

    pub async fn append_news(&self, id: &str, update: &[u8]) -> Appended {
        self.append_by(History::append_news, id, update).await
    }

    async fn append_by(&self, how: Append, id: &str, update: &[u8]) -> Appended {
        let kept = self.kept(id);
        let _order = kept.order.lock().await;
        let appended = self.try_append(&kept, update, how).await;
        self.changed(id, &kept, appended)
    }

    async fn try_append(&self, kept: &Kept, update: &[u8], how: Append) -> Appended {
        self.load(kept).await?;
        self.make_room(update.len())?;
        let (length, bytes) = (update.len(), update.to_vec());
        let takes_long =
            |history: &History| history.takes_long(length) || history.may_be_deep(update);
        let append = move |history: &mut History| how(history, &bytes);
        let contents = kept.with(takes_long, append).await?;
        if let Some(on_disk) = kept.on_disk.as_ref().filter(|_| !contents.is_empty()) {
            on_disk.add(update);
        }
        Ok(contents)
    }

    /// The first content of a note is on disk before anybody has it: who comes after a crash builds on it, and the same text
    /// is not there twice.
    pub async fn seed(&self, id: &str, update: &[u8]) -> Result<Seed, Rejected> {
        let kept = self.kept(id);
        let _order = kept.order.lock().await;
        let seeded = self.try_seed(&kept, update).await;
        self.changed(id, &kept, seeded)
    }

    async fn try_seed(&self, kept: &Kept, update: &[u8]) -> Result<Seed, Rejected> {
        self.load(kept).await?;
        let buried = kept.is_buried();
        let read = move |history: &mut History| {
            (!history.is_empty() && !buried).then(|| history.state().to_vec())
        };
        if let Some(state) = kept.with(|history| history.takes_long(0), read).await {
            return Ok(Seed::Lost(state));
        }
        let contents = self.try_append(kept, update, History::append_first).await?;
        if let Some(on_disk) = kept.on_disk.as_ref().filter(|_| !contents.is_empty()) {
            on_disk.keep_now(&kept.history).await;
        }
        Ok(Seed::Won(contents))
    }

    pub async fn state(&self, id: &str) -> Result<Option<(Vec<u8>, Version)>, Away> {
        let kept = self.documents.borrow().get(id).map(|d| d.kept.clone());
        let Some(kept) = kept else { return Ok(None) };
        let _order = self.turn(&kept).await.map_err(|_| Away)?;
        if kept.is_buried() {
            return Ok(None);
        }
        let read = |history: &mut History| {
            let state = (!history.is_empty()).then(|| history.state());
            state.unwrap_or(&EMPTY).to_vec()
        };
        let state = kept.with(|history| history.takes_long(0), read).await;
        self.count(&kept);
        Ok((kept.size.get() > 0).then(|| (state, kept.version.get())))
    }

    /// Keeps beside its note what is not kept yet of a document. `false`: the store does not take it now.
    pub async fn keep(&self, id: &str) -> bool {
        let kept = self.documents.borrow().get(id).map(|d| d.kept.clone());
        let Some(kept) = kept else { return true };
        let Some(on_disk) = &kept.on_disk else {
            return true;
        };
        let _order = kept.order.lock().await;
        on_disk.keep(&kept.history).await
    }

    /// The documents of which something is not kept yet, and when it is to be: soon, and at the latest.
    pub fn behind(&self) -> Vec<(Rc<str>, (Instant, Instant))> {
        let documents = self.documents.borrow();
        let behind = documents.iter().filter_map(|(id, document)| {
            let due = document.kept.on_disk.as_ref()?.due()?;
            Some((id.clone(), due))
        });
        behind.collect()
    }

    /// How many documents the note had before this one.
    pub fn epoch(&self, id: &str) -> Option<u64> {
        let documents = self.documents.borrow();
        Some(documents.get(id)?.kept.on_disk.as_ref()?.epoch())
    }

    /// Whether it is one that was kept, and says what its note says; told once.
    pub fn was_restored(&self, id: &str) -> bool {
        let documents = self.documents.borrow();
        documents
            .get(id)
            .is_some_and(|document| document.kept.restored.take())
    }

    pub async fn news_of(&self, id: &str, update: &[u8]) -> Option<Vec<u8>> {
        let kept = self.documents.borrow().get(id)?.kept.clone();
        let _order = self.turn(&kept).await.ok()?;
        let (length, update) = (update.len(), update.to_vec());
        let takes_long = |history: &History| history.takes_long(length) || history.takes_long(0);
        kept.with(takes_long, move |history| history.news_of(&update))
            .await
    }

    pub async fn vector(&self, id: &str) -> Option<Vector> {
        let kept = self.documents.borrow().get(id).map(|d| d.kept.clone());
        let Some(kept) = kept else {
            return Some(Vector::default());
        };
        let _order = self.turn(&kept).await.ok()?;
        if kept.is_buried() {
            return Some(Vector::default());
        }
        Some(kept.with(|_| false, |h| h.vector().clone()).await)
    }

    pub fn size(&self, id: &str) -> usize {
        let documents = self.documents.borrow();
        documents.get(id).map_or(0, |d| d.kept.size.get())
    }

    /// What its state was when it was read last, if it is still that.
    pub fn version(&self, id: &str) -> Option<Version> {
        let documents = self.documents.borrow();
        documents.get(id).map(|d| d.kept.version.get())
    }

    /// Its note's document ends with it, unless somebody may come back with what they have of it; then, too, if the next one
    /// would soon be full.
    pub async fn clear_unused(&self, id: &str) -> bool {
        let kept = self.documents.borrow().get(id).map(|d| d.kept.clone());
        let Some(kept) = kept else { return false };
        let _order = kept.order.lock().await;
        let unused = |document: &&Stored| document.users.is_empty();
        if let Some(on_disk) = &kept.on_disk {
            on_disk.keep(&kept.history).await;
            let is_awaited = |d: &Stored| d.awaited || d.dropped || on_disk.was_found();
            let awaited = self
                .documents
                .borrow()
                .get(id)
                .filter(unused)
                .map(is_awaited);
            let is_half_full = || kept.history.lock().is_ok_and(|h| h.is_half_full());
            match awaited {
                None => return false,
                Some(false) => on_disk.end(),
                Some(true) if is_half_full() => self.end_known(&kept, on_disk).await,
                Some(true) => {}
            }
        }
        self.forget_unused(id, &kept)
    }

    /// Whether nobody has it open; then it is not in memory any more.
    fn forget_unused(&self, id: &str, kept: &Kept) -> bool {
        let mut documents = self.documents.borrow_mut();
        let unused = |document: &&Stored| document.users.is_empty();
        if documents.get(id).filter(unused).is_none() {
            return false;
        }
        documents.remove(id);
        self.bytes.set(self.bytes.get() - kept.counted.take());
        true
    }

    pub fn figures(&self) -> (usize, usize) {
        let documents = self.documents.borrow();
        let bytes = documents.values().map(|document| document.kept.size.get());
        (documents.len(), bytes.sum())
    }

    /// Counts what it takes now.
    fn count(&self, kept: &Kept) {
        let now = kept.size.get() + OVERHEAD;
        let before = kept.counted.replace(now);
        self.bytes.set(self.bytes.get() - before + now);
    }

    /// Makes room for so many bytes: documents that nobody has open, and that are kept, are closed.
    fn make_room(&self, more: usize) -> Result<(), Rejected> {
        if self.bytes.get() + more <= self.most {
            self.full.set(false);
            return Ok(());
        }
        self.documents.borrow_mut().retain(|_, document| {
            let kept = &document.kept;
            let is_kept = |on_disk: &OnDisk| on_disk.due().is_none();
            let unused = document.users.is_empty()
                && Rc::strong_count(kept) == 1
                && kept.on_disk.as_deref().is_some_and(is_kept);
            if unused {
                self.bytes.set(self.bytes.get() - kept.counted.take());
            }
            !unused
        });
        let full = self.bytes.get() + more > self.most;
        if full && !self.full.get() {
            log::warn!("all documents together have as much as SISKIN_DOCUMENTS_BYTES allows");
        }
        self.full.set(full);
        match full {
            true => Err(Rejected::NoRoom),
            false => Ok(()),
        }
    }

    /// Waits until nobody else changes or reads it; then what is kept of it is read.
    async fn turn<'a>(&self, kept: &'a Kept) -> Result<MutexGuard<'a, ()>, Rejected> {
        let order = kept.order.lock().await;
        self.load(kept).await?;
        Ok(order)
    }

    /// Reads what is kept of it, if that was not done yet.
    async fn load(&self, kept: &Kept) -> Result<(), Rejected> {
        let Some(on_disk) = &kept.on_disk else {
            return Ok(());
        };
        if on_disk.is_loaded() {
            return Ok(());
        }
        let found = on_disk.kept().map_err(|_| Away)?;
        self.make_room(found.bytes())?;
        on_disk.load(found, &kept.history).await;
        let size = kept.history.lock().map_or(0, |history| history.size());
        kept.size.set(size);
        kept.restored.set(size > 0 && !kept.is_buried());
        self.new_version(kept);
        self.count(kept);
        Ok(())
    }

    /// The document, which is made if there is none.
    fn kept(&self, id: &str) -> Rc<Kept> {
        let mut documents = self.documents.borrow_mut();
        if let Some(document) = documents.get(id) {
            return document.kept.clone();
        }
        let place = note_of_document(id).zip(self.local.get());
        let kept = Rc::new(Kept {
            on_disk: place.map(|(note_id, local)| Box::new(OnDisk::new(local.clone(), note_id))),
            ..Kept::default()
        });
        let document = Stored {
            kept: kept.clone(),
            ..Stored::default()
        };
        documents.insert(id.into(), document);
        kept
    }

    fn new_version(&self, kept: &Kept) {
        self.version.set(self.version.get() + 1);
        kept.version.set(self.version.get());
    }

    /// It may have changed. One that nobody has open, and into which nothing came, is none.
    fn changed<T, E>(&self, id: &str, kept: &Kept, changed: Result<T, E>) -> Result<T, E> {
        self.new_version(kept);
        self.count(kept);
        let mut documents = self.documents.borrow_mut();
        let unused = |document: &Stored| document.users.is_empty() && kept.size.get() == 0;
        if changed.is_err() && documents.get(id).is_some_and(unused) {
            documents.remove(id);
            self.bytes.set(self.bytes.get() - kept.counted.take());
        }
        changed
    }
}

//! Documents of an instance that is alone, kept in memory.

use super::history::{EMPTY, History, Rejected};
use super::open::{Entered, Open};
use super::update::Contents;
use super::vector::Vector;
use super::{Seed, Version};
use crate::ground::tasks::aside_if;
use crate::socket::Sid;
use smol::lock::Mutex as Order;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// A document that somebody has open, or that is not saved yet.
#[derive(Default)]
struct Stored {
    kept: Rc<Kept>,
    /// Who has it open.
    users: Vec<Sid>,
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
}

/// All of them by id, and what each session has open.
#[derive(Default)]
pub struct Memory {
    documents: RefCell<HashMap<Rc<str>, Stored>>,
    open: Open,
    /// The last version of any of them.
    version: Cell<Version>,
}

impl Kept {
    /// Calls with the history, after those who came before; beside our thread if it takes long.
    async fn with<T: Send + 'static>(
        &self,
        takes_long: impl FnOnce(&History) -> bool,
        work: impl FnOnce(&mut History) -> T + Send + 'static,
    ) -> T {
        let _order = self.order.lock().await;
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
}

impl Memory {
    /// `false` when the session has as many open as it may.
    pub fn join(&self, id: &str, sid: Sid) -> bool {
        match self.open.enter(id, sid) {
            Entered::Full => false,
            Entered::Before => true,
            Entered::Now(id) => {
                let mut documents = self.documents.borrow_mut();
                documents.entry(id).or_default().users.push(sid);
                true
            }
        }
    }

    /// Answers when what the session has begun is done, too.
    pub async fn leave(&self, id: &str, sid: Sid) {
        self.open.leave(id, sid);
        let kept = self.documents.borrow_mut().get_mut(id).map(|document| {
            document.users.retain(|user| *user != sid);
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
            .map(|document| document.users.clone())
            .unwrap_or_default()
    }

    pub async fn append(&self, id: &str, update: &[u8]) -> Result<Contents, Rejected> {
        let (kept, length, update) = (self.kept(id), update.len(), update.to_vec());
        let takes_long = |history: &History| history.takes_long(length);
        let append = move |history: &mut History| history.append(&update);
        let appended = kept.with(takes_long, append).await;
        self.changed(id, &kept, appended)
    }

    pub async fn seed(&self, id: &str, update: &[u8]) -> Result<Seed, Rejected> {
        let (kept, length, update) = (self.kept(id), update.len(), update.to_vec());
        let takes_long = |history: &History| history.takes_long(length);
        let seed = move |history: &mut History| match history.is_empty() {
            true => history.append(&update).map(Seed::Won),
            false => Ok(Seed::Lost(history.state().to_vec())),
        };
        let seeded = kept.with(takes_long, seed).await;
        self.changed(id, &kept, seeded)
    }

    pub async fn state(&self, id: &str) -> Option<(Vec<u8>, Version)> {
        let kept = self.documents.borrow().get(id)?.kept.clone();
        let read = |history: &mut History| {
            let state = (!history.is_empty()).then(|| history.state());
            state.unwrap_or(&EMPTY).to_vec()
        };
        let state = kept.with(|history| history.takes_long(0), read).await;
        (kept.size.get() > 0).then(|| (state, kept.version.get()))
    }

    pub async fn news_of(&self, id: &str, update: &[u8]) -> Option<Vec<u8>> {
        let kept = self.documents.borrow().get(id)?.kept.clone();
        let (length, update) = (update.len(), update.to_vec());
        let takes_long = |history: &History| history.takes_long(length) || history.takes_long(0);
        kept.with(takes_long, move |history| history.news_of(&update))
            .await
    }

    pub async fn vector(&self, id: &str) -> Vector {
        let kept = self.documents.borrow().get(id).map(|d| d.kept.clone());
        match kept {
            None => Vector::default(),
            Some(kept) => kept.with(|_| false, |h| h.vector().clone()).await,
        }
    }

    pub fn size(&self, id: &str) -> usize {
        let documents = self.documents.borrow();
        documents
            .get(id)
            .map_or(0, |document| document.kept.size.get())
    }

    /// What its state was when it was read last, if it is still that.
    pub fn version(&self, id: &str) -> Option<Version> {
        let documents = self.documents.borrow();
        documents
            .get(id)
            .map(|document| document.kept.version.get())
    }

    pub async fn clear_unused(&self, id: &str) -> bool {
        let kept = self.documents.borrow().get(id).map(|d| d.kept.clone());
        let Some(kept) = kept else { return false };
        let _order = kept.order.lock().await;
        let mut documents = self.documents.borrow_mut();
        let unused = documents.get(id).is_some_and(|d| d.users.is_empty());
        if unused {
            documents.remove(id);
        }
        unused
    }

    pub fn figures(&self) -> (usize, usize) {
        let documents = self.documents.borrow();
        let bytes = documents.values().map(|document| document.kept.size.get());
        (documents.len(), bytes.sum())
    }

    /// The document, which is made if there is none.
    fn kept(&self, id: &str) -> Rc<Kept> {
        let mut documents = self.documents.borrow_mut();
        match documents.get(id) {
            Some(document) => document.kept.clone(),
            None => documents.entry(id.into()).or_default().kept.clone(),
        }
    }

    /// It may have changed. One that nobody has open, and into which nothing came, is none.
    fn changed<T>(
        &self,
        id: &str,
        kept: &Kept,
        changed: Result<T, Rejected>,
    ) -> Result<T, Rejected> {
        self.version.set(self.version.get() + 1);
        kept.version.set(self.version.get());
        let mut documents = self.documents.borrow_mut();
        let unused = |document: &Stored| document.users.is_empty() && kept.size.get() == 0;
        if changed.is_err() && documents.get(id).is_some_and(unused) {
            documents.remove(id);
        }
        changed
    }
}

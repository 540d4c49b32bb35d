//! Documents of an instance that is alone, kept in memory.

use super::Seed;
use super::history::{History, Rejected};
use super::open::{Entered, Open};
use super::update::Contents;
use crate::socket::Sid;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// A document that somebody has open, or that is not saved yet.
#[derive(Default)]
struct Stored {
    history: History,
    /// Who has it open.
    users: Vec<Sid>,
}

/// All of them by id, and what each session has open.
#[derive(Default)]
pub struct Memory {
    documents: RefCell<HashMap<Rc<str>, Stored>>,
    open: Open,
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

    pub fn leave(&self, id: &str, sid: Sid) {
        self.open.leave(id, sid);
        if let Some(document) = self.documents.borrow_mut().get_mut(id) {
            document.users.retain(|user| *user != sid);
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

    pub fn append(&self, id: &str, update: &[u8]) -> Result<Contents, Rejected> {
        let mut documents = self.documents.borrow_mut();
        match documents.get_mut(id) {
            Some(document) => document.history.append(update),
            None => {
                let mut document = Stored::default();
                let contents = document.history.append(update)?;
                documents.insert(id.into(), document);
                Ok(contents)
            }
        }
    }

    pub fn seed(&self, id: &str, update: &[u8]) -> Result<Seed, Rejected> {
        if let Some(state) = self.state(id) {
            return Ok(Seed::Lost(state));
        }
        self.append(id, update).map(Seed::Won)
    }

    pub fn state(&self, id: &str) -> Option<Vec<u8>> {
        let mut documents = self.documents.borrow_mut();
        let history = &mut documents.get_mut(id)?.history;
        (!history.is_empty()).then(|| history.state().to_vec())
    }

    pub fn clear_unused(&self, id: &str) -> bool {
        let mut documents = self.documents.borrow_mut();
        let unused = documents
            .get(id)
            .is_some_and(|document| document.users.is_empty());
        if unused {
            documents.remove(id);
        }
        unused
    }

    pub fn figures(&self) -> (usize, usize) {
        let documents = self.documents.borrow();
        let bytes = documents.values().map(|document| document.history.size());
        (documents.len(), bytes.sum())
    }
}

//! Shared documents: a list of Yjs updates each, and who has it open.
//!
//! - [`memory`]: the documents of an instance that is alone
//! - [`history`]: the list of one document
//! - [`update`], [`reader`]: what an update may be, before yrs sees it
//! - [`compact`]: fewer blocks that say the same
//!
//! Nothing here knows what a document is for or who may see it. Every question may have to wait, since documents of several
//! instances are kept where all of them can reach them, behind a lock. Each is one step: nobody else's comes
//! in the middle of it.

mod compact;
pub mod history;
mod memory;
mod reader;
#[cfg(test)]
mod tests;
pub mod update;

use crate::socket::Sid;
pub use history::{EMPTY, MAX_BYTES, Rejected};
use memory::Memory;
use std::rc::Rc;
use update::Contents;

/// Documents that a session may have open (contract, limits).
pub const MAX_OPEN: usize = 20;

/// What became of the first content that somebody offered.
#[derive(Debug)]
pub enum Seed {
    /// The document was empty, and now is this.
    Won(Contents),
    /// There was something already: its state.
    Lost(Vec<u8>),
}

/// All documents.
pub enum Documents {
    Memory(Memory),
}

impl Default for Documents {
    fn default() -> Self {
        Self::Memory(Memory::default())
    }
}

/// Calls the same method wherever the documents are.
macro_rules! ask {
    ($self:ident, $method:ident($($arg:expr),*)) => {
        match $self {
            Self::Memory(memory) => memory.$method($($arg),*),
        }
    };
}

impl Documents {
    /// The session opens the document. `false` when it has as many open as it may ([`MAX_OPEN`]).
    pub async fn join(&self, id: &str, sid: Sid) -> bool {
        ask!(self, join(id, sid))
    }

    /// The session closes the document.
    pub async fn leave(&self, id: &str, sid: Sid) {
        ask!(self, leave(id, sid));
    }

    /// Whether the session has it open. Known at once, as is [`Documents::of`].
    pub fn is_open(&self, id: &str, sid: Sid) -> bool {
        ask!(self, is_open(id, sid))
    }

    /// What the session has open. Known at once: each instance knows it of its own sessions.
    pub fn of(&self, sid: Sid) -> Vec<Rc<str>> {
        ask!(self, of(sid))
    }

    /// The sessions of all instances that have it open.
    pub async fn users(&self, id: &str) -> Vec<Sid> {
        ask!(self, users(id))
    }

    /// Stores an update; returns what it holds.
    pub async fn append(&self, id: &str, update: &[u8]) -> Result<Contents, Rejected> {
        ask!(self, append(id, update))
    }

    /// Stores an update if nothing is stored: the first one wins.
    pub async fn seed(&self, id: &str, update: &[u8]) -> Result<Seed, Rejected> {
        ask!(self, seed(id, update))
    }

    /// Everything stored as one update; `None` when nothing is.
    pub async fn state(&self, id: &str) -> Option<Vec<u8>> {
        ask!(self, state(id))
    }

    /// Forgets the document if nobody has it open. Whether it did.
    pub async fn clear_unused(&self, id: &str) -> bool {
        ask!(self, clear_unused(id))
    }

    /// How many there are, and the bytes of their updates.
    pub fn figures(&self) -> (usize, usize) {
        ask!(self, figures())
    }
}

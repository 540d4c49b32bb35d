//! Shared documents: a list of Yjs updates each, and who has it open.
//!
//! - [`memory`]: the documents of an instance that is alone
//! - [`on_disk`]: what the local directory keeps of a note's document
//! - [`in_redis`]: the documents of several instances
//! - [`open`]: what the sessions of this instance have open
//! - [`history`]: the list of one document
//! - [`update`], [`reader`]: what an update may be, before yrs sees it
//! - [`vector`]: what is there without a gap
//! - [`compact`]: fewer blocks that say the same
//! - [`ended`], [`bury`]: documents that have ended, and what is left of them
//! - [`lean`]: an update without what it deletes itself
//! - [`cut`], [`mend`], [`depth`]: an update without what Yjs would throw at
//! - [`bytes`]: updates as JSON
//!
//! Nothing here knows what a document is for or who may see it. Every question may have to wait, since documents of several
//! instances are kept where all of them can reach them, behind a lock. Each is one step: nobody else's comes
//! in the middle of it.

// Without Redis nobody else is told anything.
#![cfg_attr(not(feature = "redis"), allow(unused_variables))]

mod bury;
pub mod bytes;
mod compact;
mod cut;
mod depth;
mod ended;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod history;
#[cfg(feature = "redis")]
mod in_redis;
#[cfg(test)]
mod kept_tests;
pub mod lean;
mod memory;
mod mend;
#[cfg(test)]
mod mend_tests;
mod on_disk;
mod open;
mod reader;
#[cfg(test)]
mod tests;
pub mod update;
pub mod vector;
#[cfg(test)]
mod vector_tests;

use crate::directory::local::Local;
use crate::peers::outgoing::Outgoing;
use crate::socket::Sid;
pub use bury::Part;
pub use history::{EMPTY, LIGHT, Rejected};
#[cfg(feature = "redis")]
pub use in_redis::InRedis;
use memory::Memory;
pub use on_disk::QUIET;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use update::Contents;
use vector::Vector;

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

/// A number that each state of a document has for itself.
pub type Version = u64;

/// Everything that is stored of a document.
pub struct State {
    pub bytes: Arc<Vec<u8>>,
    /// 0: nobody else will be sent the same.
    pub version: Version,
}

/// How a session closes a document.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It says that it is done with it.
    Done,
    /// It has gone.
    Gone,
    /// It lost its connection: it comes back with what it has of it.
    Lost,
}

/// The documents can't be reached now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away;

impl From<Away> for Rejected {
    fn from(_: Away) -> Self {
        Self::Away
    }
}

/// Makes what tells other instances of an update, if there are any.
pub type Tell<'a> = &'a dyn Fn() -> Option<Outgoing>;

/// All documents. What has to ask Redis is boxed: an event about a document in memory would take as many bytes as the longest way
/// over Redis.
pub enum SharedDocuments {
    Memory(Memory),
    #[cfg(feature = "redis")]
    Redis(Rc<InRedis>),
}

impl SharedDocuments {
    /// In the memory of this instance, of which they take so many bytes at most.
    pub fn in_memory(most: usize) -> Self {
        Self::Memory(Memory::new(most))
    }

    /// Documents of notes of this directory are kept there, if no Redis keeps them.
    pub fn keep_in(&self, local: &Rc<Local>) {
        match self {
            Self::Memory(memory) => memory.keep_in(local.clone()),
            #[cfg(feature = "redis")]
            Self::Redis(_) => {}
        }
    }

    /// Hands what is not kept yet of a note's document to the local directory: it is on disk together with what is saved
    /// next. `false`: it is not taken now, and is to be handed over again.
    pub async fn keep(&self, id: &str) -> bool {
        match self {
            Self::Memory(memory) => memory.keep(id).await,
            #[cfg(feature = "redis")]
            Self::Redis(_) => true,
        }
    }

    /// The documents of which something is not kept yet, and when it is to be: soon, and at the latest.
    pub fn behind(&self) -> Vec<(Rc<str>, (Instant, Instant))> {
        match self {
            Self::Memory(memory) => memory.behind(),
            #[cfg(feature = "redis")]
            Self::Redis(_) => Vec::new(),
        }
    }

    /// Which of its note's documents it is: how many there were before, or with Redis when it was begun; `None` where that is not
    /// known. It never changes while somebody has it open.
    pub fn epoch(&self, id: &str) -> Option<u64> {
        match self {
            Self::Memory(memory) => memory.epoch(id),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.epoch(id),
        }
    }

    /// Whether it was kept, and says what its note says; told once.
    pub fn was_restored(&self, id: &str) -> bool {
        match self {
            Self::Memory(memory) => memory.was_restored(id),
            #[cfg(feature = "redis")]
            Self::Redis(_) => false,
        }
    }

    /// The session opens the document. `false` when it has as many open as it may ([`MAX_OPEN`]). `returns`: should it lose its
    /// connection, it comes back with what it has of the document.
    ///
    /// # Errors
    /// Nobody can tell now; it is not open.
    pub async fn join(&self, id: &str, sid: Sid, returns: bool) -> Result<bool, Away> {
        match self {
            Self::Memory(memory) => Ok(memory.join(id, sid, returns)),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.join(id, sid)).await,
        }
    }

    /// The session closes the document.
    pub async fn leave(&self, id: &str, sid: Sid, how: Left) {
        match self {
            Self::Memory(memory) => memory.leave(id, sid, how).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.leave(id, sid, how).await,
        }
    }

    /// Whether the session has it open. Known at once, as is [`SharedDocuments::of`].
    pub fn is_open(&self, id: &str, sid: Sid) -> bool {
        match self {
            Self::Memory(memory) => memory.is_open(id, sid),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.is_open(id, sid),
        }
    }

    /// The sessions of this instance that have it open.
    pub fn here(&self, id: &str) -> Vec<Sid> {
        match self {
            Self::Memory(memory) => memory.users(id),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.here(id),
        }
    }

    /// What the session has open. Known at once: each instance knows it of its own sessions.
    pub fn of(&self, sid: Sid) -> Vec<Rc<str>> {
        match self {
            Self::Memory(memory) => memory.of(sid),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.of(sid),
        }
    }

    /// The sessions of all instances that have it open.
    pub async fn users(&self, id: &str) -> Vec<Sid> {
        match self {
            Self::Memory(memory) => memory.users(id),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.users(id).await,
        }
    }

    /// Stores an update, if Yjs takes it as it is; returns what it holds. `is_news`: it is what [`SharedDocuments::news_of`] left of
    /// one. Other instances are told in the same step, so that whoever dies leaves
    /// nothing stored that they were not told; `tell` makes what they are told, once the update is known to be one.
    /// Whoever asks first is answered first, so that what is passed on to this
    /// instance's sessions right after the answer comes in the order in which it is stored.
    pub async fn append(
        &self,
        id: &str,
        update: &[u8],
        is_news: bool,
        tell: Tell<'_>,
    ) -> Result<Contents, Rejected> {
        match self {
            Self::Memory(memory) if is_news => memory.append_news(id, update).await,
            Self::Memory(memory) => memory.append(id, update).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.append(id, update, is_news, tell)).await,
        }
    }

    /// Stores an update if nothing is stored: the first one wins. Others are told as by [`SharedDocuments::append`].
    pub async fn seed(&self, id: &str, update: &[u8], tell: Tell<'_>) -> Result<Seed, Rejected> {
        match self {
            Self::Memory(memory) => memory.seed(id, update).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.seed(id, update, tell)).await,
        }
    }

    /// Everything stored as one update; `None` when nothing is.
    ///
    /// # Errors
    /// Nobody can tell now.
    pub async fn state(&self, id: &str) -> Result<Option<State>, Away> {
        match self {
            Self::Memory(memory) => {
                let state = memory.state(id).await?;
                Ok(state.map(|(bytes, version)| State {
                    bytes: bytes.into(),
                    version,
                }))
            }
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.state(id)).await,
        }
    }

    /// The version that the state has now; `None` where that can't be told without reading it.
    pub fn version(&self, id: &str) -> Option<Version> {
        match self {
            Self::Memory(memory) => memory.version(id),
            #[cfg(feature = "redis")]
            Self::Redis(_) => None,
        }
    }

    /// What of an update is news, as Yjs takes it: without the blocks that are stored, with those that waited for it, and empty if
    /// all of it is stored. `None` when nobody can tell.
    pub async fn news_of(&self, id: &str, update: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Memory(memory) => memory.news_of(id, update).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.news_of(id, update)).await,
        }
    }

    /// What is stored without a gap, and whether there is a gap; `None` when nobody can tell.
    pub async fn vector(&self, id: &str) -> Option<Vector> {
        match self {
            Self::Memory(memory) => memory.vector(id).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.vector(id)).await,
        }
    }

    /// Bytes of its updates, as far as this instance was told.
    pub fn size(&self, id: &str) -> usize {
        match self {
            Self::Memory(memory) => memory.size(id),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.size(id),
        }
    }

    /// Another instance has passed on an update that it has stored.
    pub fn heard(&self, id: &str, update: impl FnOnce() -> Option<Vec<u8>>) {
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.heard(id, update),
        }
    }

    /// The note's content is saved, and its document says the same.
    pub async fn saved(&self, id: &str, content: &str) {
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.saved(id, content).await,
        }
    }

    /// Nothing is stored, and the note has this content: what was kept of a document that says the same is stored again. Whether
    /// something was.
    pub async fn restore(&self, id: &str, content: &str) -> bool {
        match self {
            Self::Memory(_) => false,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.restore(id, content).await,
        }
    }

    /// Forgets the document if nobody has it open, and no other instance is about to save it. Whether it did.
    pub async fn clear_unused(&self, id: &str) -> bool {
        match self {
            Self::Memory(memory) => memory.clear_unused(id).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.clear_unused(id)).await,
        }
    }

    /// The document's note is gone: it has ended for whoever has it. Returns the next one's epoch: who has one before that has one
    /// that has ended. `None` when that can't be said now.
    pub async fn end(&self, id: &str) -> Option<u64> {
        match self {
            Self::Memory(memory) => {
                memory.end(id).await;
                Some(0)
            }
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.end(id)).await,
        }
    }

    /// The documents that sessions here have open though another instance has ended them a while ago, as was found when they were changed.
    pub async fn outdated(&self) -> BTreeSet<Rc<str>> {
        match self {
            Self::Memory(_) => std::future::pending().await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.outdated().await,
        }
    }

    /// A session of an instance that died has nothing open any more.
    pub async fn evict(&self, sid: &str) {
        #[cfg(not(feature = "redis"))]
        let _ = sid;
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.evict(sid)).await,
        }
    }

    /// The documents of sessions here whose updates may not all have come, each time that happens: what was published
    /// while Redis could not be heard is lost.
    pub async fn missed(&self) -> Vec<Rc<str>> {
        match self {
            Self::Memory(_) => std::future::pending().await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.missed().await,
        }
    }

    /// How many there are, and the bytes of their updates; in Redis, of those that sessions of this instance have open.
    pub fn figures(&self) -> (usize, usize) {
        match self {
            Self::Memory(memory) => memory.figures(),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.figures(),
        }
    }
}

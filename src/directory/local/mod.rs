//! The directory that the embedded store keeps.
//!
//! - [`users`], [`channels`], [`notes`], [`chats`], [`messages`]: one file a kind of record: what events ask,
//!   then what backends do over the API
//! - [`content`]: what counts as an empty note
//! - [`grants`]: who may read and write what somebody shared
//!
//! Records are JSON objects and keep whatever fields a backend puts into them beside those that siskin knows.

mod channels;
mod chats;
mod content;
mod grants;
mod messages;
mod notes;
mod users;

#[cfg(test)]
mod tests;

pub use channels::ChannelChange;
pub use content::is_empty as is_empty_content;
pub use notes::MAX_VERSIONS;
pub use users::UserChange;

use super::Refusal;
use crate::ground::names::{MAX_ID_CHARS, is_id};
use crate::ground::tasks::{Executor, Single, Tasks};
use crate::store::{Fault, Store, Table};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// A record.
pub type Record = Map<String, Value>;

/// Users, channels, notes and chats of the embedded store.
pub struct Local {
    store: Rc<Store>,
    tasks: Tasks,
    /// May a token's own claims make a user that has no entry?
    trust_claims: bool,
    /// Users that were seen and when, not yet written.
    seen: RefCell<BTreeMap<String, i64>>,
    /// Is the task running that writes them?
    writing_seen: Single,
}

/// Why a backend's request came to nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    /// There is no such thing.
    Missing(&'static str),
    /// A field is not what it has to be; in one sentence without a full stop.
    Invalid(String),
    /// The store can't.
    Fault(Fault),
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Local {
    /// The directory in `store`. With `trust_claims` the claims `id`, `name` and `role` of a valid token make the
    /// user when there is no entry.
    pub fn new(executor: Executor, store: Rc<Store>, trust_claims: bool) -> Rc<Self> {
        Rc::new(Self {
            store,
            tasks: Tasks::new(executor),
            trust_claims,
            seen: RefCell::default(),
            writing_seen: Single::default(),
        })
    }

    /// Waits until everything written so far is on disk.
    pub async fn durable(&self) -> Result<(), Fault> {
        self.store.durable().await
    }

    /// Writes what was only noted, then closes the store. Nothing can be asked afterwards.
    pub async fn close(&self) -> Result<(), Fault> {
        let seen = self.write_seen();
        self.store.close().await.and(seen)
    }

    /// A consistent copy of the store as the file `path`; its length in bytes.
    pub async fn backup(&self, path: &Path) -> Result<u64, Fault> {
        self.store.backup(path).await
    }

    /// The store, for figures.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn degraded(&self) -> Option<String> {
        self.store.degraded()
    }

    /// A record; `None` also for ids that no record can have.
    fn record(&self, table: Table, key: &str) -> Result<Option<Record>, Fault> {
        match self.store.get(table, key)? {
            Some(bytes) => parse(table, key, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Records in the order of their keys, as [`Store::scan`] finds them.
    fn records(
        &self,
        table: Table,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, Fault> {
        let found = self.store.scan(table, prefix, after, limit)?.into_iter();
        found
            .map(|(key, bytes)| parse(table, &key, &bytes).map(|record| (key, record)))
            .collect()
    }

    /// The second parts of all keys of `table` whose first part is `first`.
    fn seconds(&self, table: Table, first: &str) -> Result<Vec<String>, Fault> {
        let prefix = crate::store::key(first, "");
        let found = self.store.scan(table, &prefix, "", usize::MAX)?.into_iter();
        Ok(found.filter_map(|(key, _)| second(&key)).collect())
    }
}

fn parse(table: Table, key: &str, bytes: &[u8]) -> Result<Record, Fault> {
    crate::ground::json::read(bytes).map_err(|error| {
        log::error!("store: {} {key:?}: {error}", table.name());
        Fault::Damaged
    })
}

/// The second part of a key of two.
fn second(key: &str) -> Option<String> {
    key.split_once('\0').map(|(_, second)| second.to_owned())
}

fn encode(record: &Record) -> Vec<u8> {
    // A map with text keys always encodes.
    serde_json::to_vec(record).unwrap_or_default()
}

fn check_id(what: &str, id: &str) -> Result<(), Wrong> {
    if is_id(id) {
        return Ok(());
    }
    let why = format!("{what} has 1 to {MAX_ID_CHARS} characters and no control characters");
    Err(Wrong::Invalid(why))
}

/// A field that is text; null counts as absent.
fn text<'a>(record: &'a Record, field: &str) -> Result<Option<&'a str>, Wrong> {
    match record.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Wrong::Invalid(format!("{field} is not text"))),
    }
}

/// A field that is an object; null counts as absent.
fn object<'a>(record: &'a Record, field: &str) -> Result<Option<&'a Record>, Wrong> {
    match record.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Wrong::Invalid(format!("{field} is not an object"))),
    }
}

/// The owner of a note or a chat.
fn owner(record: &Record) -> &str {
    record.get("user_id").and_then(Value::as_str).unwrap_or("")
}

fn denied<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Denied(why))
}

//! The handle of the local directory, and its records: JSON objects by table and key.

use crate::directory::types::Refusal;
use crate::ground::names::{MAX_ID_CHARS, is_id};
use crate::ground::tasks::{Executor, Single, Tasks};
use crate::store::{Store, StoreError, Table};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

/// A record.
pub type Record = Map<String, Value>;

/// Users, channels, notes and chats of the embedded store.
pub struct Local {
    pub(super) store: Rc<Store>,
    pub(super) tasks: Tasks,
    /// May a token's own claims make a user that has no entry?
    pub(super) trust_claims: bool,
    /// How often users' entries were changed.
    pub(super) changes: Cell<u64>,
    /// Users that were seen and when, not yet written.
    pub(super) seen: RefCell<HashMap<String, i64>>,
    /// Is the task running that writes them?
    pub(super) writing_seen: Single,
}

/// Why a backend's request came to nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordError {
    /// There is no such thing.
    Missing(&'static str),
    /// A field is not what it has to be; in one sentence without a full stop.
    Invalid(String),
    /// The store can't.
    Store(StoreError),
}

impl From<StoreError> for RecordError {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
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
            changes: Cell::default(),
            seen: RefCell::default(),
            writing_seen: Single::default(),
        })
    }

    /// Waits until everything written so far is on disk.
    pub fn durable(&self) -> impl Future<Output = Result<(), StoreError>> {
        self.store.durable()
    }

    /// Writes what is only in memory, then closes the store, which answers nothing afterwards.
    pub async fn close(&self) -> Result<(), StoreError> {
        let seen = self.write_seen();
        self.store.close().await.and(seen)
    }

    /// A consistent copy of the store as the file `path`; its length in bytes.
    pub fn backup(&self, path: &Path) -> impl Future<Output = Result<u64, StoreError>> {
        self.store.backup(path)
    }

    pub(in crate::directory) fn degraded(&self) -> Option<String> {
        self.store.degraded()
    }

    /// A record; `None` also for ids that no record can have.
    pub(super) fn record(&self, table: Table, key: &str) -> Result<Option<Record>, StoreError> {
        match self.store.get(table, key)? {
            Some(bytes) => parse(table, key, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Records in the order of their keys, as [`Store::scan`] finds them.
    pub(super) fn records(
        &self,
        table: Table,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, StoreError> {
        let found = self.store.scan(table, prefix, after, limit)?.into_iter();
        found
            .map(|(key, bytes)| parse(table, &key, &bytes).map(|record| (key, record)))
            .collect()
    }

    /// The second parts of all keys of `table` whose first part is `first`.
    pub(super) fn seconds(&self, table: Table, first: &str) -> Result<Vec<String>, StoreError> {
        let prefix = crate::store::key(first, "");
        let found = self.store.scan(table, &prefix, "", usize::MAX)?.into_iter();
        Ok(found.filter_map(|(key, _)| second(&key)).collect())
    }
}

pub(super) fn parse(table: Table, key: &str, bytes: &[u8]) -> Result<Record, StoreError> {
    crate::ground::json::read(bytes).map_err(|error| {
        log::error!("store: {} {key:?}: {error}", table.name());
        StoreError::Damaged
    })
}

/// The second part of a key of two.
pub(super) fn second(key: &str) -> Option<String> {
    key.split_once('\0').map(|(_, second)| second.to_owned())
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    // A map with text keys always encodes.
    serde_json::to_vec(record).unwrap_or_default()
}

pub(super) fn check_id(what: &str, id: &str) -> Result<(), RecordError> {
    if is_id(id) {
        return Ok(());
    }
    let why = format!("{what} has 1 to {MAX_ID_CHARS} characters and no control characters");
    Err(RecordError::Invalid(why))
}

/// A field that is text; null counts as absent.
pub(super) fn text<'a>(record: &'a Record, field: &str) -> Result<Option<&'a str>, RecordError> {
    match record.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(RecordError::Invalid(format!("{field} is not text"))),
    }
}

/// A field that is an object; null counts as absent.
pub(super) fn object<'a>(
    record: &'a Record,
    field: &str,
) -> Result<Option<&'a Record>, RecordError> {
    match record.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(RecordError::Invalid(format!("{field} is not an object"))),
    }
}

/// The owner of a note or a chat.
pub(super) fn owner(record: &Record) -> &str {
    record.get("user_id").and_then(Value::as_str).unwrap_or("")
}

pub(super) fn denied<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Denied(why))
}

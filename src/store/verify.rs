//! Looks whether a store's file is whole, without writing anything.

use super::disk::{self, Snapshot};
use super::error::OpenError;
use super::schema;
use super::table::Table;
use super::view::View;
use redb::{Database, StorageBackend};
use std::fs::{File, TryLockError};
use std::path::Path;

/// What a file holds.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// The version of its schema.
    pub schema: u64,
    /// How many entries each table has.
    pub entries: Vec<(Table, u64)>,
    /// Was it closed, and is its end as redb left it? If not, the next start repairs it.
    pub closed: bool,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Verifies every checksum and every value of the file at `path`, as the next start will see it: what a
/// crash left is repaired in memory only. The file of a running siskin is in use: back it up and verify that.
pub fn verify(path: &Path) -> Result<Report, OpenError> {
    let database = open_for_reading(path, Lock::Shared)?;
    Ok(Report {
        schema: version(&database, path)?,
        entries: count(&database, path)?,
        closed: is_closed(path)?,
        bytes: disk::length(path),
    })
}

/// Is the file locked while it is looked at?
#[derive(PartialEq)]
pub(super) enum Lock {
    Shared,
    /// It is ours, and we may want to open it for writing meanwhile.
    None,
}

/// The file as a database, each checksum verified. Nothing reaches the file.
pub(super) fn open_for_reading(path: &Path, lock: Lock) -> Result<Database, OpenError> {
    let view = view(path, lock)?;
    let mut builder = disk::builder();
    // With this redb says what is wrong with a damaged file. Without, it may panic.
    builder.set_check_integrity_on_open(true);
    let database = builder.create_with_backend(view);
    let database = database.map_err(|e| OpenError::of(path, e.into()))?;
    version(&database, path)?;
    Ok(database)
}

/// Was a file that is whole closed? redb opens it without a repair then.
fn is_closed(path: &Path) -> Result<bool, OpenError> {
    let view = view(path, Lock::Shared)?;
    let cut = view.len().is_ok_and(|len| len < disk::length(path));
    match disk::builder().open_read_only_with_backend(view) {
        Ok(_) => Ok(!cut),
        Err(redb::DatabaseError::RepairAborted) => Ok(false),
        Err(error) => Err(OpenError::of(path, error.into())),
    }
}

/// A view of the file, with a lock unless somebody writes to it.
fn view(path: &Path, lock: Lock) -> Result<View, OpenError> {
    let failed = |error: std::io::Error| OpenError::disk(path, &error);
    let file = File::open(path).map_err(failed)?;
    if lock == Lock::Shared {
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Ok(()) => {}
        }
    }
    let view = View::new(file).map_err(failed)?;
    // redb would make a new store of an empty file.
    if view.len().map_err(failed)? == 0 {
        return Err(damaged(path, "it is too short".to_owned()));
    }
    Ok(view)
}

fn version(database: &Database, path: &Path) -> Result<u64, OpenError> {
    let known = schema::current();
    match schema::version(database).map_err(|e| OpenError::of(path, *e))? {
        Some(found) if found > known => {
            let path = path.to_owned();
            Err(OpenError::Newer { path, found, known })
        }
        Some(found) => Ok(found),
        None => Err(damaged(path, "it is not siskin's".to_owned())),
    }
}

/// Counts the entries of each table and reads each value.
fn count(database: &Database, path: &Path) -> Result<Vec<(Table, u64)>, OpenError> {
    let snapshot = Snapshot::take(database).map_err(|e| OpenError::of(path, *e))?;
    let mut counts = Vec::new();
    for table in Table::ALL {
        let (mut count, mut wrong) = (0, None);
        let each = |key: &str, value: &[u8]| {
            count += 1;
            if table.holds_json() && crate::json::read::<serde::de::IgnoredAny>(value).is_err() {
                wrong = Some(format!("{} {key:?} is not JSON", table.name()));
            }
            wrong.is_none()
        };
        let scanned = snapshot.scan(table, "", "", each);
        scanned.map_err(|e| OpenError::of(path, *e))?;
        if let Some(why) = wrong {
            return Err(damaged(path, why));
        }
        counts.push((table, count));
    }
    Ok(counts)
}

fn damaged(path: &Path, why: String) -> OpenError {
    OpenError::Damaged(path.to_owned(), why)
}

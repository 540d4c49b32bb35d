//! Looks whether a store's file is whole, without writing anything.

use super::disk::{self, Snapshot};
use super::error::OpenError;
use super::schema;
use super::table::Table;
use super::view::View;
use redb::Database;
use std::fs::{File, TryLockError};
use std::path::Path;

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Report {
    /// The version of its schema.
    pub(crate) schema: u64,
    /// How many entries each table has.
    pub(crate) entries: Vec<(Table, u64)>,
    /// Was it closed, and is its end as redb left it? If not, the next start repairs it.
    pub(crate) closed: bool,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

/// Verifies every checksum and every value of the file at `path`, as the next start will see it: what a
/// crash left is repaired in memory only. The file of a running siskin is in use: back it up and verify that.
pub(crate) fn verify(path: &Path) -> Result<Report, OpenError> {
    let (database, whole) = open_for_check(path, Lock::Shared)?;
    let bytes = disk::length(path);
    Ok(Report {
        schema: version(&database, path)?,
        entries: count(&database, path)?,
        closed: whole == bytes && is_closed(path)?,
        bytes,
    })
}

/// Is the file locked while it is looked at?
#[derive(PartialEq)]
pub(super) enum Lock {
    Shared,
    /// It is ours, and we may want to open it for writing meanwhile.
    None,
}

/// What a crash may have kept from a file's end: redb at most doubles a file, or adds room for twice the largest value.
const LOST: u64 = 64 << 20;

/// The file as a database, each checksum verified, and the length that it is whole with. Nothing reaches the file.
///
/// A crash may leave a file with another end than redb wrote, and redb refuses such a file: one with a part of a page, one
/// that is shorter than it was. But what is missing may hold nothing, or only the commit that was under way. So a file that
/// is damaged is looked at once more with zeros at its end: checksums tell whether anything else is missing.
pub(super) fn open_for_check(path: &Path, lock: Lock) -> Result<(Database, u64), OpenError> {
    let file = open_file(path, lock)?;
    let length = file
        .metadata()
        .map_err(|e| OpenError::disk(path, &e))?
        .len();
    let length = disk::whole_pages(length);
    if length == 0 {
        // redb would make a new store of an empty file.
        return Err(damaged(path, "it is too short".to_owned()));
    }
    let mended = length.saturating_mul(2).saturating_add(LOST);
    let (database, whole) = match open_view(&file, length, path) {
        Err(OpenError::Damaged(_, why)) => match open_view(&file, mended, path) {
            Ok(database) => (database, mended),
            Err(_) => return Err(damaged(path, why)),
        },
        other => (other?, length),
    };
    version(&database, path)?;
    Ok((database, whole))
}

/// The same, to read it.
pub(super) fn open_for_reading(path: &Path, lock: Lock) -> Result<Database, OpenError> {
    open_for_check(path, lock).map(|(database, _)| database)
}

fn open_view(file: &File, length: u64, path: &Path) -> Result<Database, OpenError> {
    let view = file.try_clone().and_then(|file| View::new(file, length));
    let view = view.map_err(|e| OpenError::disk(path, &e))?;
    let mut builder = disk::builder();
    // With this redb says what is wrong with a damaged file. Without, it may panic.
    builder.set_check_integrity_on_open(true);
    let database = builder.create_with_backend(view);
    database.map_err(|e| OpenError::of(path, e.into()))
}

/// Was a file that is whole closed? redb opens it without a repair then.
fn is_closed(path: &Path) -> Result<bool, OpenError> {
    match disk::builder().open_read_only(path) {
        Ok(_) => Ok(true),
        Err(redb::DatabaseError::RepairAborted) => Ok(false),
        Err(error) => Err(OpenError::of(path, error.into())),
    }
}

/// The file, with a lock unless somebody writes to it.
fn open_file(path: &Path, lock: Lock) -> Result<File, OpenError> {
    let failed = |error: std::io::Error| OpenError::disk(path, &error);
    let file = File::open(path).map_err(failed)?;
    if lock == Lock::Shared {
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Ok(()) => {}
        }
    }
    Ok(file)
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
            if table.holds_json()
                && crate::ground::json::read::<serde::de::IgnoredAny>(value).is_err()
            {
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

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
    /// Was it closed? If not, the next start repairs it.
    pub closed: bool,
    /// Does the next start have to mend its end (see the `tail` module)?
    pub mended: bool,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Where redb's file format keeps its flags, and the flag that a clean close takes away.
const FLAGS_AT: u64 = 9;
const NOT_CLOSED: u8 = 2;

/// Verifies every checksum and every value of the file at `path`, as the next start will see it: what a
/// crash left is repaired in memory only. The file of a running siskin is in use: back it up and verify that.
pub fn verify(path: &Path) -> Result<Report, OpenError> {
    let (view, mended) = view(path, Lock::Shared)?;
    let failed = |error: std::io::Error| OpenError::disk(path, &error);
    let bytes = view.len().map_err(failed)?;
    let mut flags = [NOT_CLOSED];
    if bytes > FLAGS_AT {
        view.read(FLAGS_AT, &mut flags).map_err(failed)?;
    }
    let database = open_view(view, path)?;
    Ok(Report {
        schema: version(&database, path)?,
        entries: count(&database, path)?,
        closed: flags.iter().all(|flags| flags & NOT_CLOSED == 0),
        mended,
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

/// The file as a database, each checksum verified. Nothing reaches the file.
pub(super) fn open_for_reading(path: &Path, lock: Lock) -> Result<Database, OpenError> {
    let (view, _) = view(path, lock)?;
    let database = open_view(view, path)?;
    version(&database, path)?;
    Ok(database)
}

fn open_view(view: View, path: &Path) -> Result<Database, OpenError> {
    let mut builder = disk::builder();
    builder.set_check_integrity_on_open(true);
    let database = builder.create_with_backend(view);
    database.map_err(|e| OpenError::of(path, e.into()))
}

/// A view of the file, with a lock unless somebody writes to it.
fn view(path: &Path, lock: Lock) -> Result<(View, bool), OpenError> {
    let failed = |error: std::io::Error| OpenError::disk(path, &error);
    let file = File::open(path).map_err(failed)?;
    if lock == Lock::Shared {
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Ok(()) => {}
        }
    }
    if file.metadata().map_err(failed)?.len() == 0 {
        return Err(damaged(path, "it is empty".to_owned()));
    }
    View::new(file).map_err(failed)
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

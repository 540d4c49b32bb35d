//! Looks whether a store's file is whole, without writing anything.

use super::disk::{self, Snapshot};
use super::error::OpenError;
use super::schema;
use super::table::Table;
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use std::fs::{File, TryLockError};
use std::io::Read;
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
    /// Its length in bytes.
    pub bytes: u64,
}

/// Where redb's file format keeps its flags, and the flag that a clean close takes away.
const FLAGS_AT: u64 = 9;
const NOT_CLOSED: u8 = 2;

/// Verifies every checksum and every value of the file at `path`. Reads it into memory whole, so that also
/// a file that a crash left can be looked at as the next start will see it. The file of a running
/// siskin is in use: back it up and verify that.
pub fn verify(path: &Path) -> Result<Report, OpenError> {
    let backend = load(path)?;
    let bytes = backend.len().map_err(|e| OpenError::disk(path, &e))?;
    let mut flags = [NOT_CLOSED];
    if bytes > FLAGS_AT {
        let read = backend.read(FLAGS_AT, &mut flags);
        read.map_err(|e| OpenError::disk(path, &e))?;
    }
    let database = open_loaded(backend, path)?;
    Ok(Report {
        schema: version(&database, path)?,
        entries: count(&database, path)?,
        closed: flags.iter().all(|flags| flags & NOT_CLOSED == 0),
        bytes,
    })
}

/// The file's content as a database in memory, each checksum verified. Nothing reaches the file.
pub(super) fn open_in_memory(path: &Path) -> Result<Database, OpenError> {
    let database = open_loaded(load(path)?, path)?;
    version(&database, path)?;
    Ok(database)
}

fn open_loaded(backend: InMemoryBackend, path: &Path) -> Result<Database, OpenError> {
    let mut builder = disk::builder();
    builder.set_check_integrity_on_open(true);
    let database = builder.create_with_backend(backend);
    database.map_err(|e| OpenError::of(path, e.into()))
}

/// The file in memory, unless somebody writes to it.
fn load(path: &Path) -> Result<InMemoryBackend, OpenError> {
    let failed = |error: std::io::Error| OpenError::disk(path, &error);
    let file = File::open(path).map_err(failed)?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Ok(()) => {}
    }
    if file.metadata().map_err(failed)?.len() == 0 {
        return Err(damaged(path, "it is empty".to_owned()));
    }
    copy(file).map_err(failed)
}

fn copy(mut file: File) -> std::io::Result<InMemoryBackend> {
    let backend = InMemoryBackend::new();
    backend.set_len(file.metadata()?.len())?;
    let mut chunk = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let read = file.read(&mut chunk)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else {
            return Ok(backend);
        };
        backend.write(at, part)?;
        at += read as u64;
    }
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
            if table.holds_json() && serde_json::from_slice::<serde::de::IgnoredAny>(value).is_err()
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

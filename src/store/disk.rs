//! The file: redb behind five verbs. Everything here blocks, so it runs on the blocking pool or at start.
//!
//! redb is copy-on-write with checksums: a commit is one write of new pages and one fsync, and a file that
//! lost power opens as the last commit that was whole.

use super::error::OpenError;
pub(super) use super::error::{Error, boxed, fault};
pub(super) use super::rename::{rename, with_suffix};
use super::schema;
use super::table::{Change, Table};
use crate::ground::files;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase};
use std::fs;
use std::path::{Path, PathBuf};

/// redb's own page cache, in bytes; its default is 1 GiB.
const CACHE_BYTES: usize = 1 << 20;

/// The bytes of a page. A file is a whole number of pages: redb lengthens and shortens it by pages only.
pub(super) const PAGE: usize = 4096;

/// How every file of ours is opened.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// What was on disk at one moment. Reads never wait for a commit.
pub(super) struct Snapshot(Vec<Option<ReadOnlyTable<&'static str, &'static [u8]>>>);

impl Snapshot {
    /// The state of the last commit.
    pub(super) fn take(database: &impl ReadableDatabase) -> Result<Self, Error> {
        Self::of(&database.begin_read().map_err(boxed)?)
    }

    fn of(transaction: &ReadTransaction) -> Result<Self, Error> {
        // A table that nothing was written to yet may be missing: an older version made the file.
        let open = |table: Table| match transaction.open_table(table.definition()) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            opened => opened.map(Some),
        };
        let tables = Table::ALL.into_iter().map(open).collect::<Result<_, _>>();
        Ok(Self(tables.map_err(boxed)?))
    }

    /// One value.
    pub(super) fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(Some(table)) = self.0.get(table as usize) else {
            return Ok(None);
        };
        let found = table.get(key).map_err(boxed)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    /// Is there a value?
    pub(super) fn contains(&self, table: Table, key: &str) -> Result<bool, Error> {
        let Some(Some(table)) = self.0.get(table as usize) else {
            return Ok(false);
        };
        Ok(table.get(key).map_err(boxed)?.is_some())
    }

    /// Hands on the entries of keys after `after` (exclusive) that begin with `prefix`, in order, until `each` says stop.
    pub(super) fn scan(
        &self,
        table: Table,
        prefix: &str,
        after: &str,
        mut each: impl FnMut(&str, &[u8]) -> bool,
    ) -> Result<(), Error> {
        let Some(Some(table)) = self.0.get(table as usize) else {
            return Ok(());
        };
        for entry in table.range::<&str>(after.max(prefix)..).map_err(boxed)? {
            let (key, value) = entry.map_err(boxed)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let skipped = key.value() == after && !after.is_empty();
            if !skipped && !each(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }
}

/// Brings the changes to disk: one transaction, one fsync. Returns by how many bytes the values became more; less than
/// 0 when they became fewer.
pub(super) fn commit(database: &Database, changes: &[Change]) -> Result<i64, Error> {
    let transaction = database.begin_write().map_err(boxed)?;
    let mut growth = 0;
    for run in changes.chunk_by(|a, b| a.table == b.table) {
        let Some(first) = run.first() else { continue };
        let definition = first.table.definition();
        let mut table = transaction.open_table(definition).map_err(boxed)?;
        for change in run {
            let key = change.key.as_str();
            let old = match &change.value {
                Some(value) => table.insert(key, value.as_slice()).map_err(boxed)?,
                None => table.remove(key).map_err(boxed)?,
            };
            growth += change.value.as_ref().map_or(0, |value| value.len() as i64);
            growth -= old.map_or(0, |value| value.value().len() as i64);
        }
    }
    transaction.commit().map_err(boxed)?;
    Ok(growth)
}

/// Copies what `source` sees into a new file, whole and synced but not yet named `path`.
/// Returns it open, and its present name.
pub(super) fn copy(source: &Snapshot, path: &Path) -> Result<(Database, PathBuf), Error> {
    let partial = with_suffix(path, ".partial");
    let copied = copy_into(source, &partial);
    if copied.is_err() {
        // What is there of it is of no use; that it can't be removed changes nothing.
        let _ = fs::remove_file(&partial);
    }
    Ok((copied?, partial))
}

fn copy_into(source: &Snapshot, partial: &Path) -> Result<Database, Error> {
    let database = create_empty(partial)?;
    let transaction = database.begin_write().map_err(boxed)?;
    schema::stamp(&transaction)?;
    for table in Table::ALL {
        let mut target = transaction.open_table(table.definition()).map_err(boxed)?;
        let mut failed = None;
        source.scan(table, "", "", |key, value| {
            failed = target.insert(key, value).err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(boxed(error));
        }
    }
    transaction.commit().map_err(boxed)?;
    Ok(database)
}

/// Copies what `source` sees into the file `path`, which appears there whole and synced or not at all.
pub(super) fn backup(source: &Snapshot, path: &Path) -> Result<(), Error> {
    let (database, partial) = copy(source, path)?;
    let closed = database.close().map_err(boxed);
    closed.and_then(|()| rename(&partial, path).map_err(boxed))
}

/// Rewrites the file without its free space. Returns the database of the new file; the old one is
/// still open and no longer has a name.
pub(super) fn compact(database: &Database, path: &Path) -> Result<Database, Error> {
    let (compacted, partial) = copy(&Snapshot::take(database)?, path)?;
    rename(&partial, path).map_err(boxed)?;
    Ok(compacted)
}

/// Bytes of the file that hold nothing. Reads the whole file.
pub(super) fn free_bytes(database: &Database, path: &Path) -> Result<u64, Error> {
    let transaction = database.begin_write().map_err(boxed)?;
    let stats = transaction.stats().map_err(boxed)?;
    let used = stats.allocated_pages() * stats.page_size() as u64;
    transaction.abort().map_err(boxed)?;
    Ok(length(path).saturating_sub(used))
}

/// `length` without a part of a page at the end: it was never written by redb, which refuses a file that has one.
pub(super) fn whole_pages(length: u64) -> u64 {
    length - length % PAGE as u64
}

/// Mends the end of a file: gives it the length that `verify` found it whole with.
pub(super) fn mend_end(path: &Path, whole: u64) -> std::io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    if whole == length || file.try_lock().is_err() {
        // Another siskin that has it since says so when it is opened.
        return Ok(());
    }
    log::warn!(
        "store: the end of {} is not as it was written: made {whole} bytes of {length}",
        path.display()
    );
    file.set_len(whole)?;
    file.sync_all()
}

/// The file's length; 0 if it can't be told.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Opens a whole file for reading and writing, makes it if it isn't there, brings it to our schema.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    if !path.try_exists().map_err(|e| OpenError::disk(path, &e))? {
        create(path).map_err(|e| OpenError::of(path, *e))?;
    }
    let opened = builder().open(path);
    let database = opened.map_err(|e| OpenError::of(path, e.into()))?;
    schema::migrate(&database, schema::MIGRATIONS, path)?;
    Ok(database)
}

/// A new file without anything in it, for its owner alone; one that has the name goes.
fn create_empty(path: &Path) -> Result<Database, Error> {
    let file = files::create(path).map_err(boxed)?;
    let file = FileBackend::new(file).map_err(boxed)?;
    builder().create_with_backend(file).map_err(boxed)
}

/// A new file appears under its name only when it is whole.
fn create(path: &Path) -> Result<(), Error> {
    let fresh = with_suffix(path, ".new");
    // One that is there is from a start that was cut short; nothing was ever acknowledged in it.
    let database = create_empty(&fresh)?;
    let transaction = database.begin_write().map_err(boxed)?;
    schema::stamp(&transaction)?;
    transaction.commit().map_err(boxed)?;
    database.close().map_err(boxed)?;
    rename(&fresh, path).map_err(boxed)
}

//! The schema's version, and the way from an older one to ours.
//!
//! The version is in the file. A file of version n is brought to n+1, n+2, ... by the entries n-1, n, ...
//! of [`MIGRATIONS`], each in one transaction with the new number, so a crash leaves the old version or
//! the new one. Before the first step the file is copied to `NAME.schema-n`.

use super::error::OpenError;
use super::error::{Error, boxed};
use super::rename::{rename, with_suffix};
use super::table::Table;
use crate::ground::files;
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use std::path::Path;

/// One step to the next version.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), Error>;

/// The steps since version 1.
pub(super) const MIGRATIONS: &[Migration] = &[];

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const VERSION: &str = "schema";

/// The version that this program writes.
pub(super) fn current() -> u64 {
    version_after(MIGRATIONS)
}

fn version_after(migrations: &[Migration]) -> u64 {
    1 + migrations.len() as u64
}

/// Makes a new file ours: the version and every table.
pub(super) fn stamp(transaction: &WriteTransaction) -> Result<(), Error> {
    set_version(transaction, current())?;
    for table in Table::ALL {
        transaction.open_table(table.definition()).map_err(boxed)?;
    }
    Ok(())
}

pub(super) fn set_version(transaction: &WriteTransaction, version: u64) -> Result<(), Error> {
    let mut meta = transaction.open_table(META).map_err(boxed)?;
    meta.insert(VERSION, version).map_err(boxed)?;
    Ok(())
}

/// The file's version; `None` if the file isn't ours.
pub(super) fn version(database: &impl ReadableDatabase) -> Result<Option<u64>, Error> {
    let transaction = database.begin_read().map_err(boxed)?;
    let meta = match transaction.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other.map_err(boxed)?,
    };
    let version = meta.get(VERSION).map_err(boxed)?;
    Ok(version.map(|version| version.value()))
}

/// Brings a file to the version after `migrations`.
pub(super) fn migrate(
    database: &Database,
    migrations: &[Migration],
    path: &Path,
) -> Result<(), OpenError> {
    let failed = |error: Error| OpenError::of(path, *error);
    let known = version_after(migrations);
    let found = match version(database).map_err(failed)? {
        Some(found) if found <= known && found > 0 => found,
        Some(found) => {
            let path = path.to_owned();
            return Err(OpenError::Newer { path, found, known });
        }
        None => {
            let why = "it is a redb file, but not siskin's".to_owned();
            return Err(OpenError::Damaged(path.to_owned(), why));
        }
    };
    let steps = migrations.get(found as usize - 1..).unwrap_or_default();
    if steps.is_empty() {
        return Ok(());
    }
    keep_copy(path, found).map_err(|e| OpenError::disk(path, &e))?;
    for (step, to) in steps.iter().zip(found + 1..) {
        advance(database, *step, to).map_err(failed)?;
        log::info!("store: {} is now of schema {to}", path.display());
    }
    Ok(())
}

fn advance(database: &Database, step: Migration, to: u64) -> Result<(), Error> {
    let transaction = database.begin_write().map_err(boxed)?;
    step(&transaction)?;
    set_version(&transaction, to)?;
    transaction.commit().map_err(boxed)
}

/// A copy of the file as it was. Nothing writes to it now, so it is what a crash would leave: it opens.
fn keep_copy(path: &Path, version: u64) -> std::io::Result<()> {
    let copy = with_suffix(path, &format!(".schema-{version}"));
    let partial = with_suffix(&copy, ".partial");
    let mut file = files::create(&partial)?;
    std::io::copy(&mut std::fs::File::open(path)?, &mut file)?;
    file.sync_all()?;
    rename(&partial, &copy)
}

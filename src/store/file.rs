//! The file as its owner, the flusher, holds it, and what is done with it: commit, rewrite, close. Each blocks, so the
//! file goes to the blocking pool for it and comes back.

use super::disk::{self, Error, Snapshot};
use super::error::StoreError;
use super::table::Change;
use super::verify::{self, Lock};
use redb::Database;
use std::path::Path;
use std::sync::Arc;

/// Below this length a file isn't worth a rewrite, however empty it is.
pub(super) const SMALL: u64 = 4 << 20;

/// The file.
#[derive(Default)]
pub(super) enum File {
    /// Open for writing.
    Writable(Open),
    /// It can't be written to for now, or for good; it is read.
    Readable(Open),
    /// Neither for now; or it is away at the blocking pool.
    #[default]
    Unopened,
}

/// An open database and its last commit, which can be read as long as the database is open.
pub(super) struct Open {
    database: Database,
    last: Arc<Snapshot>,
}

impl Open {
    pub(super) fn new(database: Database) -> Result<Self, Error> {
        let last = Arc::new(Snapshot::take(&database)?);
        Ok(Self { database, last })
    }
}

/// What a job brings back.
pub(super) struct Done {
    pub(super) file: File,
    /// By how many bytes the values became more.
    pub(super) result: Result<i64, Error>,
    /// What is read until `file` is: to be dropped after that, on the blocking pool.
    pub(super) replaced: Option<Open>,
}

impl Done {
    fn of(file: File, result: Result<i64, Error>) -> Self {
        Self {
            file,
            result,
            replaced: None,
        }
    }
}

impl File {
    /// The last commit; `fault` if it can't be read.
    pub(super) fn on_disk(&self, fault: StoreError) -> Result<Arc<Snapshot>, StoreError> {
        match self {
            Self::Writable(open) | Self::Readable(open) => Ok(open.last.clone()),
            Self::Unopened => Err(fault),
        }
    }

    /// Opens the file for writing, or else for reading.
    fn open(path: &Path) -> Self {
        open_again(path).map_or_else(|_| Self::open_for_reading(path), Self::Writable)
    }

    fn open_for_reading(path: &Path) -> Self {
        let database = verify::open_for_reading(path, Lock::None).ok();
        let open = database.and_then(|database| Open::new(database).ok());
        open.map_or(Self::Unopened, Self::Readable)
    }

    /// Brings the changes to disk. A file that couldn't be written to is opened again for it. After an error redb refuses
    /// everything, so it is opened again then, too.
    pub(super) fn commit(self, path: &Path, changes: &[Change]) -> Done {
        let (open, replaced) = match self {
            Self::Writable(open) => (open, None),
            Self::Readable(reader) => match open_again(path) {
                Ok(open) => (open, Some(reader)),
                Err(error) => return Done::of(Self::Readable(reader), Err(error)),
            },
            Self::Unopened => match open_again(path) {
                Ok(open) => (open, None),
                Err(error) => return Done::of(Self::open_for_reading(path), Err(error)),
            },
        };
        let (file, result) = match open.commit(changes) {
            Ok((open, growth)) => (Self::Writable(open), Ok(growth)),
            Err(error) => (Self::open(path), Err(error)),
        };
        Done {
            file,
            result,
            replaced,
        }
    }

    /// Closes the file, so that the next start needn't repair it.
    pub(super) fn close(self) {
        if let Self::Writable(open) = self
            && let Err(error) = open.database.close()
        {
            log::warn!("store: not closed cleanly, the next start repairs it: {error}");
        }
    }
}

impl Open {
    /// Closes the database if it fails.
    fn commit(self, changes: &[Change]) -> Result<(Self, i64), Error> {
        let growth = disk::commit(&self.database, changes)?;
        Ok((Self::new(self.database)?, growth))
    }

    /// Rewrites the file if most of it is free.
    pub(super) fn rewrite(self, path: &Path) -> Done {
        match rewritten(&self.database, path) {
            Ok(None) => Done::of(File::Writable(self), Ok(0)),
            Ok(Some(database)) => {
                let open = Self::new(database).map(File::Writable);
                let (file, result) = match open {
                    Ok(file) => (file, Ok(0)),
                    Err(error) => (File::open(path), Err(error)),
                };
                Done {
                    file,
                    result,
                    replaced: Some(self),
                }
            }
            Err(error) => {
                // Whichever file has the name now is whole.
                drop(self);
                Done::of(File::open(path), Err(error))
            }
        }
    }
}

fn open_again(path: &Path) -> Result<Open, Error> {
    // Never makes a new file: what is pending belongs to the one that was there.
    Open::new(disk::builder().open(path).map_err(disk::boxed)?)
}

/// The rewritten file, if it was worth it. The old one is still open then, and no longer has a name.
pub(super) fn rewritten(database: &Database, path: &Path) -> Result<Option<Database>, Error> {
    let before = disk::length(path);
    if before < SMALL || disk::free_bytes(database, path)? < before / 2 {
        return Ok(None);
    }
    let compacted = disk::compact(database, path)?;
    let after = disk::length(path);
    log::info!(
        "store: rewrote {}: {before} -> {after} bytes",
        path.display()
    );
    Ok(Some(compacted))
}

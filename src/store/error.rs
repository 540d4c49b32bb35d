//! What can go wrong with the store, in the words that a user gets.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why something was not saved or read. The details are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No space, over the quota, or over the largest file allowed.
    Full,
    /// The file system or the file may not be written.
    ReadOnly,
    /// More waits for the disk than [`super::overlay::MAX_BYTES`].
    Backlog,
    /// One change is larger than all that may wait.
    TooLarge,
    /// The store is closing.
    Closed,
    /// The file doesn't hold what was written to it.
    Damaged,
    /// Any other error of the disk.
    Failed,
}

impl StoreError {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full
            }
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Self::ReadOnly,
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Failed,
        }
    }

    /// One sentence without a full stop.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Full => "the disk is full: nothing is saved until there is space",
            Self::ReadOnly => "the disk is read-only: nothing is saved",
            Self::Backlog => "too much waits to be saved: try again in a moment",
            Self::TooLarge => "this is too large to be saved",
            Self::Damaged => "the store's file is damaged",
            Self::Closed => "the store is closing",
            Self::Failed => "the disk failed: the log says how",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for StoreError {}

/// Why the store didn't open. Each ends a start with its sentence, but for those that
/// [`super::Store::open`] lives with.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has the file.
    InUse(PathBuf),
    /// A newer siskin wrote it.
    Newer {
        path: PathBuf,
        found: u64,
        known: u64,
    },
    /// The file is no store, or not a whole one.
    Damaged(PathBuf, String),
    /// The disk said no.
    Disk(PathBuf, StoreError, String),
}

/// Why redb didn't do it.
pub(super) type Error = Box<redb::Error>;

/// Boxed, since redb's error is large and rare.
pub(super) fn boxed(error: impl Into<redb::Error>) -> Error {
    Box::new(error.into())
}

/// What an error means to those who wait.
pub(super) fn fault(error: &redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => StoreError::of(error),
        redb::Error::Corrupted(_) => StoreError::Damaged,
        // No siskin wrote files of a format that this redb would have to upgrade.
        redb::Error::UpgradeRequired(_) => StoreError::Damaged,
        _ => StoreError::Failed,
    }
}

impl OpenError {
    pub(super) fn disk(path: &Path, error: &io::Error) -> Self {
        Self::Disk(path.to_owned(), StoreError::of(error), error.to_string())
    }

    pub(super) fn of(path: &Path, error: redb::Error) -> Self {
        let text = error.to_string();
        match (fault(&error), error) {
            (_, redb::Error::DatabaseAlreadyOpen) => Self::InUse(path.to_owned()),
            (StoreError::Damaged, _) => Self::Damaged(path.to_owned(), text),
            (fault, _) => Self::Disk(path.to_owned(), fault, text),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "{} is in use by another siskin: stop that one, or give this one a SISKIN_DATA_DIR of its own",
                path.display()
            ),
            Self::Newer { path, found, known } => write!(
                f,
                "{} has schema {found}, this siskin knows up to {known}: install the newer siskin again",
                path.display()
            ),
            Self::Damaged(path, why) => write!(f, "{} is damaged: {why}", path.display()),
            Self::Disk(path, _, why) => write!(f, "{} can't be opened: {why}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

//! Opening the store at start: whole, or degraded and saying why.

use super::FILE_NAME;
use super::disk;
use super::error::{OpenError, StoreError};
use super::file::{self, File, Open};
use super::state::{State, Status};
use super::verify::{self, Lock};
use crate::ground::{clock, files};
use redb::Database;
use std::fs::{self, DirBuilder};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What the name of a backup begins and ends with that is only there to be sent.
const PASSING: (&str, &str) = ("backup-", ".part");
const UUID_CHARS: usize = 36;

/// The name of such a backup; the next start removes it if it is still there.
pub(crate) fn passing_name(uuid: &str) -> String {
    let (before, after) = PASSING;
    format!("{before}{uuid}{after}")
}

/// Opens the store of `folder` as well as it can be opened.
pub(super) fn open(folder: &Path) -> Result<(File, State), OpenError> {
    let path = folder.join(FILE_NAME);
    remove_parts(folder);
    let opened = make_folder(folder).and_then(|()| open_file(&path));
    match opened {
        Ok(database) => whole(shrunk(database, &path)?, &path, None),
        Err(OpenError::Damaged(_, why)) => {
            let degraded = move_aside(&path, &why)?;
            whole(disk::open(&path)?, &path, Some(degraded))
        }
        Err(OpenError::Disk(_, fault @ (StoreError::ReadOnly | StoreError::Full), why)) => {
            Ok(for_reading(&path, fault, &why))
        }
        Err(error) => Err(error),
    }
}

/// Opens the file after a look at it that changes nothing: that of a newer siskin stays as it is, and one that
/// changed under us (bit rot, an editor) is told apart here, not by a panic later.
fn open_file(path: &Path) -> Result<Database, OpenError> {
    if path.try_exists().map_err(|e| OpenError::disk(path, &e))? {
        // Older versions left that to the umask. Where it can't be done nothing can be written either, which is told.
        let _ = files::close_to_others(path);
        let (_, whole) = verify::open_for_check(path, Lock::Shared)?;
        disk::mend_end(path, whole).map_err(|e| OpenError::disk(path, &e))?;
    }
    disk::open(path)
}

/// Removes what a kill left of copies on their way: nobody is told of one before it is whole.
fn remove_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(is_part)
            && let Err(error) = fs::remove_file(entry.path())
        {
            log::warn!("store: can't remove {}: {error}", entry.path().display());
        }
    }
}

fn is_part(name: &str) -> bool {
    let name = name.strip_suffix(".partial").unwrap_or(name);
    let uuid = name
        .strip_prefix(PASSING.0)
        .and_then(|n| n.strip_suffix(PASSING.1));
    uuid.is_some_and(|uuid| uuid.len() == UUID_CHARS)
}

fn make_folder(folder: &Path) -> Result<(), OpenError> {
    // Only we read what users wrote.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => OpenError::disk(folder, &Error::other("it is not a folder")),
        _ => OpenError::disk(folder, &e),
    })?;
    if let Some(mode) = files::open_to_others(folder) {
        let folder = folder.display();
        log::warn!(
            "store: every user of this machine has access to the folder {folder} (mode {mode:o}): chmod 700 {folder}"
        );
    }
    Ok(())
}

fn whole(
    database: Database,
    path: &Path,
    degraded: Option<String>,
) -> Result<(File, State), OpenError> {
    let open = Open::new(database).map_err(|e| OpenError::of(path, *e))?;
    let file = File::Writable(open);
    let state = State::new(Status::Saving, file.on_disk(StoreError::Failed), degraded);
    Ok((file, state))
}

/// Rewrites the file if most of it is free.
fn shrunk(database: Database, path: &Path) -> Result<Database, OpenError> {
    match file::rewritten(&database, path) {
        Ok(Some(rewritten)) => Ok(rewritten),
        Ok(None) => Ok(database),
        // The old file is still whole; a full disk is no reason not to start.
        Err(error) => {
            log::warn!("store: can't rewrite {}: {error}", path.display());
            drop(database);
            disk::open(path)
        }
    }
}

/// Gives the damaged file another name, and says so.
fn move_aside(path: &Path, why: &str) -> Result<String, OpenError> {
    let suffix = format!(".damaged-{}", clock::now());
    let aside = disk::with_suffix(path, &suffix);
    disk::rename(path, &aside).map_err(|e| OpenError::disk(path, &e))?;
    let degraded = format!(
        "the store was damaged ({why}): started with an empty one, the damaged file is {}",
        aside.display()
    );
    log::error!("{degraded}");
    Ok(degraded)
}

/// What can be had of a file that can't be written to.
fn for_reading(path: &Path, fault: StoreError, why: &str) -> (File, State) {
    let opened = verify::open_for_reading(path, Lock::Shared)
        .and_then(|database| Open::new(database).map_err(|e| OpenError::of(path, *e)));
    let (file, reads) = match opened {
        Ok(open) => (File::Readable(open), "it is only read".to_owned()),
        Err(_) if path.try_exists().is_ok_and(|there| !there) => {
            (File::Unopened, "there is none yet".to_owned())
        }
        Err(error) => (File::Unopened, format!("it can't be read either: {error}")),
    };
    let degraded = format!("the store can't be written to ({why}): {reads}");
    let way = match fault {
        StoreError::Full => "make room on its disk",
        _ => "let siskin's user write to its folder, or set SISKIN_DATA_DIR to another",
    };
    log::error!(
        "{}: {degraded}; {way}, and start siskin again",
        path.display()
    );
    let on_disk = file.on_disk(fault);
    let state = State::new(Status::ReadOnly(fault), on_disk, Some(degraded));
    (file, state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_made_is_removed() {
        let name = passing_name(&crate::ground::random::uuid());
        assert!(is_part(&name) && is_part(&format!("{name}.partial")));
        for name in [
            "backup-monday.part",
            "siskin.redb",
            "backup.redb",
            "x.partial",
        ] {
            assert!(!is_part(name), "{name}");
        }
    }
}

//! A file that a process leaves for the next one: there whole or not at all, taken once, nobody else's to read.

use super::files;
use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The file, and what it is called until it is whole.
const NAME: &str = "recovery";
const UNFINISHED: &str = "recovery.new";

/// Leaves this to the next process.
///
/// # Errors
/// Whatever the system says: then nothing is left.
pub fn leave(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new().mode(0o700).create(folder)?;
    }
    let unfinished = folder.join(UNFINISHED);
    let mut file = files::create(&unfinished)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| fs::rename(&unfinished, folder.join(NAME)));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Takes what the last process left, if it left something: it is gone then, whatever it is.
///
/// # Errors
/// Whatever the system says; or it is no file, or has more than `most` bytes.
pub fn take(folder: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let path = folder.join(NAME);
    match open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => {
            // Who has removed it has it.
            fs::remove_file(&path)?;
            read(opened?, most).map(Some)
        }
    }
}

/// Opens a file, not what a link names, and without waiting for anybody.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    options.open(path)
}

fn read(file: File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let is_file = file.metadata()?.is_file();
    if is_file {
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    }
    match is_file && bytes.len() <= most {
        true => Ok(bytes),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no such file of ours",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("siskin-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn what_is_left_is_taken_once_and_is_nobody_elses() {
        let folder = folder("left");
        assert_eq!(take(&folder, 9).unwrap(), None);
        leave(&folder, b"one").unwrap();
        leave(&folder, b"two").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(NAME))), (0o700, 0o600));
        assert_eq!(take(&folder, 3).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(take(&folder, 3).unwrap(), None);
        leave(&folder, b"four").unwrap();
        assert!(take(&folder, 3).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_link_leads_nowhere_and_what_is_no_file_is_none() {
        let folder = folder("links");
        leave(&folder, b"x").unwrap();
        let other = folder.join("other");
        for name in [NAME, UNFINISHED] {
            let _ = fs::remove_file(folder.join(name));
            fs::write(&other, b"theirs").unwrap();
            symlink(&other, folder.join(name)).unwrap();
            leave(&folder, b"ours").unwrap();
            assert_eq!(fs::read(&other).unwrap(), b"theirs");
            assert_eq!(take(&folder, 9).unwrap().as_deref(), Some(&b"ours"[..]));
        }
        symlink(&other, folder.join(NAME)).unwrap();
        assert!(take(&folder, 9).is_err());
        assert_eq!(take(&folder, 9).unwrap(), None);
        assert!(other.exists());
        let path = folder.join(NAME);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        assert!(take(&folder, 9).is_err());
        fs::create_dir(&path).unwrap();
        assert!(take(&folder, 9).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}

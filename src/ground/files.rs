//! Files that are for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// What everybody else on the machine may do with a file or a folder.
const OTHERS: u32 = 0o007;

/// Makes a new file that its owner alone reads and writes, in the place of what has the name. A link that somebody put
/// there is never followed: it goes, and who puts another one meanwhile gets it refused (`O_EXCL`).
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = OpenOptions::new();
    new.read(true).write(true).create_new(true).mode(0o600);
    new.open(path)
}

/// Whether everybody on the machine may do something with it; its mode then.
pub fn open_to_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & OTHERS != 0).then_some(mode)
}

/// Takes away what everybody may do with a file. Its group keeps what it has.
pub fn close_to_others(path: &Path) -> io::Result<()> {
    match open_to_others(path) {
        Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode & !OTHERS)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_made_for_its_owner_and_no_link_is_followed() {
        let name = format!("siskin-files-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let (file, victim) = (folder.join("file"), folder.join("victim"));
        fs::write(&victim, "untouched").unwrap();
        for planted in [&victim, &folder.join("nothing")] {
            symlink(planted, &file).unwrap();
            drop(create(&file).unwrap());
            let made = fs::symlink_metadata(&file).unwrap();
            assert!(made.is_file() && made.permissions().mode() & 0o777 == 0o600);
            assert_eq!(open_to_others(&file), None);
            fs::remove_file(&file).unwrap();
        }
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert!(!folder.join("nothing").exists() && create(&folder).is_err());
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(open_to_others(&victim), Some(0o664));
        close_to_others(&victim).unwrap();
        assert_eq!(
            victim.metadata().unwrap().permissions().mode() & 0o777,
            0o660
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}

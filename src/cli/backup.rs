//! `siskin backup`: a consistent copy of the store, from the running instance.

use super::{Failure, Outcome, request};
use crate::ground::files;
use argh::{ArgsInfo, FromArgs};
use std::io;
use std::path::{Path, PathBuf};

/// write a consistent copy of the store to a file, while siskin runs
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "backup",
    example = "{command_name} /var/backups/siskin.redb",
    note = "It asks the running instance over its API, so SISKIN_LISTEN and SISKIN_API_KEY must be that one's. The file appears whole or not at all. When no instance runs, copy siskin.redb out of SISKIN_DATA_DIR instead."
)]
pub struct Backup {
    /// the file to write, for its owner alone; one that is there is replaced
    #[argh(positional)]
    file: PathBuf,
}

pub fn run(backup: &Backup) -> Outcome {
    let config = super::settings()?;
    if std::fs::symlink_metadata(&backup.file).is_ok_and(|there| !there.is_file()) {
        let what = "is there and is no file: a link, a device or a folder is not replaced";
        return Err(Failure::Wrong(format!("{} {what}", backup.file.display())));
    }
    let mut answer = request::send(&config, "GET", "/api/v1/backup", b"")?;
    if answer.status != 200 {
        return Err(answer.failure());
    }
    let path = backup.file.display();
    match write(&backup.file, &mut answer) {
        Ok(bytes) => super::say(&format!("{bytes} bytes in {path}\n")),
        Err(error) => return Err(Failure::Failed(format!("{path} was not written: {error}"))),
    }
    Ok(())
}

/// Writes beside the file, then takes its place, so that a bad end leaves the last backup alone.
fn write(path: &Path, answer: &mut request::Received) -> io::Result<u64> {
    let mut name = path
        .file_name()
        .ok_or_else(|| io::Error::other("it names no file"))?
        .to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let copied = files::create(&part).and_then(|mut file| {
        let bytes = io::copy(&mut answer.body(), &mut file)?;
        answer.expect(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        Ok(bytes)
    });
    if copied.is_err() {
        // It may not be there; the first fault is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    copied
}

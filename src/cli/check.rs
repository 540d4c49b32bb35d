//! `siskin check`: the settings as they count, each mistake with its fix, and whether the store's file is whole;
//! or the health of the running instance.
//!
//! It shares only the reading of settings with `serve`: it opens nothing for writing and listens nowhere.

use super::{Failure, Outcome, request};
use crate::config::table::SETTINGS;
use crate::config::{DirectoryKind, Reading, Source};
use crate::ground::files;
use crate::peers;
use crate::store::{self, OpenError, Report};
use argh::{ArgsInfo, FromArgs};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The settings that the service reads.
const SETTINGS_FILE: &str = "/etc/siskin/siskin.env";

/// print the settings as they count, secrets masked, and each mistake with its fix; verify the store's file
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "check",
    note = "The store of a running siskin is in use: `siskin backup FILE`, then `siskin check --store FILE`."
)]
pub struct Check {
    /// ask the running instance whether it is ready instead: the health check of a container
    #[argh(switch)]
    live: bool,
    /// verify this file instead, a backup for instance: every checksum and every record
    #[argh(option, arg_name = "file")]
    store: Option<PathBuf>,
}

pub fn run(check: &Check) -> Outcome {
    if check.live {
        return live();
    }
    if let Some(path) = &check.store {
        return verify(path);
    }
    let mut reading = crate::config::read_environment();
    check_redis(&mut reading);
    warn_of_readers(&mut reading, Path::new(SETTINGS_FILE));
    super::say(&report(&reading));
    match (reading.mistakes.len(), reading.config) {
        (0, Some(config)) if config.directory == DirectoryKind::Local => {
            verify_kept(&config.data_dir.join(store::FILE_NAME))
        }
        (0, _) => Ok(()),
        (1, _) => Err(Failure::Wrong("1 mistake: siskin would not start.".into())),
        (count, _) => Err(Failure::Wrong(format!(
            "{count} mistakes: siskin would not start."
        ))),
    }
}

/// What only the connection itself knows of its settings. Redis need not be there.
pub(super) fn check_redis(reading: &mut Reading) {
    if let Some(Err(why)) = reading.config.as_ref().map(peers::check) {
        let fix = "write it as redis://user:password@host:6379/0";
        let mistake = crate::config::Mistake::new("WEBSOCKET_REDIS_URL", why, fix);
        reading.mistakes.push(mistake);
    }
}

/// Secrets that every user of the machine can read: in files of their own, and in the service's settings file.
fn warn_of_readers(reading: &mut Reading, settings: &Path) {
    let files = reading
        .effective
        .iter()
        .filter_map(|(row, _, source)| match source {
            Source::File(path) => Some((row.name, path.clone())),
            _ => None,
        });
    let text = std::fs::read_to_string(settings).unwrap_or_default();
    let named = |line: &str| Some(line.trim().split_once('=')?.0.to_owned());
    let names: Vec<String> = text.lines().filter_map(named).collect();
    let secrets = SETTINGS.iter().filter(|row| row.secret);
    let there = secrets.filter(|row| names.iter().any(|name| row.is_called(name)));
    let warnings: Vec<String> = files
        .chain(there.map(|row| (row.name, settings.to_owned())))
        .filter(|(_, path)| files::open_to_others(path).is_some())
        .map(|(name, path)| {
            let path = path.display();
            format!("{name}: every user of this machine has access to {path}: chmod o= {path}")
        })
        .collect();
    reading.warnings.extend(warnings);
}

/// The store that the settings name, which need not be there and may be in use.
fn verify_kept(path: &Path) -> Outcome {
    if path.try_exists().is_ok_and(|there| !there) {
        super::say(&format!("There is no store yet: {}\n", path.display()));
        return Ok(());
    }
    match store::verify(path) {
        Err(OpenError::InUse(_)) => {
            let advice = "is in use by a running siskin: to verify it, `siskin backup FILE`, then `siskin check --store FILE`";
            super::say(&format!("The store {} {advice}.\n", path.display()));
            Ok(())
        }
        other => verdict(path, other),
    }
}

fn verify(path: &Path) -> Outcome {
    verdict(path, store::verify(path))
}

fn verdict(path: &Path, verified: Result<Report, OpenError>) -> Outcome {
    match verified {
        Ok(report) => super::say(&found(path, &report)),
        Err(error) => return Err(Failure::Failed(format!("The store {error}."))),
    }
    Ok(())
}

/// What is in a whole store.
fn found(path: &Path, report: &Report) -> String {
    let Report { schema, bytes, .. } = report;
    let path = path.display();
    let mut out = format!("The store {path} is whole: {bytes} bytes, schema {schema}");
    for (table, count) in &report.entries {
        // Writing to a String can't fail.
        let _ = write!(out, ", {count} {}", table.name());
    }
    out.push_str(".\n");
    if !report.closed {
        out.push_str("It was not closed: the next start repairs it.\n");
    }
    out
}

fn live() -> Outcome {
    let config = super::settings()?;
    let answer = request::send(&config, "GET", "/ready", b"")?;
    match (answer.status, answer.text()) {
        (200, text) => super::say(&format!("{text}\n")),
        (status, text) => return Err(Failure::Failed(format!("not ready ({status}): {text}"))),
    }
    Ok(())
}

/// The table, the warnings, the mistakes.
fn report(reading: &Reading) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    for (row, value, source) in &reading.effective {
        let value = value.as_deref().unwrap_or("-");
        let source = match source {
            Source::Default => String::new(),
            Source::Environment(name) if *name == row.name => " (set)".into(),
            Source::Environment(name) => format!(" (set by {name})"),
            Source::File(path) => format!(" (set by {})", path.display()),
        };
        let _ = writeln!(out, "{:<34} {value}{source}", row.name);
    }
    for warning in &reading.warnings {
        let _ = write!(out, "\nwarning: {warning}");
    }
    for mistake in &reading.mistakes {
        let _ = write!(
            out,
            "\nmistake: {}: {}\n         {}",
            mistake.name, mistake.what, mistake.fix
        );
    }
    if reading.mistakes.is_empty() {
        let _ = write!(out, "\nThe settings are fine.");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_all_but_secrets() {
        let pairs = [
            ("WEBUI_JWT_SECRET_KEY", "do-not-print-this"),
            ("SISKIN_LOG", "loud"),
            ("SISKIN_LISTN", "x"),
            ("SISKIN_DATA_DIR", "/d"),
        ];
        let env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = report(&crate::config::read(&env.into()));
        let has = |part: &str| assert!(text.contains(part), "{part} is not in\n{text}");
        has("\nSISKIN_API_KEY                     -\n");
        has("WEBUI_SECRET_KEY                   (secret) (set by WEBUI_JWT_SECRET_KEY)\n");
        has("\nSISKIN_DATA_DIR                    /d (set)\n");
        has("\nwarning: SISKIN_LISTN is no setting of siskin; did you mean SISKIN_LISTEN?");
        has("\nmistake: SISKIN_LOG: \"loud\" can't be used\n         write one of error,");
        assert!(!text.contains("do-not-print-this") && !text.contains("fine"));
    }

    #[test]
    fn secrets_that_everybody_can_read_are_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("siskin-readers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (key, settings) = (folder.join("key"), folder.join("siskin.env"));
        std::fs::write(&key, "0123456789abcdef").unwrap();
        let lines = "#SISKIN_API_KEY=\nSISKIN_LOG=info\n WEBUI_JWT_SECRET_KEY=x\n";
        std::fs::write(&settings, lines).unwrap();
        let env = [("SISKIN_API_KEY_FILE", key.to_string_lossy().into_owned())];
        let env = env.map(|(name, value)| (name.to_owned(), value));
        for (mode, count) in [(0o644, 2), (0o640, 0), (0o600, 0)] {
            for path in [&key, &settings] {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
            let mut reading = crate::config::read(&env.clone().into());
            warn_of_readers(&mut reading, &settings);
            assert_eq!(reading.warnings.len(), count, "{:?}", reading.warnings);
            assert!(count == 0 || reading.warnings[0].starts_with("SISKIN_API_KEY: "));
            assert!(count == 0 || reading.warnings[1].starts_with("WEBUI_SECRET_KEY: "));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

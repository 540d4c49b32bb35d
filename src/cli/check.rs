//! `siskin check`: the settings as they count, each mistake with its fix, or the health of the running instance.
//!
//! It shares only the reading of settings with `serve`: it opens nothing for writing and listens nowhere.

use super::{Failure, Outcome, request};
use crate::config::{Reading, Source};
use argh::{ArgsInfo, FromArgs};
use std::fmt::Write;

/// print the settings as they count, secrets masked, and each mistake with its fix
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// ask the running instance whether it is ready instead: the health check of a container
    #[argh(switch)]
    live: bool,
}

pub fn run(check: &Check) -> Outcome {
    if check.live {
        return live();
    }
    let mut reading = crate::config::read_environment();
    check_redis(&mut reading);
    super::say(&report(&reading));
    match reading.mistakes.len() {
        0 => Ok(()),
        1 => Err(Failure::Wrong("1 mistake: siskin would not start.".into())),
        count => Err(Failure::Wrong(format!(
            "{count} mistakes: siskin would not start."
        ))),
    }
}

/// What only the connection itself knows of its settings. Redis need not be there.
#[cfg(feature = "redis")]
fn check_redis(reading: &mut Reading) {
    let redis = reading.config.as_ref().and_then(|c| c.redis.as_ref());
    if let Some(Err(why)) = redis.map(crate::redis::Redis::check) {
        let fix = "write it as redis://user:password@host:6379/0";
        let mistake = crate::config::Mistake::new("WEBSOCKET_REDIS_URL", why, fix);
        reading.mistakes.push(mistake);
    }
}

#[cfg(not(feature = "redis"))]
fn check_redis(_: &mut Reading) {}

fn live() -> Outcome {
    let config = super::settings()?;
    let failed = |error| Failure::Failed(format!("siskin does not answer: {error}"));
    let answer = request::send(&config, "GET", "/ready", b"").map_err(failed)?;
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
}

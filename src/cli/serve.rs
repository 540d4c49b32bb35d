//! `siskin serve`: reads the settings and runs the server.

use super::{Failure, Outcome};
use argh::{ArgsInfo, FromArgs};

/// run the server; what `siskin` without a command does too
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "serve")]
pub struct Serve {}

pub fn run() -> Outcome {
    let reading = crate::config::read_environment();
    let (level, packets) = match &reading.config {
        Some(config) => (config.log, config.log_packets),
        None => (log::LevelFilter::Info, crate::log::Packets::default()),
    };
    crate::log::start(level, packets);
    for warning in &reading.warnings {
        log::warn!("{warning}");
    }
    let config = super::usable(reading)?;
    allow_all_files();
    crate::serve::run(config).map_err(|error| match error {
        crate::serve::Error::Redis(_) => Failure::Wrong(error.to_string()),
        other => Failure::Failed(other.to_string()),
    })
}

/// Raises the number of files that may be open to what the system lets us have.
fn allow_all_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!("the limit of open files stays as it is: {error}");
    }
}

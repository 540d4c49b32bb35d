//! Builds the house from Config, listens, drains on SIGTERM.

use crate::config::Config;
use std::fmt;

/// Why the server did not start, or ended badly.
#[derive(Debug)]
pub enum Error {
    /// Nothing listens yet.
    NotBuilt,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server is not built yet")
    }
}

/// Runs until SIGTERM.
pub fn run(_config: Config) -> Result<(), Error> {
    Err(Error::NotBuilt)
}

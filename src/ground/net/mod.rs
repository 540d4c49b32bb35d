//! Sockets of our executor.
//!
//! - [`io`]: a TCP stream as hyper reads and writes it
//! - [`tally`]: how many of something each address has

mod io;
mod tally;

pub use io::{Io, Watch};
pub use tally::Tally;

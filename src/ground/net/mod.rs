//! Sockets of our executor.
//!
//! - [`dial`](dial()): a connection to a host
//! - [`io`]: a TCP stream as hyper reads and writes it
//! - [`tally`]: how many of something each address has

mod dial;
mod io;
mod tally;

pub use dial::dial;
pub use io::{Io, Watch};
pub use tally::Tally;

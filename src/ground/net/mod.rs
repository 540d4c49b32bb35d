//! Sockets of our thread, and the epoll that it waits in.
//!
//! - [`reactor`]: who is ready, and in which order they are served
//! - [`bell`]: what wakes the thread
//! - [`turns`]: how long one thing may keep it busy
//! - [`socket`]: a TCP stream in the epoll
//! - [`io`]: the same as hyper reads and writes it
//! - [`input`]: one budget for what has begun and is not finished
//! - [`body`]: a request's body within that budget
//! - [`said`]: an answer's body, whole or piece by piece
//! - [`dial`](dial()): a connection to a host
//! - [`tally`]: how many of something each address has
//! - [`tell`](tell()): lines of the log that anybody can cause

mod bell;
mod body;
mod dial;
pub mod input;
mod io;
#[cfg(test)]
mod pitfall_tests;
#[cfg(test)]
mod random_tests;
mod reactor;
mod said;
mod socket;
mod tally;
pub mod tell;
mod turns;

pub use body::{BodyFault, read_body};
pub use dial::{dial, resolve};
pub use io::{Io, Watch};
pub use reactor::{Hold, Reactor, Serve};
pub use said::Said;
pub use socket::Socket;
pub use tally::Tally;
pub use tell::tell;

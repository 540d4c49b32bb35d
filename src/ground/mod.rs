//! What all others stand on, and which knows nothing of them.
//!
//! - [`clock`]: what time it is
//! - [`tasks`]: who runs what: tasks with owners, waiting without looking, deadlines
//! - [`handover`]: a file for the next process
//! - [`memory`]: how much memory there is
//! - [`net`]: sockets of our executor
//! - [`json`]: JSON that comes as bytes
//! - [`names`]: what an id may be
//! - [`embedded`]: compressed files in the binary
//! - [`files`]: files that are for their owner alone
//! - [`rooms`]: the names of rooms
//! - [`random`]: random numbers of the system
//! - [`written`]: what another process is told, as bytes
//! - `random_input`: random input for tests

pub mod clock;
pub mod embedded;
pub mod files;
pub mod handover;
pub mod json;
pub mod memory;
pub mod names;
pub mod net;
pub mod random;
#[cfg(test)]
pub(crate) mod random_input;
pub mod rooms;
pub mod tasks;
pub mod written;

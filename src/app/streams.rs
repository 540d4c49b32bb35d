//! What clients stream to a backend (direct connections): events named `{user}:{session}:{request}`.

use super::core::{Core, Fault, Sender};
use crate::ground::names::is_id;
use crate::peers::pools::streams::Pushed;
use serde_json::value::RawValue;

/// Whether a name is that of a stream: an id with exactly two colons.
pub fn is_name(name: &str) -> bool {
    name.bytes().filter(|byte| *byte == b':').count() == 2 && is_id(name)
}

/// Whether a stream is the sender's own.
///
/// # Errors
/// It is another user's.
pub fn check(from: &Sender, name: &str) -> Result<(), Fault> {
    match name.split(':').next() == Some(&from.who.user.id) {
        true => Ok(()),
        false => Err(Fault::Denied("somebody else's stream")),
    }
}

/// Hands an event of a client's stream to whoever listens to it, on any instance; only its own user may feed it. Whether
/// somebody of another instance listens can't be told. `false`: only the directory can listen to it, at its own socket.
///
/// # Errors
/// It is another user's, nobody listens here, or too much waits.
pub fn push(core: &Core, from: &Sender, name: &str, data: &RawValue) -> Result<bool, Fault> {
    check(from, name)?;
    match core.pools.streams.push(name, data) {
        Pushed::Taken => Ok(true),
        Pushed::Nobody if core.directory.streams_by_socket() => Ok(false),
        Pushed::Nobody if core.peers.stream(name, data) => Ok(true),
        Pushed::Nobody => Err(Fault::Denied("nobody listens to this stream")),
        Pushed::Lost => Err(Fault::Full("bytes of streams")),
    }
}

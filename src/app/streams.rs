//! What clients stream to a backend (direct connections): events named `{user}:{session}:{request}`.

use super::core::{Core, Fault, Sender};
use crate::ground::names::is_id;
use crate::peers::pools::streams::Pushed;
use serde_json::value::RawValue;

/// Whether a name can be that of a stream: an id with exactly two colons.
pub fn is_name(name: &str) -> bool {
    name.bytes().filter(|byte| *byte == b':').count() == 2 && is_id(name)
}

/// Whether a name is that of a stream of the sender's; others name events that are unknown here.
pub fn is_own(from: &Sender, name: &str) -> bool {
    is_name(name) && name.split(':').next() == Some(&from.who.user.id)
}

/// Hands an event of a client's own stream to whoever listens to it, on any instance. Whether
/// somebody of another instance listens can't be told. `false`: only the directory can listen to it, at its own socket.
///
/// # Errors
/// Nobody listens here, or too much waits.
pub fn push(core: &Core, name: &str, data: &RawValue) -> Result<bool, Fault> {
    match core.pools.streams.push(name, data) {
        Pushed::Taken => Ok(true),
        Pushed::Nobody if core.directory.streams_by_socket() => Ok(false),
        Pushed::Nobody if core.peers.stream(name, data) => Ok(true),
        Pushed::Nobody => Err(Fault::Denied("nobody listens to this stream")),
        Pushed::Lost => Err(Fault::Full("bytes of streams")),
    }
}

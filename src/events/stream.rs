//! `{user}:{session}:{request}`: a client streams to a backend (direct connections).

use super::{Fault, Sender, Work};
use crate::ground::names::is_id;
use crate::socket::Args;
use crate::state::streams::Pushed;

/// Whether an event's name is that of a stream: an id with exactly two colons.
pub fn is_name(name: &str) -> bool {
    name.bytes().filter(|byte| *byte == b':').count() == 2 && is_id(name)
}

/// The first argument goes to whoever listens to this stream; only its own user may feed it.
pub fn event(from: Sender, name: &str, args: &Args<'_>) -> Work {
    let owner = name.split(':').next();
    if owner != Some(&from.who.user.id) {
        return Work::refuse(Fault::Denied("somebody else's stream"));
    }
    let values = args.values();
    let Some(data) = values.first() else {
        return Work::refuse(Fault::Payload);
    };
    match from.house.publish_stream(name, data) {
        Pushed::Taken => Work::done(),
        Pushed::Nobody => Work::refuse(Fault::Denied("nobody listens to this stream")),
        Pushed::Lost => Work::refuse(Fault::Full("bytes of streams")),
    }
}

//! The names of rooms (contract, Rooms).

/// Made for most events, and without the machinery that formats.
fn named(kind: &str, id: &str) -> String {
    let mut name = String::with_capacity(kind.len() + id.len());
    name.push_str(kind);
    name.push_str(id);
    name
}

/// The sessions of a user.
pub fn of_user(user_id: &str) -> String {
    named("user:", user_id)
}

/// The user that a room is of.
pub fn user(room: &str) -> Option<&str> {
    room.strip_prefix("user:")
}

/// The members of a channel.
pub fn of_channel(channel_id: &str) -> String {
    named("channel:", channel_id)
}

/// The channel that a room is of.
pub fn channel(room: &str) -> Option<&str> {
    room.strip_prefix("channel:")
}

/// Those who have a saved chat open.
pub fn of_chat(chat_id: &str) -> String {
    named("chat:", chat_id)
}

/// The chat that a room is of.
pub fn chat(room: &str) -> Option<&str> {
    room.strip_prefix("chat:")
}

/// Those who hear of a note's changes from outside.
pub fn of_note(note_id: &str) -> String {
    named("note:", note_id)
}

/// The note that a room is of.
pub fn note(room: &str) -> Option<&str> {
    room.strip_prefix("note:")
}

/// The event by which those in a note's room hear of its changes.
pub const NOTE_EVENT: &str = "events:note";

/// That event, also as Open WebUI before 0.11 calls it.
pub fn note_event(name: &str) -> Option<&'static str> {
    [NOTE_EVENT, "note-events"]
        .into_iter()
        .find(|known| *known == name)
}

/// Those who have a document open.
pub fn of_document(document_id: &str) -> String {
    named("doc_", document_id)
}

/// The document whose room this is.
pub fn document(room: &str) -> Option<&str> {
    room.strip_prefix("doc_")
}

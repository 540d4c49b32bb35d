//! A document's one name, and its room.

use crate::ground::names::{document_of_note, note_of_document};
use crate::ground::rooms;

/// A document as a client named it: `note_X` is `note:X`.
pub struct Document {
    pub id: String,
    /// The room of those who have it open.
    pub room: String,
}

impl Document {
    pub fn new(id: &str) -> Self {
        let id = match id.strip_prefix("note_") {
            Some(note_id) => document_of_note(note_id),
            None => id.to_owned(),
        };
        let room = rooms::of_document(&id);
        Self { id, room }
    }

    /// The document that a note is edited as.
    pub fn of_note(note_id: &str) -> Self {
        Self::new(&document_of_note(note_id))
    }

    /// The note that it is.
    pub fn note(&self) -> Option<&str> {
        note_of_document(&self.id)
    }
}

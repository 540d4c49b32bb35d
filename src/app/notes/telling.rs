//! Who edits a note that can't be written at the moment is told so, in the event `error`: its program would show it as saved.
//!
//! Once for what a session has brought, however often it is tried again: the next time when it has brought something since,
//! or when something was written meanwhile.

use super::Notes;
use crate::ground::names::document_of_note;
use crate::socket::Sid;

impl Notes {
    /// A session has brought something of the note.
    pub fn brought(&self, note_id: &str, sid: Sid) {
        self.with(note_id, |note| note.brought(sid));
    }

    /// What editors of the note brought is on disk.
    pub fn written(&self, note_id: &str) {
        self.with(note_id, |note| note.written());
    }

    /// What editors of the note brought can't be written at the moment, and is tried again.
    pub fn not_written(&self, note_id: &str) {
        let mut unaware = Vec::new();
        self.with(note_id, |note| unaware = note.not_written());
        let document = document_of_note(note_id);
        for sid in unaware {
            let why = "The note can't be saved at the moment";
            self.core
                .send_document_error(sid, &document, "unavailable", why);
        }
    }
}

//! Who edits a note that can't be written at the moment is told so, in the event `error`: its program would show it as saved.
//!
//! Once for what a session has brought, however often it is tried again: the next time when it has brought something since,
//! or when something was written meanwhile.

use super::Notes;
use super::note::Note;
use crate::app::core::{DENIED, UNAVAILABLE};
use crate::directory::Access;
use crate::ground::names::document_of_note;
use crate::socket::Sid;
use std::time::Instant;

impl Notes {
    /// A session has brought an update of the note's document, or the content that its updates make.
    pub fn brought(&self, note_id: &str, sid: Sid, content: bool) {
        self.with(note_id, |note| note.brought(sid, content, Instant::now()));
    }

    /// Whether what editors show is what somebody outside has overwritten, and nothing that they have written since.
    pub fn is_overwritten(&self, note_id: &str) -> bool {
        let notes = self.notes.borrow();
        notes.get(note_id).is_some_and(Note::is_overwritten)
    }

    /// A session may not write the note any more: it is told if what it brought before is not all saved, since its content, which
    /// comes after the updates that make it, is not taken now.
    pub fn may_not_write(&self, note_id: &str, sid: Sid) {
        let owes = |note: &Note| note.owes(sid);
        if self.notes.borrow().get(note_id).is_some_and(owes) {
            let why = "The note was not saved: no write access to the note";
            self.tell(note_id, sid, DENIED, why);
        }
    }

    /// A session that has the note open may do this from now on. Whether it may write, and could not.
    pub fn learns_to_write(&self, note_id: &str, sid: Sid, access: Access) -> bool {
        let mut before = None;
        self.with(note_id, |note| {
            before = note.set_access(sid, access, Instant::now());
        });
        access >= Access::Write && before.is_some_and(|before| before < Access::Write)
    }

    /// A session is told what became of what it brought; `reason` is a word for its program.
    pub fn tell(&self, note_id: &str, sid: Sid, reason: &str, why: &str) {
        let document = document_of_note(note_id);
        self.core.send_document_error(sid, &document, reason, why);
    }

    /// What editors of the note brought is on disk.
    pub fn written(&self, note_id: &str) {
        self.with(note_id, |note| note.written());
    }

    /// What editors of the note brought can't be written at the moment, and is tried again.
    pub fn not_written(&self, note_id: &str) {
        let mut unaware = Vec::new();
        self.with(note_id, |note| unaware = note.not_written());
        for sid in unaware {
            let why = "The note can't be saved at the moment";
            self.tell(note_id, sid, UNAVAILABLE, why);
        }
    }
}

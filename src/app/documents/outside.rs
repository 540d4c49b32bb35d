//! A note that a backend changed or removed: who has it open learns of it, and leaves if they may not read it any more.

use super::{Document, Documents, Left};
use crate::directory::Access;
use crate::ground::rooms;
use crate::socket::{Args, Sid, Target};
use serde_json::{Map, Value};

impl Documents {
    /// A backend changed the note: content, title, who may do what.
    pub async fn note_changed(&self, note_id: &str, note: &Map<String, Value>) {
        self.notes.changed_outside(note_id);
        let document = Document::of_note(note_id);
        let listening = rooms::of_note(note_id);
        self.core.hub.give_up_in(&listening);
        for sid in self.core.hub.members(&listening) {
            if !self.may_read(sid, note_id).await {
                self.core.peers.leave(sid, &listening);
            }
        }
        for sid in self.core.hub.members(&document.room) {
            if !self.may_read(sid, note_id).await {
                self.put_out(sid, &document).await;
            }
        }
        let (target, args) = (Target::room(&listening), Args::one(note));
        self.core.peers.emit(&target, "events:note", &args);
    }

    /// A backend removed the note.
    pub async fn note_removed(&self, note_id: &str) {
        self.notes.discard(note_id);
        let document = Document::of_note(note_id);
        for sid in self.core.hub.members(&document.room) {
            self.put_out(sid, &document).await;
        }
        for room in [&rooms::of_note(note_id), &document.room] {
            self.core.peers.close_room(room);
        }
    }

    async fn put_out(&self, sid: Sid, document: &Document) {
        self.close_for(sid, document, Left::Gone).await;
        if self.core.hub.is_connected(sid) {
            self.gaps.put_out(sid, document);
        }
    }

    /// Whether a signed-in session may read the note. Who can't be judged now may stay.
    async fn may_read(&self, sid: Sid, note_id: &str) -> bool {
        let Some(who) = self.core.pools.sessions.who(sid) else {
            return true;
        };
        let note = self.core.directory.note(&who, note_id).await;
        let access = note.map(|note| note.map_or(Access::None, |note| note.access));
        access != Ok(Access::None)
    }
}

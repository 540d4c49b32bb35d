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
            let access = self.access(sid, note_id).await;
            if access.is_some_and(|access| access < Access::Write) {
                self.notes.may_not_write(note_id, sid);
            }
            if access == Some(Access::None) {
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
        self.access(sid, note_id).await != Some(Access::None)
    }

    /// What a signed-in session may do with the note, if it can be judged now.
    async fn access(&self, sid: Sid, note_id: &str) -> Option<Access> {
        let who = self.core.pools.sessions.who(sid)?;
        let note = self.core.directory.note(&who, note_id).await.ok()?;
        Some(note.map_or(Access::None, |note| note.access))
    }
}

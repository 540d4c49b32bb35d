//! A note that a backend changed or removed: who has it open learns of it, and leaves if they may not read it any more. Who
//! may again goes on at once.

use super::refusals::REMOVED;
use super::{Document, Documents, Left, Opening};
use crate::app::core::Sender;
use crate::directory::Access;
use crate::ground::rooms;
use crate::peers::documents::vector::Vector;
use crate::socket::{Args, Sid, Target};
use serde_json::{Map, Value};
use smol::Timer;
use std::time::Duration;

/// How long after an attempt to end a document the next one comes.
const RETRY: Duration = Duration::from_secs(1);
/// A note that was removed elsewhere and not here so long after goes on here.
const STILL_THERE: Duration = Duration::from_secs(2);
/// Notes that others have removed, and that may still be removed here.
const MOST_REMOVED: usize = 1_000;

impl Documents {
    /// A backend changed the note: content, title, who may do what.
    pub async fn note_changed(&'static self, note_id: &str, note: &Map<String, Value>) {
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
            match access {
                Some(Access::None) => self.put_out(sid, &document).await,
                Some(access) if self.notes.learns_to_write(note_id, sid, access) => {
                    self.ask_again(sid, &document).await;
                }
                _ => {}
            }
        }
        self.let_in(&document);
        let (target, args) = (Target::room(&listening), Args::one(note));
        self.core.peers.emit(&target, rooms::NOTE_EVENT, &args);
    }

    /// A backend removed the note.
    pub async fn note_removed(&'static self, note_id: &str) {
        self.notes.discard(note_id);
        self.notes.changed_outside(note_id);
        let document = Document::of_note(note_id);
        // Another instance, where it was removed before, may have it anew.
        let has_ended = self.removed_elsewhere.borrow_mut().remove(note_id);
        // While they have it open: it is known then that there is somebody who has it.
        if !has_ended && !self.end(&document).await {
            self.end_later(&document);
        }
        for sid in self.core.documents.here(&document.id) {
            self.put_out(sid, &document).await;
        }
        for (sid, _) in self.gaps.waiting(&document) {
            self.tell_removed(sid, &document);
        }
        self.close_rooms(note_id, &document);
    }

    /// A backend removed the note of another instance: its document has ended, and the next one has this epoch. What was typed here is
    /// saved all the same, since the directory here may still have the note.
    pub(super) async fn note_removed_elsewhere(&'static self, note_id: &str, epoch: u64) {
        let document = Document::of_note(note_id);
        let ours = self.core.documents.epoch(&document.id);
        if ours.is_some_and(|ours| ours >= epoch) {
            return;
        }
        self.notes.changed_outside(note_id);
        for sid in self.core.documents.here(&document.id) {
            self.put_out(sid, &document).await;
            self.tell_removed(sid, &document);
        }
        self.close_rooms(note_id, &document);
        let mut known = self.removed_elsewhere.borrow_mut();
        if known.len() < MOST_REMOVED {
            known.insert(note_id.to_owned());
        }
        drop(known);
        self.following.spawn("lets in again", async move {
            Timer::after(STILL_THERE).await;
            self.let_in(&document);
        });
    }

    /// Those here: other instances close theirs, unless the note is there anew when they hear of it.
    fn close_rooms(&self, note_id: &str, document: &Document) {
        for room in [&rooms::of_note(note_id), &document.room] {
            self.core.hub.close_room("/", room);
        }
    }

    /// Whatever it hears of the document later is of another one.
    fn tell_removed(&self, sid: Sid, document: &Document) {
        let why = "The note was removed";
        self.core
            .send_document_error(sid, &document.id, REMOVED, why);
    }

    /// It ends, and others are told; not before, since they would take who comes meanwhile for one who has the next one. `false`:
    /// that can't be said now.
    async fn end(&self, document: &Document) -> bool {
        let next = self.core.documents.end(&document.id).await;
        if let Some((note_id, epoch)) = document.note().zip(next) {
            self.core.peers.note_removed(note_id, epoch);
        }
        next.is_some()
    }

    fn end_later(&'static self, document: &Document) {
        let document = Document::new(&document.id);
        self.following.spawn("ends a document", async move {
            let is_known = |note_id| self.removed_elsewhere.borrow().contains(note_id);
            loop {
                Timer::after(RETRY).await;
                if document.note().is_some_and(is_known) || self.end(&document).await {
                    break self.open_anew(&document).await;
                }
            }
        });
    }

    /// Who has the document open has one that has ended: it is opened for them anew, if they may read it.
    pub(super) async fn open_anew(&'static self, document: &Document) {
        for sid in self.core.documents.here(&document.id) {
            self.put_out(sid, document).await;
        }
        self.let_in(document);
    }

    async fn put_out(&self, sid: Sid, document: &Document) {
        let program = self.gaps.program(sid, document).unwrap_or_default();
        self.close_for(sid, document, Left::Gone).await;
        if self.core.hub.is_connected(sid) {
            self.gaps.put_out(sid, document, program);
        }
    }

    /// A session may write from now on: it is asked for what it could not write.
    async fn ask_again(&self, sid: Sid, document: &Document) {
        let Some(vector) = self.core.documents.vector(&document.id).await else {
            return;
        };
        // A page that is told that there is nothing would begin it.
        let program = self.gaps.program(sid, document);
        if !vector.is_empty() || program.is_some_and(|program| program.syncs) {
            self.tell_of_gap(sid, document, &vector.encode());
        }
    }

    /// Opens the document for those who may not have been able to, as if they asked again.
    fn let_in(&'static self, document: &Document) {
        for (sid, program) in self.gaps.waiting(document) {
            let Some(who) = self.core.pools.sessions.who(sid) else {
                continue;
            };
            let (from, document) = (Sender { sid, who }, Document::new(&document.id));
            self.following.spawn("lets somebody in", async move {
                // What they have of it counts, should it be another one than they had.
                let opening = Opening {
                    vector: program.syncs.then(Vector::default),
                    epoch: program.syncs.then_some(0),
                    page: program.page,
                    ..Opening::default()
                };
                if let Err(fault) = self.open(&from, &document, &opening, false).await {
                    log::debug!("{sid} is not let into {:?}: {fault:?}", document.id);
                }
            });
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

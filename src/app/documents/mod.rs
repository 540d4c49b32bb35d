//! Documents that several edit at once. Those named `note:{id}` are notes, and are saved.
//!
//! - [`name`]: a document's one name
//! - [`append`]: a change
//! - [`broadcast`]: what those who have it open hear of it
//! - [`following`]: what other instances did unheard
//! - [`gaps`]: what a document lacks and its senders have
//! - [`ended`]: who comes back to a document that has ended
//! - [`old`]: what is known of them
//! - [`back`]: how one goes on with who comes back, beside Open WebUI
//! - [`refusals`]: a change that could not be taken
//! - [`owed`]: what could not be taken at the moment
//! - [`states`]: a document's state, as an event
//! - [`keeping`]: what is kept of a note's document
//! - [`outside`]: a note that a backend changed or removed

mod append;
mod back;
mod broadcast;
mod ended;
mod following;
mod gaps;
mod keeping;
mod name;
mod old;
mod outside;
mod owed;
mod refusals;
mod states;

use super::core::{Core, Fault, Sender};
use super::notes::{Fields, Notes};
use crate::directory::{Access, NoteView};
use crate::ground::tasks::{Single, Tasks, aside_if};
pub use crate::peers::documents::Left;
use crate::peers::documents::bytes::ints;
use crate::peers::documents::vector::Vector;
use crate::peers::documents::{Away, LIGHT, Seed};
use crate::socket::{Args, Sid};
use broadcast::{Broadcast, text, to_others};
use gaps::{Gaps, Program};
pub use name::Document;
use old::Old;
pub use refusals::{Kind, Unreadable};
use serde_json::json;
use states::States;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Nobody can reach the documents now.
const AWAY: Fault = Fault::Unavailable("the documents can't be reached");

/// A change that a client sent.
pub struct Update {
    /// A Yjs update; `None` when only `fields` change.
    pub bytes: Option<Vec<u8>>,
    /// It is meant as the first content of an empty document.
    pub initialize: bool,
    /// The epoch of the document that it builds on, if its sender knows.
    pub epoch: Option<u64>,
    /// What is to be saved in the note, if it is one.
    pub fields: Option<Fields>,
}

impl Update {
    fn has_content(&self) -> bool {
        let fields = self.fields.as_ref();
        fields.is_some_and(|fields| fields.has_content())
    }

    /// Its content is not saved.
    fn drop_content(&mut self) {
        if let Some(fields) = &mut self.fields {
            fields.drop_content();
        }
        self.fields.take_if(|fields| fields.0.is_empty());
    }

    fn kind(&self) -> Kind {
        match (&self.bytes, self.initialize) {
            (None, _) => Kind::Fields,
            (Some(_), true) => Kind::First,
            (Some(_), false) => Kind::Change,
        }
    }
}

/// Who opens a document.
#[derive(Default)]
pub struct Opening {
    /// The colour of their cursor.
    pub color: String,
    /// What they have of it, if they say so.
    pub vector: Option<Vector>,
    /// The epoch of what they have, or 0, if they come back with it should they lose the connection.
    pub epoch: Option<u64>,
    /// They are known to be a page of Open WebUI.
    pub page: bool,
}

impl Opening {
    /// What is known of their program.
    pub fn program(&self) -> Program {
        Program {
            syncs: self.vector.is_some(),
            page: self.page,
        }
    }
}

/// The documents that sessions of this instance have open.
pub struct Documents {
    core: &'static Core,
    notes: &'static Notes,
    states: States,
    gaps: Gaps,
    /// Notes that another instance removed, and that nobody has opened here since.
    removed_elsewhere: RefCell<BTreeSet<String>>,
    /// Closing what sockets left behind when they went, and following other instances.
    closing: Tasks,
    following: Tasks,
    /// What keeps what no save of a note takes with it.
    keeping: Single,
}

/// Opening.
impl Documents {
    pub fn new(core: &'static Core, notes: &'static Notes) -> Self {
        Self {
            core,
            notes,
            states: States::default(),
            gaps: Gaps::new(Tasks::new(core.executor)),
            removed_elsewhere: RefCell::default(),
            closing: Tasks::new(core.executor),
            following: Tasks::new(core.executor),
            keeping: Single::default(),
        }
    }

    /// Opens a document, for a note's readers. The sender gets its state, the others hear of the sender.
    ///
    /// # Errors
    /// No access, too many open, or nobody can tell; then the sender is told, if this is the `first` attempt.
    pub async fn open(
        &'static self,
        from: &Sender,
        document: &Document,
        opening: &Opening,
        first: bool,
    ) -> Result<(), Fault> {
        let opened = self.try_open(from, document, opening).await;
        if opened.is_ok() {
            self.greet_early(from, document);
        }
        if let (true, Err(Fault::Unavailable(_) | Fault::Full(_))) = (first, &opened) {
            self.core.send_error(from.sid, "Failed to join document");
        }
        opened
    }

    async fn try_open(
        &'static self,
        from: &Sender,
        document: &Document,
        opening: &Opening,
    ) -> Result<(), Fault> {
        let Sender { sid, who } = from;
        let view = self.view(from, document).await;
        if let Err(Fault::Denied(_)) = view {
            self.gaps.waits(*sid, document, opening.program());
        }
        let view = view?;
        match self
            .core
            .documents
            .join(&document.id, *sid, opening.epoch.is_some())
            .await
        {
            Ok(true) => {}
            Ok(false) => return Err(Fault::Full("open documents of a session")),
            Err(Away) => return Err(AWAY),
        }
        let since = self.core.documents.goes_on_since(&document.id);
        if let Err(fault) = self.core.enter(*sid, &document.room).await {
            self.close_for(*sid, document, Left::Gone).await;
            return Err(fault);
        }
        if let (Some(note_id), Some(view)) = (document.note(), &view) {
            self.removed_elsewhere.borrow_mut().remove(note_id);
            let (access, content) = (view.access, &view.content);
            self.notes.opened(note_id, *sid, access, content);
        }
        let writes = view
            .as_ref()
            .is_none_or(|view| view.access >= Access::Write);
        let theirs = opening.vector.as_ref();
        self.gaps
            .opened(*sid, document, theirs, opening.page, writes);
        self.gaps
            .with(*sid, &document.id, |editor| editor.since = since);
        let sent = self.send_state_and_content(from, document, view, opening);
        let sent = sent.await;
        // It was asked again, and is not the sender's any more.
        if let Err(Fault::Denied(_)) = sent {
            self.close_for(*sid, document, Left::Gone).await;
        }
        sent?;
        let joined = json!({
            "document_id": document.id,
            "user_id": who.user.id,
            "user_name": who.user.name,
            "user_color": opening.color,
        });
        let (core, args) = (self.core, Args::one(&joined));
        to_others(core, from, document, "ydoc:user:joined", &args);
        Ok(())
    }

    /// The note behind the document as the sender sees it; documents that are no notes are everybody's.
    async fn view(&self, from: &Sender, document: &Document) -> Result<Option<NoteView>, Fault> {
        let Some(note_id) = document.note() else {
            return Ok(None);
        };
        match self.core.directory.note(&from.who, note_id).await? {
            Some(view) if view.access >= Access::Read => Ok(Some(view)),
            _ => Err(Fault::Denied("no such note, or no access to it")),
        }
    }

    /// Whether a socket has the document open.
    ///
    /// # Errors
    /// It has not.
    pub fn check_open(&self, sid: Sid, document: &Document) -> Result<(), Fault> {
        let core = self.core;
        let is_in = core.hub.is_in(sid, &document.room) || self.gaps.is_away(sid, document);
        match is_in && core.documents.is_open(&document.id, sid) {
            true => Ok(()),
            false => Err(Fault::Denied("not in this document")),
        }
    }
}

/// Changing.
impl Documents {
    /// A change by somebody who may write, for all others; with `fields`, to be saved. Returns what is acknowledged:
    /// nothing for what is stored, and why it is not for what is not.
    ///
    /// # Errors
    /// Fields alone, and the sender does not have the document open, may not write, or nobody can tell.
    pub async fn update(
        &'static self,
        from: &Sender,
        document: &Document,
        mut update: Update,
    ) -> Result<Args<'static>, Fault> {
        let early = update.bytes.is_none() && self.lacks_state(from.sid, document);
        if let Err(fault) = self.check_write(from, document).await {
            return self.refuse_sender(from, document, update.kind(), fault);
        }
        if self.is_outdated(document, &update) {
            return Box::pin(self.keep_version(from, document, update.fields)).await;
        }
        let old = self.has_of_ended(from, document);
        if old != Old::No {
            let taken = self.take_of_ended(from, document, old, &mut update);
            if let Some(answer) = Box::pin(taken).await {
                return answer;
            }
        } else if let Some(bytes) = &update.bytes
            && self.gaps.lacks(from.sid, document)
        {
            Box::pin(self.bury_gap(from, document, bytes)).await;
        }
        if early {
            // It hears what others write before it has the state, on a slow link long before, and says then what it shows. That
            // is nothing, or what stood there before; it says it again when it has the state.
            update.drop_content();
            self.show_update(from.sid, document, "[0,0]");
        }
        let answer = match update.bytes.take() {
            Some(bytes) if update.initialize => match self.seed(from, document, bytes).await {
                // Somebody else was first: nothing of this is saved.
                Err(theirs) => return Ok(theirs),
                Ok(answer) => answer,
            },
            Some(bytes) => {
                let with_content = update.fields.is_some();
                self.append(from, document, bytes, with_content).await
            }
            None => Args::none(),
        };
        self.keep_later(document);
        self.keep_overwritten(from, document, &mut update).await?;
        if let (Some(note_id), Some(fields)) = (document.note(), update.fields) {
            self.notes.save_later(from, note_id, fields).await;
        }
        Ok(answer)
    }

    /// Only who has the document open may change it, and only who may write the note.
    async fn check_write(&self, from: &Sender, document: &Document) -> Result<(), Fault> {
        self.check_open(from.sid, document)?;
        if let Some(note_id) = document.note() {
            self.notes.check_write(from, note_id).await?;
            // Who has left meanwhile had it open when the change came, and what came is saved.
            if self.core.hub.is_connected(from.sid) {
                self.check_open(from.sid, document)?;
            }
        }
        Ok(())
    }

    /// The document's first content. `Ok` with what to answer when it was the first, or could not be; `Err` with
    /// the state that was there before.
    async fn seed(
        &'static self,
        from: &Sender,
        document: &Document,
        update: Vec<u8>,
    ) -> Result<Args<'static>, Args<'static>> {
        let documents = &self.core.documents;
        let update = documents.with_remains(&document.id, update).await;
        let broadcast = Broadcast::new(&self.core.peers, from, document, &update);
        broadcast.prepare().await;
        let outgoing = || broadcast.outgoing();
        match documents.seed(&document.id, &update, &outgoing).await {
            Ok(Seed::Lost(state)) => Err(as_args(state).await),
            Ok(Seed::Won(contents)) => {
                // Who came with something may have it from before somebody else wrote the note.
                let based = contents.visible && !self.gaps.brings(from.sid, document);
                if let Some(note_id) = document.note().filter(|_| based) {
                    self.notes.set_based(note_id);
                }
                // Who has it open as an empty one lacks what is left of the one that has ended, which others build on.
                let ended = !documents.ended(&document.id).is_empty();
                let all = match ended {
                    true => documents.remains(&document.id).await,
                    false => None,
                };
                let all = all.as_deref().unwrap_or(&update);
                if !contents.is_empty() {
                    if ended {
                        let broadcast = Broadcast::new(&self.core.peers, from, document, all);
                        broadcast.prepare().await;
                        broadcast.emit_here();
                    } else {
                        broadcast.emit_here();
                    }
                    self.answer_stored(from.sid, document, &contents);
                }
                Ok(as_args(all.to_vec()).await)
            }
            Err(rejected) => {
                self.refuse(from, document, rejected, Kind::First);
                Ok(Args::from_json("null"))
            }
        }
    }

    /// Cursors and names of those who edit, passed on to the others: the last ones later, should they be too many.
    ///
    /// # Errors
    /// The sender does not have the document open.
    pub fn pass_awareness(
        &'static self,
        from: &Sender,
        document: &Document,
        update: &[u8],
    ) -> Result<(), Fault> {
        self.check_open(from.sid, document)?;
        self.greeted(from, document, update);
        let news = &self.core.news;
        if !news.may_send(from.sid.as_str()) {
            let (from, update) = (from.clone(), update.to_owned());
            let document = Document::new(&document.id);
            let (sid, room) = (from.sid, document.room.clone());
            news.hold(sid.as_str(), &room, move || {
                self.pass_awareness(&from, &document, &update).ok();
            });
            return Ok(());
        }
        let json = format!(
            r#"{{"document_id":{},"user_id":{},"update":{}}}"#,
            text(&document.id),
            text(&from.who.user.id),
            ints(update),
        );
        let (core, args) = (self.core, Args::from_json(json));
        news.pay(from.sid.as_str(), args.json().len());
        to_others(core, from, document, "ydoc:awareness:update", &args);
        Ok(())
    }
}

/// Bytes as an argument.
async fn as_args(bytes: Vec<u8>) -> Args<'static> {
    Args::from_json(aside_if(bytes.len() > LIGHT, move || ints(&bytes)).await)
}

/// Closing.
impl Documents {
    /// Closes a document; the others hear of it.
    ///
    /// # Errors
    /// The sender does not have it open.
    pub async fn close(&self, from: &Sender, document: &Document) -> Result<(), Fault> {
        if let Err(fault) = self.check_open(from.sid, document) {
            // It does not want to open it any more.
            self.gaps.closed(from.sid, document);
            return Err(fault);
        }
        self.close_for(from.sid, document, Left::Done).await;
        let left = json!({ "document_id": document.id, "user_id": from.who.user.id });
        let (core, args) = (self.core, Args::one(&left));
        to_others(core, from, document, "ydoc:user:left", &args);
        Ok(())
    }

    /// The socket is gone: its documents are closed.
    pub fn close_all(&'static self, sid: Sid, how: Left) {
        self.gaps.forget(sid);
        for id in self.core.documents.of(sid) {
            self.closing.spawn("closes a document", async move {
                self.close_for(sid, &Document::new(&id), how).await;
            });
        }
    }

    /// What closes documents that sockets left behind.
    pub fn tasks(&self) -> &Tasks {
        &self.closing
    }

    /// A session closes a document; the last one clears it, unless it is not saved yet: then saving does.
    async fn close_for(&self, sid: Sid, document: &Document, how: Left) {
        self.core.peers.leave(sid, &document.room);
        self.gaps.closed(sid, document);
        self.core.documents.leave(&document.id, sid, how).await;
        // Who was lost may have come back meanwhile.
        if self.core.documents.is_open(&document.id, sid) {
            return;
        }
        if let Some(note_id) = document.note() {
            self.notes.closed(note_id, sid);
            if self.notes.is_dirty(note_id) {
                return;
            }
        }
        self.core.documents.clear_unused(&document.id).await;
    }
}

//! Notes that are being edited: who may write, and saving what their authors change, a moment after the last change.
//!
//! - [`note`]: one note as a state machine
//! - [`change`]: what one author has changed
//! - [`telling`]: editors who are told that what they brought can't be written
//!
//! What is to be saved is never dropped: not by a later change that brings no content, not by everybody leaving, not by a
//! directory that is away for a while, not by SIGTERM. One task saves a note while it is dirty; all others tell it.

mod change;
#[cfg(test)]
mod model_tests;
mod note;
mod telling;

use super::core::{Core, DENIED, Fault, Sender, TOO_LARGE};
use crate::directory::{
    Access, Echo, Emptying, LEFT_OUT, MAX_FIELDS_BYTES, Refusal, is_empty_content,
};
use crate::ground::names::document_of_note;
use crate::ground::rooms;
use crate::ground::tasks::{Bell, Tasks, within};
use crate::metrics;
use crate::socket::{Args, Object, Sid, Target, To};
pub use change::Fields;
use change::{CONTENT, Change};
use futures_lite::future::{or, poll_once};
use log::Level;
use note::{Next, Note, SAID};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a change from outside waits for the editors' last one to be saved.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest `data` of a note, in bytes: text, HTML and JSON of a full document.
const MAX_DATA_BYTES: usize = 8 << 20;
/// All that may wait to be saved, in bytes.
const MAX_DIRTY_BYTES: usize = 32 << 20;

/// Does a note's content, as JSON, show nothing?
fn shows_nothing(content: &str) -> bool {
    let content = crate::ground::json::owned(content);
    content.is_ok_and(|content| is_empty_content(Some(&content)))
}

/// The notes that sessions of this instance have open or have changed.
pub struct Notes {
    core: &'static Core,
    tasks: Tasks,
    notes: RefCell<HashMap<Rc<str>, Note>>,
    /// Bytes of everything that is not saved yet.
    bytes: Cell<usize>,
}

/// Who has a note open.
impl Notes {
    /// What saves notes.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub fn new(core: &'static Core) -> Self {
        Self {
            core,
            tasks: Tasks::new(core.executor),
            notes: RefCell::default(),
            bytes: Cell::new(0),
        }
    }

    /// A reader hears of the note's changes from outside.
    ///
    /// # Errors
    /// No access, or nobody can tell.
    pub async fn listen(&self, from: &Sender, note_id: &str) -> Result<(), Fault> {
        let access = self.core.directory.note_access(&from.who, note_id).await?;
        if access < Access::Read {
            return Err(Fault::Denied("no such note, or no access to it"));
        }
        self.core.enter(from.sid, &rooms::of_note(note_id)).await
    }

    /// A session opened the note to edit it; `content` is what is saved.
    pub fn opened(&self, note_id: &str, sid: Sid, access: Access, content: &RawValue) {
        let mut notes = self.notes.borrow_mut();
        let note = notes.entry(note_id.into());
        let note = note.or_insert_with(|| Note::new(shows_nothing(content.get())));
        note.open(sid, access, Instant::now());
    }

    /// A session closed the note.
    pub fn closed(&self, note_id: &str, sid: Sid) {
        self.with(note_id, |note| note.close(sid));
    }

    /// The editors are known to work on the saved content: they may empty it.
    pub fn set_based(&self, note_id: &str) {
        self.with(note_id, Note::set_based);
    }

    /// Somebody else changed the note: its content, who may write it.
    pub fn changed_outside(&self, note_id: &str) {
        self.with(note_id, Note::changed_outside);
    }

    /// May the session write the note? Asked of the directory, if not a moment ago.
    ///
    /// # Errors
    /// It may not, or nobody can tell.
    pub async fn check_write(&self, from: &Sender, note_id: &str) -> Result<(), Fault> {
        let known = {
            let notes = self.notes.borrow();
            let note = notes.get(note_id);
            note.and_then(|note| note.access(from.sid, Instant::now()))
        };
        let access = match known {
            Some(access) => access,
            None => {
                let access = self.core.directory.note_access(&from.who, note_id).await?;
                self.with(note_id, |note| {
                    let _ = note.set_access(from.sid, access, Instant::now());
                });
                access
            }
        };
        match access {
            Access::Write => Ok(()),
            _ => Err(Fault::Denied("no write access to the note")),
        }
    }
}

/// What is to be saved.
impl Notes {
    /// Saves these fields as their author's, a moment after the author's last change. Other instances that are about to save
    /// the note don't: this is newer.
    pub async fn save_later(&'static self, from: &Sender, note_id: &str, fields: Fields) {
        if fields.0.contains_key(CONTENT) {
            self.brought(note_id, from.sid, true);
        }
        let mut change = Change::new(from.who.clone(), from.sid, fields, Instant::now());
        if self.is_too_much_beside(note_id, &change) {
            self.refuse(from.sid, note_id);
            change.fields.0.retain(|name, _| name == CONTENT);
            if change.is_empty() {
                return;
            }
        }
        // What others are about to save is older only where this says something new about the document itself.
        let newer = change.fields.0.contains_key(CONTENT);
        if self.put(note_id, change) {
            if newer {
                self.core.peers.begin_task(&document_of_note(note_id)).await;
            }
            return self.keep_saving(note_id);
        }
        self.refuse(from.sid, note_id);
    }

    /// Whether more would wait beside the note's content than may be saved: whoever fills a note with other fields keeps nobody
    /// from saving its content.
    fn is_too_much_beside(&self, note_id: &str, change: &Change) -> bool {
        let notes = self.notes.borrow();
        let beside = match notes.get(note_id) {
            Some(note) => note.bytes_beside(change),
            None => change.bytes_beside(None),
        };
        beside > MAX_FIELDS_BYTES && change.bytes_beside(None) > 0
    }

    fn refuse(&self, sid: Sid, note_id: &str) {
        let limit = "bytes of notes to save";
        let level = self.core.limit_reached(sid, limit, Level::Warn);
        log::log!(
            level,
            "{sid} brings more to save of note {note_id:?} than may wait"
        );
        let why = "The note is too large to be saved";
        self.tell(note_id, sid, TOO_LARGE, why);
    }

    /// `false`: too much waits.
    fn put(&self, note_id: &str, change: Change) -> bool {
        let bytes = change.bytes();
        if bytes > MAX_DATA_BYTES || self.bytes.get() + bytes > MAX_DIRTY_BYTES {
            return false;
        }
        self.notes.borrow_mut().entry(note_id.into()).or_default();
        self.with(note_id, |note| note.put(change));
        true
    }

    /// Starts the task that saves the note, unless it runs.
    fn keep_saving(&'static self, note_id: &str) {
        // The note may have been removed meanwhile: then the task ends what is known of it.
        let mut start = true;
        self.with(note_id, |note| {
            start = !std::mem::replace(&mut note.has_task, true);
        });
        if start {
            let note_id: Rc<str> = note_id.into();
            self.tasks.spawn("saves a note", async move {
                self.save_all(&note_id).await;
            });
        }
    }

    /// Saves until everything is saved, then forgets the document if nobody has it open.
    async fn save_all(&self, note_id: &Rc<str>) {
        // The document is what the task is about, for all instances (tests/contract/REDIS.md, Tasks).
        let item = document_of_note(note_id);
        loop {
            if self.is_superseded_now(&item).await {
                self.with(note_id, Note::superseded);
                self.core.peers.end_task(&item).await;
            }
            let mut next = Next::Nothing;
            self.with(note_id, |note| next = note.next(Instant::now()));
            match next {
                Next::Save(change) => self.save(note_id, &change).await,
                Next::Wait(until) => self.wait_until(note_id, &item, until).await,
                Next::Nothing => {
                    self.core.peers.end_task(&item).await;
                    if self.end_task(note_id) {
                        self.core.documents.clear_unused(&item).await;
                        return;
                    }
                }
            }
        }
    }

    /// Waits until then, until something is due sooner, or until another instance says that it has something newer to save.
    async fn wait_until(&self, note_id: &str, item: &str, until: Instant) {
        let superseded = self.core.peers.task_stopped(item);
        let sooner = |note: &Note| note.due().is_none_or(|due| due < until);
        let changed = self.wait(note_id, sooner);
        let left = until.saturating_duration_since(Instant::now());
        within(left, or(superseded, changed)).await;
    }

    /// Whether another instance has said that it has something newer to save.
    async fn is_superseded_now(&self, item: &str) -> bool {
        poll_once(self.core.peers.task_stopped(item))
            .await
            .is_some()
    }

    /// Whether the task may end: nothing came since it looked.
    fn end_task(&self, note_id: &str) -> bool {
        let mut end = true;
        self.with(note_id, |note| {
            end = !note.is_dirty();
            note.has_task = !end;
        });
        end
    }

    /// Saves one author's change under that author's name, and says what became of it.
    async fn save(&self, note_id: &str, change: &Change) {
        let why = match self.write(note_id, change).await {
            Ok(()) => return,
            Err(Refusal::Unavailable(why)) => {
                log::debug!("note {note_id:?} is not saved yet: {why}");
                return self.not_written(note_id);
            }
            Err(Refusal::Denied(why)) => why,
        };
        metrics::refused("note save");
        let (sid, user) = (change.sid, &change.author.user.id);
        let level = self.core.level(sid, why, Level::Warn);
        log::log!(level, "note {note_id:?} is not saved for {user}: {why}");
        let is_saved = why == LEFT_OUT;
        let why = format!("The note was not saved: {why}");
        match is_saved {
            // But for what it has beside its content.
            true => self.core.send_error(sid, &why),
            false => self.tell(note_id, sid, DENIED, &why),
        }
    }

    /// Hands a change to the directory, and nobody hears what the directory emits about it.
    async fn write(&self, note_id: &str, change: &Change) -> Result<(), Refusal> {
        let json = change.fields.json();
        let Core {
            directory, peers, ..
        } = self.core;
        if !directory.emits_itself() {
            let saved = self.hand_over(note_id, change, &json).await;
            let saved = self.handed_over(note_id, change, saved);
            return self.has_saved(note_id, change, saved).await;
        }
        let save = peers.begin_save(note_id).await;
        let saved = self.hand_over(note_id, change, &json).await;
        let echo = match saved {
            Err(Refusal::Denied(_)) => Echo::None,
            saved => saved.unwrap_or(Echo::Unknown),
        };
        let saved = self.handed_over(note_id, change, saved);
        // Only now is somebody outside heard who wrote meanwhile: what to do about it depends on what became of the save.
        peers.end_save(note_id, save, echo, &json);
        self.has_saved(note_id, change, saved).await
    }

    /// The document belongs to what is saved now.
    async fn has_saved(
        &self,
        note_id: &str,
        change: &Change,
        saved: Result<Echo, Refusal>,
    ) -> Result<(), Refusal> {
        if let (Ok(_), Some(content)) = (&saved, change.fields.0.get(CONTENT)) {
            let document = document_of_note(note_id);
            self.core.documents.saved(&document, content).await;
        }
        saved.map(drop)
    }

    /// Notes what became of a change.
    fn handed_over(
        &self,
        note_id: &str,
        change: &Change,
        saved: Result<Echo, Refusal>,
    ) -> Result<Echo, Refusal> {
        let content = change.fields.0.get(CONTENT);
        if saved.is_ok() && content.is_some_and(|content| !shows_nothing(content)) {
            self.set_based(note_id);
        }
        self.with(note_id, |note| match saved {
            Ok(Echo::At(at)) => note.saved(Some(at)),
            Ok(_) => note.saved(None),
            Err(Refusal::Unavailable(_)) => note.failed(Instant::now()),
            Err(Refusal::Denied(_)) => note.refused(),
        });
        saved
    }

    async fn hand_over(&self, note_id: &str, change: &Change, json: &str) -> Result<Echo, Refusal> {
        let emptying = {
            let notes = self.notes.borrow();
            notes.get(note_id).map_or(Emptying::Refuse, Note::emptying)
        };
        let data = RawValue::from_string(json.to_owned());
        let data = data.map_err(|_| Refusal::Denied("the note's data is not JSON"))?;
        // With the document that says this: both are on disk, or neither.
        self.core.documents.keep(&document_of_note(note_id)).await;
        let directory = &self.core.directory;
        directory
            .save_note(&change.author, note_id, &data, emptying)
            .await
    }
}

/// What somebody outside writes, as an event tells it.
#[derive(Deserialize)]
struct Written {
    updated_at: Option<u64>,
    #[serde(default)]
    data: Option<Fields>,
}

/// Writing from outside.
impl Notes {
    /// Somebody outside has just written these fields of the note's data.
    pub fn written_outside(&self, note_id: &str, data: Option<&Value>) {
        let fields = data.and_then(|data| serde_json::from_str(&data.to_string()).ok());
        if let Some(fields) = fields {
            self.with(note_id, |note| {
                note.written_outside(fields, None, Instant::now())
            });
        }
        let local = self.core.directory.local();
        if local.is_some_and(|local| local.is_document_outdated(note_id)) {
            self.with(note_id, Note::overwritten);
        }
    }

    /// Somebody of these who has the note open here and may write it.
    pub fn writer(&self, note_id: &str, of: impl Fn(Sid) -> bool) -> Option<Sid> {
        self.notes.borrow().get(note_id)?.writer(of)
    }

    /// An event was emitted to sockets here: `events:note` of a directory that emits itself tells that somebody outside
    /// wrote the note.
    pub fn emitted(&'static self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        let note_id = match target.to {
            To::Room(room) if rooms::note_event(event).is_some() => rooms::note(room),
            _ => None,
        };
        let known = |id: &&str| self.notes.borrow().contains_key(*id);
        let Some(note_id) = note_id.filter(known) else {
            return;
        };
        // What was written here is known.
        if !self.core.directory.emits_itself() {
            return;
        }
        let told: Option<Object<Written>> = args.first();
        if let Some(Object(Written {
            updated_at,
            data: Some(fields),
        })) = told
        {
            let now = Instant::now();
            self.with(note_id, |note| {
                note.written_outside(fields, updated_at, now)
            });
            if self.is_dirty(note_id) {
                self.keep_saving(note_id);
            }
        }
    }
}

/// Waiting for saves.
impl Notes {
    /// Whether anything of the note is not saved yet.
    pub fn is_dirty(&self, note_id: &str) -> bool {
        self.notes.borrow().get(note_id).is_some_and(Note::is_dirty)
    }

    /// What waits is not wanted any more: the note is gone.
    pub fn discard(&self, note_id: &str) {
        self.with(note_id, Note::discard);
    }

    /// Somebody is about to change the note from outside: what its editors did before is saved before.
    /// The content of an update comes a moment after that.
    pub async fn save_before_outside(&self, note_id: &str) {
        let said = self.wait(note_id, |note| !note.is_owed(Instant::now()));
        within(SAID, said).await;
        if within(PATIENCE, self.save_now(note_id)).await != Some(true) {
            log::warn!("note {note_id:?} changes before its editors' last change is saved");
        }
        // So that it is known which note the document belonged to.
        self.core.documents.keep(&document_of_note(note_id)).await;
    }

    /// The notes of which something is not saved yet.
    pub fn dirty(&self) -> Vec<Rc<str>> {
        let notes = self.notes.borrow();
        let dirty = notes.iter().filter(|(_, note)| note.is_dirty());
        dirty.map(|(id, _)| id.clone()).collect()
    }

    /// Saves all that waits, now; for a server that goes down. What can't be saved still waits. The caller limits the time.
    pub async fn flush(&self) {
        let dirty = self.dirty();
        for note_id in &dirty {
            self.with(note_id, Note::flush);
        }
        for note_id in dirty {
            self.save_now(&note_id).await;
        }
    }

    /// Has the task save what waits, and waits for the outcome. `false`: it can't be saved now, and still waits.
    async fn save_now(&self, note_id: &str) -> bool {
        self.with(note_id, Note::flush);
        self.wait(note_id, Note::has_tried_all).await;
        !self.is_dirty(note_id)
    }

    /// Waits until this is so of the note, or the note is forgotten.
    async fn wait(&self, note_id: &str, is_so: impl Fn(&Note) -> bool) {
        let changed: Option<Rc<Bell>> = {
            let notes = self.notes.borrow();
            notes.get(note_id).map(|note| note.changed.clone())
        };
        let Some(changed) = changed else { return };
        let look = || {
            let notes = self.notes.borrow();
            let so = notes.get(note_id).is_none_or(&is_so);
            so.then_some(())
        };
        changed.until(look).await;
    }

    /// Changes a note that is known, tells those who wait, and forgets a note that is not needed any more.
    fn with(&self, note_id: &str, change: impl FnOnce(&mut Note)) {
        let mut notes = self.notes.borrow_mut();
        let Some(note) = notes.get_mut(note_id) else {
            return;
        };
        let before = note.bytes();
        change(note);
        self.bytes.set(self.bytes.get() + note.bytes() - before);
        note.changed.ring();
        if note.is_unused() {
            notes.remove(note_id);
        }
    }
}

//! What this instance knows of the notes that its sessions edit: who may write, and what is not saved yet.

use crate::directory::{Access, Emptying, Identity};
use crate::socket::Sid;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A note is saved this long after its last change (contract),
const QUIET: Duration = Duration::from_millis(500);
/// and at least this often while somebody types on and on.
const LONGEST: Duration = Duration::from_secs(5);
/// How long an answer about somebody's access holds. Changes made here end it at once.
const ACCESS_HOLDS: Duration = Duration::from_secs(2);
/// The largest `data` of a note, in bytes: text, HTML and JSON of a full document.
const MAX_DATA_BYTES: usize = 8 << 20;
/// All that may wait to be saved, in bytes.
const MAX_PENDING_BYTES: usize = 32 << 20;

/// Fields of a note's `data`, each as its JSON.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// What is to be saved, for whom.
pub struct Pending {
    pub who: Rc<Identity>,
    /// Who learns when it can't be.
    pub sid: Sid,
    pub fields: Fields,
    first: Instant,
    last: Instant,
}

impl Pending {
    pub fn new(who: Rc<Identity>, sid: Sid, fields: Fields, now: Instant) -> Self {
        Self {
            who,
            sid,
            fields,
            first: now,
            last: now,
        }
    }

    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }

    fn bytes(&self) -> usize {
        self.fields.values().map(|field| field.get().len()).sum()
    }

    /// All of it; no fields are left here.
    fn take(&mut self) -> Self {
        Self {
            who: self.who.clone(),
            fields: std::mem::take(&mut self.fields),
            ..*self
        }
    }
}

/// A note that is being saved. Whoever stops saving before it is [`Saving::done`] leaves the note as unsaved as it was:
/// what was to be saved comes back, under what came meanwhile.
pub struct Saving<'a> {
    editing: &'a Editing,
    note_id: &'a str,
    pub pending: Pending,
    done: bool,
}

impl Saving<'_> {
    /// It is saved, or never will be.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        let unsaved = (!self.done).then(|| self.pending.take());
        self.editing.end(self.note_id, unsaved);
    }
}

/// A note that is open, or not saved yet.
#[derive(Default)]
struct Note {
    /// Whether what the editors work on is known to come from the saved content (see [`Emptying`]).
    grounded: bool,
    /// Sessions that have it open, what they may do, and since when that is known.
    editors: HashMap<Sid, (Access, Option<Instant>)>,
    pending: Option<Pending>,
    /// Whether there is a task that saves it,
    scheduled: bool,
    /// and whether it is being saved now.
    saving: bool,
}

/// All of them, by the note's id.
#[derive(Default)]
pub struct Editing {
    notes: RefCell<HashMap<Rc<str>, Note>>,
    /// Bytes of everything pending.
    bytes: Cell<usize>,
}

impl Editing {
    /// A session opened the note; `empty`: nothing is saved in it.
    pub fn opened(&self, note_id: &str, sid: Sid, access: Access, empty: bool, now: Instant) {
        let mut notes = self.notes.borrow_mut();
        let note = notes.entry(note_id.into()).or_insert_with(|| Note {
            grounded: empty,
            ..Note::default()
        });
        note.editors.insert(sid, (access, Some(now)));
    }

    /// A session closed the note.
    pub fn closed(&self, note_id: &str, sid: Sid) {
        self.with(note_id, |note| {
            note.editors.remove(&sid);
        });
    }

    /// What the session may do, if that was asked a moment ago.
    pub fn access(&self, note_id: &str, sid: Sid, now: Instant) -> Option<Access> {
        let notes = self.notes.borrow();
        let (access, since) = notes.get(note_id)?.editors.get(&sid)?;
        let fresh = (*since)? + ACCESS_HOLDS > now;
        fresh.then_some(*access)
    }

    /// What the session may do, as was just answered.
    pub fn learned(&self, note_id: &str, sid: Sid, access: Access, now: Instant) {
        self.with(note_id, |note| {
            if let Some(known) = note.editors.get_mut(&sid) {
                *known = (access, Some(now));
            }
        });
    }

    /// The editors are known to work on the saved content: they may empty it.
    pub fn ground(&self, note_id: &str) {
        self.with(note_id, |note| note.grounded = true);
    }

    /// Somebody else changed the note: its content, who may write it.
    pub fn changed_outside(&self, note_id: &str) {
        self.with(note_id, |note| {
            note.grounded = false;
            note.editors
                .values_mut()
                .for_each(|(_, since)| *since = None);
        });
    }

    /// Whether saving may leave the note empty.
    pub fn emptying(&self, note_id: &str) -> Emptying {
        match self.notes.borrow().get(note_id) {
            Some(note) if note.grounded => Emptying::Allow,
            _ => Emptying::Refuse,
        }
    }

    /// Notes what is to be saved: field by field over what waits already, which is never dropped for it.
    /// Returns whether a task has to be started that saves it; `None` when it is too large.
    pub fn put(&self, note_id: &str, newer: Pending) -> Option<bool> {
        let bytes = newer.bytes();
        if bytes > MAX_DATA_BYTES || self.bytes.get() + bytes > MAX_PENDING_BYTES {
            return None;
        }
        let mut start = false;
        self.notes.borrow_mut().entry(note_id.into()).or_default();
        self.with(note_id, |note| {
            start = !std::mem::replace(&mut note.scheduled, true);
            note.pending = Some(match note.pending.take() {
                None => newer,
                Some(older) => over(older, newer),
            });
        });
        Some(start)
    }

    /// When the note is to be saved; `None` when nothing waits.
    pub fn due(&self, note_id: &str) -> Option<Instant> {
        let notes = self.notes.borrow();
        Some(notes.get(note_id)?.pending.as_ref()?.due())
    }

    /// Whether it is being saved now.
    pub fn is_saving(&self, note_id: &str) -> bool {
        self.notes
            .borrow()
            .get(note_id)
            .is_some_and(|note| note.saving)
    }

    /// Takes what is to be saved; the note counts as being saved as long as the answer lives.
    pub fn begin<'a>(&'a self, note_id: &'a str) -> Option<Saving<'a>> {
        let mut taken = None;
        self.with(note_id, |note| {
            if !note.saving {
                taken = note.pending.take();
                note.saving = taken.is_some();
            }
        });
        taken.map(|pending| Saving {
            editing: self,
            note_id,
            pending,
            done: false,
        })
    }

    fn end(&self, note_id: &str, unsaved: Option<Pending>) {
        self.with(note_id, |note| {
            note.saving = false;
            note.pending = match (unsaved, note.pending.take()) {
                (Some(older), Some(newer)) => Some(over(older, newer)),
                (older, newer) => older.or(newer),
            };
        });
    }

    /// The task that saved the note ends, unless there is more to save, or may be once somebody else has tried to.
    pub fn finish(&self, note_id: &str) -> bool {
        let mut finished = true;
        self.with(note_id, |note| {
            finished = note.pending.is_none() && !note.saving;
            note.scheduled = !finished;
        });
        finished
    }

    /// What waits is not wanted any more: the note is gone.
    pub fn forget(&self, note_id: &str) {
        self.with(note_id, |note| note.pending = None);
    }

    /// Whether anything of the note is not saved yet.
    pub fn is_pending(&self, note_id: &str) -> bool {
        let notes = self.notes.borrow();
        notes
            .get(note_id)
            .is_some_and(|note| note.saving || note.pending.is_some())
    }

    /// The notes that are not saved yet.
    pub fn unsaved(&self) -> Vec<Rc<str>> {
        let notes = self.notes.borrow();
        let unsaved = notes
            .iter()
            .filter(|(_, note)| note.saving || note.pending.is_some());
        unsaved.map(|(id, _)| id.clone()).collect()
    }

    /// Changes a note that is known; one that nobody has open and that has nothing to save is forgotten.
    fn with(&self, note_id: &str, change: impl FnOnce(&mut Note)) {
        let mut notes = self.notes.borrow_mut();
        let Some(note) = notes.get_mut(note_id) else {
            return;
        };
        let bytes = |note: &Note| note.pending.as_ref().map_or(0, Pending::bytes);
        let before = bytes(note);
        change(note);
        self.bytes.set(self.bytes.get() + bytes(note) - before);
        if note.editors.is_empty() && note.pending.is_none() && !note.scheduled && !note.saving {
            notes.remove(note_id);
        }
    }
}

/// The newer fields over the older ones, due when the newer are.
fn over(older: Pending, newer: Pending) -> Pending {
    let mut fields = older.fields;
    fields.extend(newer.fields);
    Pending {
        fields,
        first: older.first,
        ..newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::User;
    use crate::token::Claims;

    fn pending(json: &str, now: Instant) -> Pending {
        let user = User {
            id: "u".into(),
            name: "u".into(),
            role: "user".into(),
            record: "{}".into(),
        };
        let who = Identity {
            user,
            token: "t".into(),
            claims: Claims::default(),
        };
        let fields = serde_json::from_str(json).unwrap();
        Pending::new(Rc::new(who), Sid::random(), fields, now)
    }

    fn fields<'a>(saving: &'a Saving<'_>) -> Vec<&'a str> {
        let fields = saving.pending.fields.values();
        fields.map(|field| field.get()).collect()
    }

    #[test]
    fn a_save_that_is_given_up_leaves_the_note_as_it_was() {
        let editing = Editing::default();
        let now = Instant::now();
        assert_eq!(
            editing.put("n", pending(r#"{"content":1}"#, now)),
            Some(true)
        );
        let due = editing.due("n");
        let saving = editing.begin("n").unwrap();
        // Its own task finds nothing to do, and must not end: it may be needed again.
        assert!(editing.due("n").is_none() && !editing.finish("n"));
        drop(saving);
        assert!(!editing.is_saving("n"));
        assert_eq!(editing.due("n"), due);
        assert_eq!(
            editing.put("n", pending(r#"{"files":[]}"#, now)),
            Some(false)
        );
        editing.begin("n").unwrap().done();
        assert!(editing.finish("n") && editing.notes.borrow().is_empty());
    }

    #[test]
    fn a_save_without_content_keeps_the_content_that_waits() {
        let editing = Editing::default();
        let start = Instant::now();
        let later = start + Duration::from_millis(300);
        assert_eq!(
            editing.put("n", pending(r#"{"content":1,"files":[]}"#, start)),
            Some(true)
        );
        assert_eq!(
            editing.put("n", pending(r#"{"files":[2]}"#, later)),
            Some(false)
        );
        assert_eq!(editing.due("n"), Some(later + QUIET));
        let saving = editing.begin("n").unwrap();
        assert_eq!(fields(&saving), ["1", "[2]"]);
        assert!(editing.is_pending("n") && editing.begin("n").is_none());
        editing
            .put("n", pending(r#"{"files":[3]}"#, later))
            .unwrap();
        drop(saving);
        let saving = editing.begin("n").unwrap();
        assert_eq!(fields(&saving), ["1", "[3]"]);
        saving.done();
        assert!(editing.finish("n") && !editing.is_pending("n"));
        assert!(editing.notes.borrow().is_empty() && editing.bytes.get() == 0);
    }

    #[test]
    fn typing_on_and_on_is_saved_every_five_seconds() {
        let editing = Editing::default();
        let start = Instant::now();
        for tenth in 0..60 {
            let now = start + Duration::from_millis(100 * tenth);
            editing.put("n", pending(r#"{"content":1}"#, now)).unwrap();
        }
        assert_eq!(editing.due("n"), Some(start + LONGEST));
    }

    #[test]
    fn an_answer_about_access_holds_until_something_changes() {
        let editing = Editing::default();
        let (sid, now) = (Sid::random(), Instant::now());
        editing.opened("n", sid, Access::Write, true, now);
        assert_eq!(editing.access("n", sid, now), Some(Access::Write));
        assert_eq!(editing.access("n", sid, now + ACCESS_HOLDS), None);
        assert_eq!(editing.emptying("n"), Emptying::Allow);
        editing.changed_outside("n");
        assert_eq!(editing.access("n", sid, now), None);
        assert_eq!(editing.emptying("n"), Emptying::Refuse);
        editing.closed("n", sid);
        assert!(editing.notes.borrow().is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let editing = Editing::default();
        let now = Instant::now();
        let large = format!(r#"{{"content":"{}"}}"#, "x".repeat(MAX_DATA_BYTES - 2));
        for note in ["a", "b", "c", "d"] {
            assert!(editing.put(note, pending(&large, now)).is_some());
        }
        assert!(editing.put("e", pending(r#"{"content":1}"#, now)).is_none());
        editing.forget("a");
        assert!(editing.put("e", pending(r#"{"content":1}"#, now)).is_some());
    }
}

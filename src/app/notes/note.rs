//! One note that is open or not saved yet, as a state machine: who has it open, what each author still has to save, the save
//! that is on its way.
//!
//! # What waits
//! Changes wait in a queue, oldest first. A newer change of an author takes the place of the same fields in that author's
//! older ones and goes to the end, so that each field is there at most once an author, and whoever changed a field last
//! is saved last. A change is never merged into another author's.
//!
//! # The way of a change
//! ```text
//! put -> waiting -> (0.5 s after the author's last change) -> in flight -> saved
//!           ^                                                     |-----> refused: dropped, its author is told
//!           +---------------------- failed, again in 5 s <--------+
//! ```
//! One save is in flight at a time. A change that could not be saved holds up its author's next ones and nobody else's;
//! a field that a newer change has saved meanwhile is not saved again by an older one. Nothing here waits or sends: the
//! note's task does.
//!
//! # What somebody outside writes
//! Over REST, or an AI. It counts as newer than all that waits and all that is in flight: what waits gives way to it, and
//! so does what is in flight should it fail. Where a save went over it all the same (it was confirmed as the newer one, or
//! nobody knows), what was written outside is saved once more, as the author of that save.

use super::change::{CONTENT, Change, Fields};
use crate::directory::{Access, Emptying, Identity};
use crate::ground::tasks::Bell;
use crate::socket::Sid;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A change is saved this long after its author's last one (contract),
pub const QUIET: Duration = Duration::from_millis(500);
/// and at least this often while the author types on and on without ever resting that long: what nobody has saved goes with
/// the last one who leaves a document that Redis loses, or alone with this process.
pub const LONGEST: Duration = Duration::from_secs(30);
/// Between two attempts to save while the directory is away.
pub const RETRY: Duration = Duration::from_secs(5);
/// A program sends the content so long after the update that it goes with, at most;
pub const SAID: Duration = Duration::from_secs(1);
/// one that has not sent any for so long is none of those that do.
const NEVER_SAID: Duration = Duration::from_secs(10);
/// How long an answer about somebody's access holds. Changes made here end it at once.
pub const ACCESS_HOLDS: Duration = Duration::from_secs(2);

/// What a session may do with the note, and since when that is known; `None`: it must be asked again.
struct Editor {
    access: Access,
    since: Option<Instant>,
    /// Since when, and until when, it sent updates of the document without the content that they make.
    owes: Option<(Instant, Instant)>,
    /// Was told that what it brought can't be written at the moment, and has brought nothing since.
    told: bool,
}

/// What is to be done next.
pub enum Next {
    /// This is to be saved now; it is in flight until the answer is said.
    Save(Rc<Change>),
    /// Nothing is to be done before this time.
    Wait(Instant),
    /// Everything is saved.
    Nothing,
}

/// The last save that may have gone over something.
struct LastSave {
    author: Rc<Identity>,
    sid: Sid,
    fields: BTreeSet<String>,
    /// When the directory made it, by its own clock; the end of time when nobody knows.
    at: u64,
}

/// A note that is open, or not saved yet.
#[derive(Default)]
pub struct Note {
    /// Whether what the editors work on is known to come from the saved content (see [`Emptying`]).
    based: bool,
    editors: HashMap<Sid, Editor>,
    /// Nobody has changed the document since somebody outside wrote something else over its content.
    overwritten: bool,
    waiting: VecDeque<Change>,
    in_flight: Option<Rc<Change>>,
    /// What somebody outside wrote while it was.
    overtaken: BTreeSet<String>,
    last_save: Option<LastSave>,
    /// The number of the newest change.
    number: u64,
    /// What waits is to be saved at once.
    flush: bool,
    /// Whether a task saves it.
    pub has_task: bool,
    /// Rung when any of this changes.
    pub changed: Rc<Bell>,
}

impl LastSave {
    fn new(change: &Change, at: u64) -> Self {
        Self {
            author: change.author.clone(),
            sid: change.sid,
            fields: change.fields.0.keys().cloned().collect(),
            at,
        }
    }
}

/// Who has it open.
impl Note {
    /// A note that is opened. `empty`: nothing is saved in it, so whatever its editors do is based on what is saved.
    pub fn new(empty: bool) -> Self {
        Self {
            based: empty,
            ..Self::default()
        }
    }

    /// A session opened the note.
    pub fn open(&mut self, sid: Sid, access: Access, now: Instant) {
        let since = Some(now);
        let editor = Editor {
            access,
            since,
            owes: None,
            told: false,
        };
        self.editors.insert(sid, editor);
    }

    /// A session closed the note. What it changed is saved all the same.
    pub fn close(&mut self, sid: Sid) {
        self.editors.remove(&sid);
    }

    /// What the session may do, if that was asked a moment ago.
    pub fn access(&self, sid: Sid, now: Instant) -> Option<Access> {
        let editor = self.editors.get(&sid)?;
        let fresh = editor.since? + ACCESS_HOLDS > now;
        fresh.then_some(editor.access)
    }

    /// What the session may do, as was just answered. Returns what it could do before.
    pub fn set_access(&mut self, sid: Sid, access: Access, now: Instant) -> Option<Access> {
        let editor = self.editors.get_mut(&sid)?;
        editor.since = Some(now);
        Some(std::mem::replace(&mut editor.access, access))
    }

    /// Somebody of these who may write it, the same as long as they have it open.
    pub fn writer(&self, of: impl Fn(Sid) -> bool) -> Option<Sid> {
        let writers = self
            .editors
            .iter()
            .filter(|(sid, editor)| editor.access >= Access::Write && of(**sid));
        writers.map(|(sid, _)| *sid).min()
    }

    /// The session has brought something: an update of the document, or the content that its updates make.
    pub fn brought(&mut self, sid: Sid, content: bool, now: Instant) {
        if let Some(editor) = self.editors.get_mut(&sid) {
            editor.told = false;
            let first = editor.owes.map_or(now, |(first, _)| first);
            editor.owes = (!content).then_some((first, now));
        }
        self.overwritten &= content;
    }

    /// Somebody outside wrote something else than the document says.
    pub fn overwritten(&mut self) {
        self.overwritten = true;
    }

    /// Whether the document says what was overwritten, and nothing that its editors have written since.
    pub fn is_overwritten(&self) -> bool {
        self.overwritten
    }

    /// Whether the content of something that the session brought has not come.
    pub fn owes(&self, sid: Sid) -> bool {
        let editor = self.editors.get(&sid);
        editor.is_some_and(|editor| editor.owes.is_some())
    }

    /// Whether content is about to come. Who has sent none for long sends none at all.
    pub fn is_owed(&self, now: Instant) -> bool {
        let owed = |(first, last)| now < last + SAID && last < first + NEVER_SAID;
        let mut owes = self.editors.values().filter_map(|editor| editor.owes);
        owes.any(owed)
    }

    /// What its editors brought is written.
    pub fn written(&mut self) {
        self.editors
            .values_mut()
            .for_each(|editor| editor.told = false);
    }

    /// It can't be written at the moment: who is to be told, that is who may write and does not know.
    pub fn not_written(&mut self) -> Vec<Sid> {
        let unaware = |editor: &mut Editor| {
            editor.access >= Access::Write && !std::mem::replace(&mut editor.told, true)
        };
        let editors = self.editors.iter_mut();
        editors
            .filter_map(|(sid, editor)| unaware(editor).then_some(*sid))
            .collect()
    }

    /// Nobody has it open and everything is saved: it can be forgotten.
    pub fn is_unused(&self) -> bool {
        self.editors.is_empty() && !self.is_dirty() && !self.has_task
    }
}

/// Never emptied by accident.
impl Note {
    /// The editors are known to work on the saved content: they may empty it.
    pub fn set_based(&mut self) {
        self.based = true;
    }

    /// Somebody else changed the note: its content, who may write it.
    pub fn changed_outside(&mut self) {
        self.based = false;
        self.forget_access();
    }

    fn forget_access(&mut self) {
        self.editors
            .values_mut()
            .for_each(|editor| editor.since = None);
    }

    /// Whether saving may leave the note empty.
    pub fn emptying(&self) -> Emptying {
        match self.based {
            true => Emptying::Allow,
            false => Emptying::Refuse,
        }
    }
}

/// What is to be saved.
impl Note {
    /// An author changed something.
    pub fn put(&mut self, mut change: Change) {
        self.number += 1;
        change.number = self.number;
        for own in &mut self.waiting {
            if !own.is_by_author_of(&change) {
                continue;
            }
            own.give_way_to(&change.fields);
            // What failed a moment ago fails again.
            change.retry_at = own.retry_at;
            if own.is_empty() {
                change.first = change.first.min(own.first);
            }
        }
        self.waiting.retain(|change| !change.is_empty());
        // Only with what came right before it: else fields of the one would count as newer than somebody's between them.
        let previous = self.number - 1;
        match self.waiting.back_mut() {
            Some(newest) if newest.is_by_author_of(&change) && newest.number == previous => {
                newest.fields.0.append(&mut change.fields.0);
                newest.first = newest.first.min(change.first);
                newest.last = change.last;
                newest.number = change.number;
            }
            _ => self.waiting.push_back(change),
        }
    }

    /// What is to be done at `now`.
    pub fn next(&mut self, now: Instant) -> Next {
        debug_assert!(self.in_flight.is_none(), "one save at a time");
        let Some((at, due)) = self.first_due() else {
            self.flush = false;
            return Next::Nothing;
        };
        if due > now {
            return Next::Wait(due);
        }
        self.in_flight = self.waiting.remove(at).map(Rc::new);
        match &self.in_flight {
            Some(change) => Next::Save(change.clone()),
            None => Next::Nothing,
        }
    }

    /// When something is to be saved next; `None` when nothing waits.
    pub fn due(&self) -> Option<Instant> {
        self.first_due().map(|(_, due)| due)
    }

    /// The place of the change that is to be saved next, and when: the oldest, unless it has failed and something else is
    /// due before it is tried again.
    fn first_due(&self) -> Option<(usize, Instant)> {
        let mut first: Option<(usize, Instant)> = None;
        for (at, change) in self.waiting.iter().enumerate() {
            let due = (change.last + QUIET).min(change.first + LONGEST);
            let due = match change.retry_at {
                Some(retry) => retry,
                None if self.flush => change.first,
                None => due,
            };
            if first.is_none_or(|(_, before)| due < before) {
                first = Some((at, due));
            }
            // Nobody overtakes a change that is only not due yet.
            if change.retry_at.is_none() {
                break;
            }
        }
        first
    }

    /// The change in flight is saved, at this time of the directory's: what it saved is not saved again by an older one.
    pub fn saved(&mut self, at: Option<u64>) {
        if let Some(saved) = self.in_flight.take() {
            self.written();
            self.overtaken.clear();
            self.last_save = at.map(|at| LastSave::new(&saved, at));
            for older in &mut self.waiting {
                if older.number < saved.number {
                    older.give_way_to(&saved.fields);
                }
            }
            self.waiting.retain(|change| !change.is_empty());
        }
    }

    /// The change in flight never will be saved. Who may write it is asked anew.
    pub fn refused(&mut self) {
        self.forget_access();
        self.in_flight = None;
        self.overtaken.clear();
    }

    /// The change in flight is not saved: it waits again in its place, but for what its author has changed since.
    pub fn failed(&mut self, now: Instant) {
        let Some(mut change) = self.in_flight.take().map(Rc::unwrap_or_clone) else {
            return;
        };
        // It may have been saved all the same.
        self.last_save = Some(LastSave::new(&change, u64::MAX));
        for overtaken in std::mem::take(&mut self.overtaken) {
            change.fields.0.remove(&overtaken);
        }
        change.retry_at = Some(now + RETRY);
        for own in &mut self.waiting {
            if own.is_by_author_of(&change) {
                own.retry_at = change.retry_at;
                change.give_way_to(&own.fields);
            }
        }
        if !change.is_empty() {
            let newer = |other: &Change| other.number > change.number;
            let at = self.waiting.iter().position(newer);
            self.waiting
                .insert(at.unwrap_or(self.waiting.len()), change);
        }
    }

    /// Somebody outside wrote these fields, at this time of the directory's.
    pub fn written_outside(&mut self, mut fields: Fields, at: Option<u64>, now: Instant) {
        if fields.0.contains_key(CONTENT) {
            self.changed_outside();
        }
        for change in &mut self.waiting {
            change.give_way_to(&fields);
        }
        self.waiting.retain(|change| !change.is_empty());
        if self.in_flight.is_some() {
            self.overtaken.extend(fields.0.keys().cloned());
        }
        let over = |last: &&LastSave| at.is_some_and(|at| at < last.at);
        if let Some(last) = self.last_save.as_ref().filter(over) {
            fields.0.retain(|name, _| last.fields.contains(name));
            let again = Change::new(last.author.clone(), last.sid, fields, now);
            if !again.is_empty() {
                self.put(again);
            }
        }
    }

    /// What waits is to be saved at once, even while the directory is being left alone after a failure.
    pub fn flush(&mut self) {
        self.flush = !self.waiting.is_empty();
        for change in &mut self.waiting {
            change.retry_at = None;
        }
    }

    /// Whether all that waits has been tried and could not be saved.
    pub fn has_tried_all(&self) -> bool {
        self.in_flight.is_none() && self.waiting.iter().all(|change| change.retry_at.is_some())
    }

    /// Another instance has a newer state of the document, and saves it. What it does not have is saved at once.
    pub fn superseded(&mut self) {
        for change in &mut self.waiting {
            change.fields.0.remove(CONTENT);
        }
        self.waiting.retain(|change| !change.is_empty());
        self.flush();
    }

    /// What waits is not wanted any more: the note is gone.
    pub fn discard(&mut self) {
        self.waiting.clear();
    }

    /// Whether anything is not saved yet.
    pub fn is_dirty(&self) -> bool {
        !self.waiting.is_empty() || self.in_flight.is_some()
    }

    /// Bytes that would wait beside the content with this change.
    pub fn bytes_beside(&self, newer: &Change) -> usize {
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|change| change.bytes_beside(Some(newer)));
        waiting.sum::<usize>() + newer.bytes_beside(None)
    }

    /// Bytes of what is not saved yet.
    pub fn bytes(&self) -> usize {
        let in_flight = self.in_flight.as_ref().map_or(0, |change| change.bytes());
        in_flight + self.waiting.iter().map(Change::bytes).sum::<usize>()
    }
}

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
//! One save is in flight at a time. Nothing here waits or sends: the task of `Notes` does.

use super::change::Change;
use crate::directory::{Access, Emptying};
use crate::ground::tasks::Bell;
use crate::socket::Sid;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A change is saved this long after its author's last one (contract),
pub const QUIET: Duration = Duration::from_millis(500);
/// and at least this often while the author types on and on.
pub const LONGEST: Duration = Duration::from_secs(5);
/// Between two attempts to save while the directory is away.
pub const RETRY: Duration = Duration::from_secs(5);
/// How long an answer about somebody's access holds. Changes made here end it at once.
pub const ACCESS_HOLDS: Duration = Duration::from_secs(2);

/// The field that the document itself is saved in.
const CONTENT: &str = "content";

/// What a session may do with the note, and since when that is known; `None`: it must be asked again.
struct Editor {
    access: Access,
    since: Option<Instant>,
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

/// A note that is open, or not saved yet.
#[derive(Default)]
pub struct Note {
    /// Whether what the editors work on is known to come from the saved content (see [`Emptying`]).
    based: bool,
    editors: HashMap<Sid, Editor>,
    waiting: VecDeque<Change>,
    in_flight: Option<Rc<Change>>,
    /// No save is tried before, since the last one failed.
    retry_at: Option<Instant>,
    /// What waits is to be saved at once.
    flush: bool,
    /// Saves that failed, for those who wait for the outcome of the next one.
    failures: usize,
    /// Whether a task saves it.
    pub has_task: bool,
    /// Rung when any of this changes.
    pub changed: Rc<Bell>,
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
        self.editors.insert(sid, Editor { access, since });
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

    /// What the session may do, as was just answered.
    pub fn set_access(&mut self, sid: Sid, access: Access, now: Instant) {
        if let Some(editor) = self.editors.get_mut(&sid) {
            *editor = Editor {
                access,
                since: Some(now),
            };
        }
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
        for own in &mut self.waiting {
            if !own.is_by_author_of(&change) {
                continue;
            }
            own.fields
                .retain(|field, _| !change.fields.contains_key(field));
            own.author = change.author.clone();
            own.sid = change.sid;
            if own.fields.is_empty() {
                change.first = change.first.min(own.first);
            }
        }
        self.waiting.retain(|change| !change.fields.is_empty());
        match self.waiting.back_mut() {
            Some(newest) if newest.is_by_author_of(&change) => {
                newest.fields.extend(change.fields);
                newest.first = newest.first.min(change.first);
                newest.last = change.last;
            }
            _ => self.waiting.push_back(change),
        }
    }

    /// What is to be done at `now`.
    pub fn next(&mut self, now: Instant) -> Next {
        debug_assert!(self.in_flight.is_none(), "one save at a time");
        match self.due() {
            Some(due) if due > now => return Next::Wait(due),
            _ => self.in_flight = self.waiting.pop_front().map(Rc::new),
        }
        match &self.in_flight {
            Some(change) => Next::Save(change.clone()),
            None => Next::Nothing,
        }
    }

    /// When the oldest change is to be saved; `None` when nothing waits.
    pub fn due(&self) -> Option<Instant> {
        let oldest = self.waiting.front()?;
        if self.flush {
            return Some(oldest.first);
        }
        let due = (oldest.last + QUIET).min(oldest.first + LONGEST);
        Some(self.retry_at.map_or(due, |retry| retry.max(due)))
    }

    /// The change in flight is saved, or never will be.
    pub fn done(&mut self) {
        self.in_flight = None;
        self.retry_at = None;
        self.flush &= !self.waiting.is_empty();
    }

    /// The change in flight is not saved: it is the oldest again, but for what its author has changed since.
    pub fn failed(&mut self, now: Instant) {
        self.failures += 1;
        self.flush = false;
        self.retry_at = Some(now + RETRY);
        let Some(mut change) = self.in_flight.take().map(Rc::unwrap_or_clone) else {
            return;
        };
        for own in &self.waiting {
            if !own.is_by_author_of(&change) {
                continue;
            }
            change
                .fields
                .retain(|field, _| !own.fields.contains_key(field));
            // A newer token is as good, and lives longer.
            change.author = own.author.clone();
            change.sid = own.sid;
        }
        if !change.fields.is_empty() {
            self.waiting.push_front(change);
        }
    }

    /// What waits is to be saved at once, even while the directory is being left alone after a failure.
    pub fn flush(&mut self) {
        self.flush = !self.waiting.is_empty();
        self.retry_at = None;
    }

    /// Another instance has a newer state of the document, and saves it. What it does not have is saved at once.
    pub fn superseded(&mut self) {
        for change in &mut self.waiting {
            change.fields.remove(CONTENT);
        }
        self.waiting.retain(|change| !change.fields.is_empty());
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

    /// Saves that failed so far.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// Bytes of what is not saved yet.
    pub fn bytes(&self) -> usize {
        let in_flight = self.in_flight.as_ref().map_or(0, |change| change.bytes());
        in_flight + self.waiting.iter().map(Change::bytes).sum::<usize>()
    }
}

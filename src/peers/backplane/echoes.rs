//! Echoes: the `events:note` by which Open WebUI tells of a save that came from here. They reach nobody, since the page
//! answers each with `setContent`; those of changes from outside reach the page as always.
//!
//! An echo is known by what the answer to the save says (`updated_at`). It may come before the answer, so while a save is
//! in flight, of this instance or another, all events of that note are held, and let go in their order when the answer is
//! there. Of a save that nobody answered nothing is known but its fields: for a while an event with the same ones is its
//! echo. All of it is bounded in number, bytes and time; beyond a bound an event is let go.

use crate::directory::Echo;
use crate::peers::shared;
use crate::socket::{Args, Object};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A save whose end nobody has told by then has none: it takes 20 s and a request for the content at most.
const IN_FLIGHT: Duration = Duration::from_secs(45);
/// An echo comes before the answer or right after it.
const LATE: Duration = Duration::from_secs(10);
/// That of a save without an answer comes when Open WebUI moves again.
const UNANSWERED: Duration = Duration::from_secs(120);
/// Saves that are remembered of one note, and events that are held of it.
const MOST: usize = 64;
/// Bytes of all events that are held.
const MOST_BYTES: usize = 16 << 20;

/// Which save: the instance, and its number there.
pub type Save = (Box<str>, u64);

/// The fields of a save as one number that all instances agree on.
pub type Print = u64;

/// How a save ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Its echo has this `updated_at`.
    At(u64),
    /// Its echo, if there is one, has these fields.
    Unanswered(Print),
    /// It has no echo.
    Silent,
}

impl End {
    /// How a save of these fields ended.
    pub fn of(echo: Echo, fields: &str) -> Self {
        match echo {
            Echo::None => Self::Silent,
            Echo::At(updated_at) => Self::At(updated_at),
            Echo::Unknown => print(fields).map_or(Self::Silent, Self::Unanswered),
        }
    }
}

/// What becomes of an event.
#[derive(Debug, PartialEq)]
pub enum Verdict<'a> {
    /// It is emitted now.
    Pass(Args<'a>),
    /// It is let go later, or is an echo.
    Taken,
}

/// What is known of saves and their echoes, by note.
#[derive(Default)]
pub struct Echoes {
    notes: RefCell<HashMap<Box<str>, Note>>,
    held_bytes: Cell<usize>,
}

#[derive(Default)]
struct Note {
    in_flight: Vec<(Save, Instant)>,
    /// Ends whose echo has not come, and until when it may.
    expected: VecDeque<(End, Instant)>,
    held: VecDeque<Args<'static>>,
}

/// What of an event is compared.
#[derive(Deserialize)]
struct NoteEvent<'a> {
    updated_at: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Echoes {
    /// A save of the note is about to go out.
    pub fn begin(&self, note_id: &str, save: Save, now: Instant) {
        let mut notes = self.notes.borrow_mut();
        let note = notes.entry(note_id.into()).or_default();
        if note.in_flight.len() < MOST {
            note.in_flight.push((save, now + IN_FLIGHT));
        }
    }

    /// A save has ended. Returns the events that are let go with it.
    pub fn end(&self, note_id: &str, save: &Save, end: End, now: Instant) -> Vec<Args<'static>> {
        let mut notes = self.notes.borrow_mut();
        let note = notes.entry(note_id.into()).or_default();
        note.in_flight.retain(|(known, _)| known != save);
        let until = match end {
            End::At(_) => Some(now + LATE),
            End::Unanswered(_) => Some(now + UNANSWERED),
            End::Silent => None,
        };
        if let Some(until) = until {
            note.expected.push_back((end, until));
            if note.expected.len() > MOST {
                note.expected.pop_front();
            }
        }
        drop(notes);
        self.let_go(note_id, now)
    }

    /// An event about the note came.
    pub fn judge<'a>(&self, note_id: &str, args: Args<'a>, now: Instant) -> Verdict<'a> {
        let mut notes = self.notes.borrow_mut();
        let Some(note) = notes.get_mut(note_id) else {
            return Verdict::Pass(args);
        };
        note.forget_old(now);
        if note.in_flight.is_empty() {
            let is_echo = note.is_echo(&args);
            if note.is_done() {
                notes.remove(note_id);
            }
            return match is_echo {
                true => Verdict::Taken,
                false => Verdict::Pass(args),
            };
        }
        let bytes = self.held_bytes.get() + args.json().len();
        if note.held.len() >= MOST || bytes > MOST_BYTES {
            return Verdict::Pass(args);
        }
        self.held_bytes.set(bytes);
        note.held.push_back(args.into_owned());
        Verdict::Taken
    }

    /// Whether something is held.
    pub fn holds(&self) -> bool {
        let notes = self.notes.borrow();
        notes.values().any(|note| !note.held.is_empty())
    }

    /// When the next thing is to be forgotten, with [`Echoes::expired`].
    pub fn next_expiry(&self) -> Option<Instant> {
        let notes = self.notes.borrow();
        notes.values().filter_map(Note::next_expiry).min()
    }

    /// Forgets what is old. Returns the events that are let go with it, each with its note.
    pub fn expired(&self, now: Instant) -> Vec<(Box<str>, Args<'static>)> {
        let ids: Vec<Box<str>> = self.notes.borrow().keys().cloned().collect();
        let of = |id: Box<str>| {
            let free = self.let_go(&id, now).into_iter();
            free.map(move |args| (id.clone(), args))
        };
        ids.into_iter().flat_map(of).collect()
    }

    /// What is held and needs not be any more: all that is no echo, once no save is in flight.
    fn let_go(&self, note_id: &str, now: Instant) -> Vec<Args<'static>> {
        let mut notes = self.notes.borrow_mut();
        let Some(note) = notes.get_mut(note_id) else {
            return Vec::new();
        };
        note.forget_old(now);
        let mut free = Vec::new();
        if note.in_flight.is_empty() {
            for args in std::mem::take(&mut note.held) {
                self.held_bytes
                    .set(self.held_bytes.get() - args.json().len());
                if !note.is_echo(&args) {
                    free.push(args);
                }
            }
        }
        if note.is_done() {
            notes.remove(note_id);
        }
        free
    }
}

impl Note {
    fn forget_old(&mut self, now: Instant) {
        self.in_flight.retain(|(_, until)| *until > now);
        self.expected.retain(|(_, until)| *until > now);
    }

    fn next_expiry(&self) -> Option<Instant> {
        let in_flight = self.in_flight.iter().map(|(_, until)| *until);
        in_flight
            .chain(self.expected.iter().map(|(_, until)| *until))
            .min()
    }

    fn is_done(&self) -> bool {
        self.in_flight.is_empty() && self.expected.is_empty() && self.held.is_empty()
    }

    /// Whether the event is an echo that is expected; each is expected once.
    fn is_echo(&mut self, args: &Args<'_>) -> bool {
        if self.expected.is_empty() {
            return false;
        }
        let Some(Object(event)) = args.first::<Object<NoteEvent<'_>>>() else {
            return false;
        };
        let mut fields = None;
        let mut is_of = |end: &End| match end {
            End::At(updated_at) => event.updated_at == Some(*updated_at),
            End::Unanswered(known) => {
                let of_event = || event.data.and_then(|data| print(data.get()));
                fields.get_or_insert_with(of_event).as_ref() == Some(known)
            }
            End::Silent => false,
        };
        let at = self.expected.iter().position(|(end, _)| is_of(end));
        at.and_then(|at| self.expected.remove(at)).is_some()
    }
}

/// The fields of a note as one number.
fn print(fields: &str) -> Option<Print> {
    let is_object = fields.trim_start().starts_with('{');
    shared::print(fields).filter(|_| is_object)
}

#[cfg(test)]
mod tests;

//! The ring: what was emitted lately to those who can come back, each event once, bounded in bytes and in time.

use super::place::Place;
use crate::metrics::{self, Gauge};
use crate::outbox::{self, Frame};
use crate::socket::{Target, To};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes that an event takes beside its frame.
const ENTRY: usize = size_of::<Entry>() + 64;

/// Numbers begin below this, at random: the number of another run is none of this one's.
const FIRST: u64 = 1 << 46;

struct Entry {
    number: u64,
    at: Instant,
    frame: Frame,
    to: Aim,
    except: Vec<Box<str>>,
    bytes: usize,
}

/// Whom an event was for; a socket is a room of its own.
enum Aim {
    All,
    Room(Box<str>),
    Rooms(Vec<Box<str>>),
}

impl Aim {
    fn of(to: &To<'_>) -> Self {
        match to {
            To::All => Self::All,
            To::Room(room) => Self::Room((*room).into()),
            To::Rooms(rooms) => Self::Rooms(boxed(rooms)),
            To::Sid(sid) => Self::Room(sid.as_str().into()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Room(room) => room.len(),
            Self::Rooms(rooms) => bytes(rooms),
        }
    }
}

fn boxed(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn bytes(names: &[Box<str>]) -> usize {
    names
        .iter()
        .map(|name| size_of::<Box<str>>() + name.len())
        .sum()
}

pub struct Ring {
    /// The number of the last event.
    last: u64,
    /// That of the last one which is not here any more: of what follows, nothing is missing.
    floor: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Ring {
    pub fn new() -> Self {
        let random = u64::from_le_bytes(crate::ground::random::bytes());
        let last = random % FIRST;
        Self {
            last,
            floor: last,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.last
    }

    pub fn floor(&self) -> u64 {
        self.floor
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the event that follows the last one.
    pub fn push(&mut self, frame: Frame, target: &Target<'_>, at: Instant) {
        self.last += 1;
        let (to, except) = (Aim::of(&target.to), boxed(target.except));
        let bytes = ENTRY + frame.capacity() + to.bytes() + bytes(&except);
        self.resize(bytes.cast_signed());
        self.entries.push_back(Entry {
            number: self.last,
            at,
            frame,
            to,
            except,
            bytes,
        });
    }

    /// Lets the oldest go: what is older than `age`, and what is over so many bytes.
    pub fn trim(&mut self, most: usize, age: Duration, now: Instant) {
        while let Some(first) = self.entries.front()
            && (self.bytes > most || now.saturating_duration_since(first.at) > age)
        {
            let bytes = first.bytes.cast_signed();
            self.floor = first.number;
            self.resize(-bytes);
            if let Some(first) = self.entries.pop_front() {
                outbox::reuse(first.frame);
            }
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// The events after `offset` for a room that is one of these, with their numbers and rooms.
    pub fn of_rooms(
        &self,
        offset: u64,
        is_one: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(u64, &str, &Frame),
    ) {
        let from = self.entries.partition_point(|entry| entry.number <= offset);
        for entry in self.entries.range(from..) {
            if let Aim::Room(room) = &entry.to
                && is_one(room)
            {
                each(entry.number, room, &entry.frame);
            }
        }
    }

    fn resize(&mut self, by: isize) {
        self.bytes = self.bytes.wrapping_add_signed(by);
        metrics::shift(Gauge::Kept, by as i64);
    }

    /// The events after `offset` that were for a session, with their numbers. It was in these rooms.
    pub fn after(
        &self,
        offset: u64,
        sid: &str,
        rooms: &[std::rc::Rc<str>],
        place: &Place,
    ) -> Vec<(u64, Frame)> {
        let from = self.entries.partition_point(|entry| entry.number <= offset);
        let mut missed = Vec::new();
        for entry in self.entries.range(from..) {
            let is_in = |room: &str| room == sid || place.was_in(room, rooms, entry.number);
            let for_it = match &entry.to {
                Aim::All => true,
                Aim::Room(room) => is_in(room),
                Aim::Rooms(rooms) => rooms.iter().any(|room| is_in(room)),
            };
            if for_it && !entry.except.iter().any(|room| is_in(room)) {
                missed.push((entry.number, entry.frame.clone()));
            }
        }
        missed
    }
}

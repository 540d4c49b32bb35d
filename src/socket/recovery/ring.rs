//! The ring: what was emitted lately to those who can come back, each event once, bounded in bytes and in time.

use super::place::Place;
use crate::engine::frame;
use crate::ground::written::{Reader, Writer};
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

impl Drop for Ring {
    fn drop(&mut self) {
        self.resize(-self.bytes.cast_signed());
    }
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

    /// A number that no event has.
    pub fn skip(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub fn floor(&self) -> u64 {
        self.floor
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the event that follows the last one.
    pub fn push(&mut self, frame: Frame, target: &Target<'_>, at: Instant) {
        self.last += 1;
        self.add(frame, Aim::of(&target.to), boxed(target.except), at);
    }

    fn add(&mut self, frame: Frame, to: Aim, except: Vec<Box<str>>, at: Instant) {
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

    /// Writes all of it down for another process.
    pub fn write(&self, out: &mut Writer, now: Instant) {
        out.number(self.last);
        out.number(self.floor);
        out.count(self.entries.len());
        for entry in &self.entries {
            out.number(entry.number);
            out.age(entry.at, now);
            out.bytes(&entry.frame);
            let (kind, rooms) = match &entry.to {
                Aim::All => (0, &[][..]),
                Aim::Room(room) => (1, std::slice::from_ref(room)),
                Aim::Rooms(rooms) => (2, &rooms[..]),
            };
            out.number(kind);
            for names in [rooms, &entry.except] {
                out.count(names.len());
                names.iter().for_each(|name| out.bytes(name.as_bytes()));
            }
        }
    }

    /// Goes on where another process ended.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (last, floor) = (from.number()?, from.number()?);
        let mut ring = Self {
            last: floor,
            floor,
            entries: VecDeque::new(),
            bytes: 0,
        };
        for _ in 0..from.number()? {
            let (number, at, frame) = (from.number()?, from.at()?, from.bytes()?);
            let kind = from.number()?;
            let names = |from: &mut Reader<'_>| from.all(|from| Some(from.text()?.into()));
            let (mut rooms, except) = (names(from)?, names(from)?);
            let to = match kind {
                0 => Aim::All,
                1 => Aim::Room(rooms.pop()?),
                _ => Aim::Rooms(rooms),
            };
            if number <= ring.last || !frame::is_whole(frame) {
                return None;
            }
            ring.last = number;
            ring.add(frame.to_vec().into(), to, except, at);
        }
        let goes_on = (ring.last..2 * FIRST).contains(&last);
        ring.last = last;
        goes_on.then_some(ring)
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

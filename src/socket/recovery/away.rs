//! The sessions that lost their connection and may come back.

use super::place::Place;
use crate::ground::written::{Reader, Writer};
use crate::metrics::{self, Gauge};
use crate::socket::rooms::Rooms;
use crate::socket::{BySid, Memo, Sid, Target, To};
use slab::Slab;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes of a session, beside its place and its rooms, with what the application keeps.
const SESSION: usize = size_of::<Away>() + 256;

/// Bytes of one of its rooms: in its list and in the table.
const ROOM: usize = 96;

/// A session that is away.
pub struct Away {
    pub sid: Sid,
    pub place: Box<Place>,
    pub rooms: Vec<Rc<str>>,
    /// The last event before its connection was lost.
    pub last: u64,
    pub memo: Memo,
    pub since: Instant,
}

impl Away {
    fn bytes(&self) -> usize {
        SESSION + self.place.bytes() + ROOM * self.rooms.len()
    }

    /// Writes it down for another process.
    pub fn write(&self, out: &mut Writer, memo: &[u8], now: Instant) {
        out.bytes(self.sid.as_bytes());
        out.count(self.rooms.len());
        self.rooms
            .iter()
            .for_each(|room| out.bytes(room.as_bytes()));
        self.place.write(out, now);
        out.number(self.last);
        out.age(self.since, now);
        out.bytes(memo);
    }

    /// Reads one. Sessions share the names of their rooms.
    pub fn read(
        from: &mut Reader<'_>,
        names: &mut Rooms,
        memo: impl FnOnce(&[u8]) -> Option<Memo>,
    ) -> Option<Self> {
        let sid = Sid::parse(from.text()?)?;
        let nsp = names.namespace("/");
        let rooms = from.all(|from| Some(names.enter(&nsp, from.text()?, 0).0))?;
        Some(Self {
            sid,
            place: Place::read_written(from, rooms.len())?,
            rooms,
            last: from.number()?,
            since: from.at()?,
            memo: memo(from.bytes()?)?,
        })
    }
}

/// All of them.
#[derive(Default)]
pub struct AllAway {
    sessions: Slab<Away>,
    by_sid: BySid<u32>,
    /// Who is in a room, as far as they are away.
    rooms: Rooms,
    /// In the order in which they went; who came back since stands in it, too.
    order: VecDeque<(Sid, Instant)>,
    bytes: usize,
}

impl AllAway {
    pub fn add(&mut self, away: Away) {
        let (sid, since) = (away.sid, away.since);
        self.resize(away.bytes().cast_signed());
        let nsp = self.rooms.namespace("/");
        let names = away.rooms.clone();
        let key = self.sessions.insert(away) as u32;
        for room in names {
            self.rooms.enter_as(&nsp, room, key);
        }
        self.by_sid.insert(sid, key);
        self.order.push_back((sid, since));
        metrics::shift(Gauge::Away, 1);
    }

    pub fn get(&self, sid: Sid) -> Option<&Away> {
        self.sessions.get(*self.by_sid.get(&sid)? as usize)
    }

    pub fn take(&mut self, sid: Sid) -> Option<Away> {
        let key = self.by_sid.remove(&sid)?;
        let away = self.sessions.remove(key as usize);
        for room in &away.rooms {
            self.rooms.leave("/", room, key);
        }
        self.resize(-away.bytes().cast_signed());
        metrics::shift(Gauge::Away, -1);
        if self.sessions.is_empty() {
            *self = Self::default();
        }
        Some(away)
    }

    /// The one that went first, if it went so long ago or all take more than so many bytes.
    pub fn oldest(&mut self, most: usize, age: Duration, now: Instant) -> Option<Sid> {
        loop {
            let (sid, since) = *self.order.front()?;
            let is_away = self.get(sid).is_some_and(|away| away.since == since);
            if is_away {
                let over = self.bytes > most || now.saturating_duration_since(since) >= age;
                return over.then_some(sid);
            }
            self.order.pop_front();
        }
    }

    /// All of them, in the order in which they went.
    pub fn in_order(&self) -> impl Iterator<Item = &Away> {
        let is_away =
            |(sid, since): &(Sid, Instant)| self.get(*sid).filter(|away| away.since == *since);
        self.order.iter().filter_map(is_away)
    }

    /// Those whom this concerns.
    pub fn those(&self, concerns: impl Fn(&Away) -> bool) -> Vec<Sid> {
        let those = self.sessions.iter().filter(|(_, away)| concerns(away));
        those.map(|(_, away)| away.sid).collect()
    }

    /// Whether a room has one of them.
    pub fn is_in(&self, room: &str) -> bool {
        self.rooms.members("/", room).is_some()
            || Sid::parse(room).is_some_and(|sid| self.by_sid.contains_key(&sid))
    }

    /// The rooms that have one of them, and their own.
    pub fn awaited(&self) -> Vec<Rc<str>> {
        let rooms = self.rooms.occupied("/").into_iter();
        let own = self
            .sessions
            .iter()
            .map(|(_, away)| away.sid.as_str().into());
        rooms.map(|(room, _)| room).chain(own).collect()
    }

    /// Whether an event may be for one of them.
    pub fn concerns(&self, target: &Target<'_>) -> bool {
        !self.sessions.is_empty()
            && target.nsp == "/"
            && match target.to {
                To::All => true,
                To::Room(room) => self.is_in(room),
                To::Rooms(rooms) => rooms.iter().any(|room| self.is_in(room)),
                To::Sid(sid) => self.by_sid.contains_key(&sid),
            }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn resize(&mut self, by: isize) {
        self.bytes = self.bytes.wrapping_add_signed(by);
        metrics::shift(Gauge::Kept, by as i64);
    }
}

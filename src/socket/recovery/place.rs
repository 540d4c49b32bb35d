//! A session's place in the sequence of all events: where it began, what it was sent, when it was in which room.

use crate::ground::written::{Reader, Writer};
use crate::socket::Sid;
use data_encoding::BASE64URL_NOPAD;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Rooms left that are remembered; an event to one of them may still be on its way.
const LEFT: usize = 64;

/// An event's number as clients are told it: eight characters.
pub struct Offset([u8; 8]);

impl Offset {
    pub fn of(number: u64) -> Self {
        let mut text = [0; 8];
        // The sequence stays below 2^48 for longer than anything runs.
        BASE64URL_NOPAD.encode_mut(&number.to_be_bytes()[2..], &mut text);
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn read(text: &str) -> Option<u64> {
        let mut number = [0; 8];
        if text.len() != 8 {
            return None;
        }
        let read = BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut number[2..]);
        read.is_ok().then(|| u64::from_be_bytes(number))
    }
}

/// What is remembered of a session that can come back.
pub struct Place {
    /// The second half of its private id; the first is its sid.
    secret: Sid,
    /// Nothing up to this event is its.
    start: u64,
    /// The last event that it was sent, and when.
    last: Cell<u64>,
    sent: Cell<Instant>,
    /// The events before and after the last long time in which nothing was sent: a quiet session keeps its place.
    quiet: Cell<(u64, u64)>,
    /// The end of its last replay.
    replayed: u64,
    /// Of each of its rooms, in the order of the socket's list: the last event before it entered.
    since: Vec<u64>,
    left: Vec<Left>,
    /// Whoever has not got this one may have missed something in a room that is not remembered.
    horizon: u64,
}

/// A room that it was in.
struct Left {
    room: Rc<str>,
    since: u64,
    until: u64,
}

/// Why a session can't be taken up.
pub type Why = &'static str;

impl Place {
    /// The place of one that begins after the event `start`.
    pub fn new(start: u64, now: Instant) -> Box<Self> {
        Box::new(Self {
            secret: Sid::random(),
            start,
            last: Cell::new(start),
            sent: Cell::new(now),
            quiet: Cell::new((start, start)),
            replayed: start,
            since: Vec::new(),
            left: Vec::new(),
            horizon: start,
        })
    }

    /// The place of a session that comes from another instance and goes on here after the event `from`, in so many rooms.
    pub fn moved(secret: Sid, from: u64, rooms: usize, now: Instant) -> Box<Self> {
        let mut place = Self::new(from - 1, now);
        place.secret = secret;
        place.since = vec![from; rooms];
        place
    }

    /// Its private id, which its client alone is told.
    pub fn pid(&self, sid: Sid) -> String {
        [sid.as_str(), self.secret.as_str()].concat()
    }

    /// The sid and the secret of a private id.
    pub fn read(pid: &str) -> Option<(Sid, Sid)> {
        let (sid, secret) = pid.split_at_checked(20)?;
        Some((Sid::parse(sid)?, Sid::parse(secret)?))
    }

    pub fn has_secret(&self, secret: Sid) -> bool {
        self.secret == secret
    }

    /// It is sent an event. `silence`: how long it takes at most until a dead connection is noticed.
    pub fn sent(&self, number: u64, silence: Duration, now: Instant) {
        let (last, before) = (self.last.replace(number), self.sent.replace(now));
        if now.saturating_duration_since(before) >= silence {
            self.quiet.set((last, number));
        }
    }

    /// It enters a room.
    pub fn enter(&mut self, last: u64) {
        self.since.reserve_exact(1);
        self.since.push(last);
    }

    /// It leaves the room at this place of the socket's list, whose last takes its place.
    pub fn leave(&mut self, at: usize, room: Rc<str>, last: u64) {
        if at >= self.since.len() {
            return;
        }
        let since = self.since.swap_remove(at);
        if last == since {
            return;
        }
        if self.left.len() == LEFT {
            self.horizon = self.left.remove(0).until;
        }
        self.left.push(Left {
            room,
            since,
            until: last,
        });
    }

    /// Whether it was in one of these rooms of this name when the event was emitted.
    pub fn was_in(&self, room: &str, rooms: &[Rc<str>], number: u64) -> bool {
        let mut rooms = rooms.iter().zip(&self.since);
        rooms.any(|(name, since)| **name == *room && *since < number)
            || self
                .left
                .iter()
                .any(|l| *l.room == *room && l.since < number && number <= l.until)
    }

    /// The last event that its client has got, by what it says: what it says of another session means that it got none of
    /// this one. `last`: the last event before its connection was lost.
    pub fn got(&self, offset: Option<&str>, last: u64) -> u64 {
        let offset = offset.and_then(Offset::read);
        offset
            .filter(|offset| (self.start..=last).contains(offset))
            .unwrap_or(self.start)
    }

    /// Whether all is there that follows the event `got`, of which those up to `floor` are gone. `last`: as above.
    ///
    /// # Errors
    /// Why it can't be known, or is not so.
    pub fn check(&self, got: u64, floor: u64, last: u64) -> Result<(), Why> {
        let (before, after) = self.quiet.get();
        let whole = if got >= self.last.get() {
            floor <= last
        } else if (before..after).contains(&got) {
            floor < after
        } else {
            floor <= got
        };
        if got < self.replayed {
            // What came of it waits in the client, and would come twice.
            Err("torn")
        } else if !whole || got < self.horizon {
            Err("gap")
        } else {
            Ok(())
        }
    }

    /// It is sent all that it missed, the last one of which is this.
    pub fn replay(&mut self, last: Option<u64>, now: Instant) {
        if let Some(last) = last {
            self.replayed = last;
            self.last.set(last);
            self.sent.set(now);
        }
    }

    /// Writes it down for another process.
    pub fn write(&self, out: &mut Writer, now: Instant) {
        let (before, after) = self.quiet.get();
        out.bytes(self.secret.as_bytes());
        for number in [self.start, self.last.get(), before, after] {
            out.number(number);
        }
        out.age(self.sent.get(), now);
        out.number(self.replayed);
        out.number(self.horizon);
        out.count(self.since.len());
        self.since.iter().for_each(|since| out.number(*since));
        out.count(self.left.len());
        for left in &self.left {
            out.bytes(left.room.as_bytes());
            out.number(left.since);
            out.number(left.until);
        }
    }

    /// Reads one of a session that is in so many rooms.
    pub fn read_written(from: &mut Reader<'_>, rooms: usize) -> Option<Box<Self>> {
        let place = Self {
            secret: Sid::parse(from.text()?)?,
            start: from.number()?,
            last: Cell::new(from.number()?),
            quiet: Cell::new((from.number()?, from.number()?)),
            sent: Cell::new(from.at()?),
            replayed: from.number()?,
            horizon: from.number()?,
            since: from.all(Reader::number)?,
            left: from.all(|from| {
                Some(Left {
                    room: from.text()?.into(),
                    since: from.number()?,
                    until: from.number()?,
                })
            })?,
        };
        let fits = place.since.len() == rooms && place.left.len() <= LEFT;
        fits.then(|| Box::new(place))
    }

    /// Bytes, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + 8 * self.since.capacity() + size_of::<Left>() * self.left.capacity()
    }
}

//! One event on its way to several sockets: encoded once for all, and once more for those who are told its number.

use super::place::{Offset, Place};
use crate::engine::Session;
use crate::outbox::Frame;
use crate::socket::{Args, Handler, Lateness, Made, Target, encode};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is asked about an event while it is sent.
pub trait Outgoing {
    /// Makes the frame; with this as its last argument, if there is something.
    fn encode(&self, offset: Option<&str>) -> Frame;
    /// What becomes of it for who is behind.
    fn lateness(&self) -> Lateness;
    /// Whether who was away gets it.
    fn is_replayed(&self) -> bool;
    /// Whether its last argument is text, which a client takes for a number.
    fn ends_in_text(&self) -> bool;
}

/// Where the sequence stands.
#[derive(Clone, Copy)]
pub struct Stand {
    /// The number of the last event.
    pub last: u64,
    /// How long it takes at most until a dead connection is noticed.
    pub silence: Duration,
    pub now: Instant,
}

pub struct Sending<'a> {
    event: &'a dyn Outgoing,
    stand: Option<Stand>,
    plain: Option<Frame>,
    numbered: Option<Frame>,
    lateness: Option<Lateness>,
    /// Its number, when it has one of its own.
    number: Option<u64>,
}

impl<'a> Sending<'a> {
    pub fn new(event: &'a dyn Outgoing, stand: Option<Stand>) -> Self {
        Self {
            event,
            stand,
            plain: None,
            numbered: None,
            lateness: None,
            number: None,
        }
    }

    /// Sends it to one socket; `false` when that has gone, or takes no more.
    pub fn send_to(&mut self, session: &Rc<Session>, place: Option<&Place>) -> bool {
        let event = self.event;
        if session.is_behind() {
            match *self.lateness.get_or_insert_with(|| event.lateness()) {
                Lateness::LeftOut => return true,
                // It comes after events that have greater numbers, so it has none.
                Lateness::Last(kind) if place.is_none() || !event.ends_in_text() => {
                    session.keep_last(kind, self.plain());
                    return true;
                }
                Lateness::Last(_) | Lateness::Waits => {}
            }
        }
        match (place, self.stand) {
            (Some(place), Some(stand)) => {
                let number = self.number(stand);
                if let Some(frame) = &self.numbered {
                    number.inspect(|number| place.sent(*number, stand.silence, stand.now));
                    return session.send(frame);
                }
                false
            }
            _ => session.send(self.plain()),
        }
    }

    fn plain(&mut self) -> &Frame {
        self.plain.get_or_insert_with(|| self.event.encode(None))
    }

    /// Makes the frame with a number: its own, which it returns, or that of the last event if it is not replayed.
    fn number(&mut self, stand: Stand) -> Option<u64> {
        if self.numbered.is_none() {
            self.number = self.event.is_replayed().then_some(stand.last + 1);
            let offset = Offset::of(self.number.unwrap_or(stand.last));
            self.numbered = Some(self.event.encode(Some(offset.as_str())));
        }
        self.number
    }

    /// What is to be kept for who comes back: it was sent to somebody who may, or is `wanted` by who is away.
    pub fn kept(mut self, wanted: bool) -> Option<Frame> {
        let stand = self.stand?;
        if wanted {
            self.number(stand);
        }
        self.number.and(self.numbered)
    }
}

/// An event that is emitted now.
pub struct Emitted<'a> {
    pub handler: Option<&'a dyn Handler>,
    pub target: &'a Target<'a>,
    pub event: &'a str,
    pub args: &'a Args<'a>,
    /// Its frames, if they were made before.
    pub made: Option<&'a Made>,
}

impl Outgoing for Emitted<'_> {
    fn encode(&self, offset: Option<&str>) -> Frame {
        let made = self.made.and_then(|made| match offset {
            None => Some(made.plain.clone()),
            Some(offset) => made.numbered(offset),
        });
        made.unwrap_or_else(|| encode::event(self.target.nsp, None, self.event, self.args, offset))
    }

    fn lateness(&self) -> Lateness {
        let of = |handler: &dyn Handler| handler.lateness(self.target, self.event, self.args);
        self.handler.map_or(Lateness::Waits, of)
    }

    fn is_replayed(&self) -> bool {
        let of = |handler: &dyn Handler| handler.is_replayed(self.target, self.event, self.args);
        self.handler.is_none_or(of)
    }

    fn ends_in_text(&self) -> bool {
        self.args.json().trim_end().ends_with('"')
    }
}

/// One that was encoded before, which nobody is told the number of.
impl Outgoing for Frame {
    fn encode(&self, _offset: Option<&str>) -> Frame {
        self.clone()
    }

    fn lateness(&self) -> Lateness {
        Lateness::Waits
    }

    fn is_replayed(&self) -> bool {
        false
    }

    fn ends_in_text(&self) -> bool {
        false
    }
}

//! Rooms whose events are kept and heard though no socket is in them: those of who reads over HTTP.

use super::{Args, Hub, Packet, Target, To};
use crate::engine::frame;
use std::rc::Rc;

impl Hub {
    /// Somebody of this number hears a room from now on.
    pub fn watch(&self, room: &str, number: u32) {
        let known = self.is_occupied(room) || self.is_awaited(room);
        let mut watched = self.watched.borrow_mut();
        let nsp = watched.namespace("/");
        let (room, _) = watched.enter(&nsp, room, number);
        drop(watched);
        if !known {
            self.handler().room_changed("/", &room, true);
        }
    }

    /// No more.
    pub fn unwatch(&self, room: &str, number: u32) {
        let emptied = self.watched.borrow_mut().leave("/", room, number);
        if emptied && !self.is_occupied(room) && !self.is_awaited(room) {
            self.handler().room_changed("/", &Rc::from(room), false);
        }
    }

    /// The names of these rooms.
    pub fn watched_rooms(&self) -> Vec<Rc<str>> {
        let rooms = self.watched.borrow().occupied("/");
        rooms.into_iter().map(|(room, _)| room).collect()
    }

    /// Whether an event is kept for one of them.
    pub(super) fn is_watched(&self, target: &Target<'_>) -> bool {
        let watched = self.watched.borrow();
        let is = |room: &str| watched.members("/", room).is_some();
        match target.to {
            To::Room(room) => is(room),
            To::Rooms(rooms) => rooms.iter().any(|room| is(room)),
            To::All | To::Sid(_) => false,
        }
    }

    /// The number of the last event that has one; `None` where nothing is kept.
    pub fn number_of_last(&self) -> Option<u64> {
        self.recovery.get().map(|recovery| recovery.last())
    }

    /// All events are kept that follow the one of this number.
    pub fn kept_from(&self) -> u64 {
        let recovery = self.recovery.get();
        recovery.map_or(u64::MAX, |recovery| recovery.ring.borrow().floor())
    }

    /// The events after a number that were for one of these rooms: number, room, name, arguments. `each` must not emit.
    pub fn each_kept(
        &self,
        after: u64,
        is_one: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(u64, &str, &str, &Args<'_>),
    ) {
        let Some(recovery) = self.recovery.get() else {
            return;
        };
        recovery
            .ring
            .borrow()
            .of_rooms(after, is_one, &mut |number, room, event| {
                frame::each(event, |_, packet| {
                    let text = str::from_utf8(packet).ok();
                    let packet = text.and_then(|text| Packet::decode(text.strip_prefix('4')?).ok());
                    if let Some(packet) = packet.filter(|packet| packet.attachments == 0)
                        && let Ok((name, args)) = Packet::event(packet.data)
                    {
                        each(number, room, &name, &Args::from_json(args));
                    }
                });
            });
    }
}

//! The hub: sids, namespaces, rooms, acks, broadcast. All state of one instance, in one place.
//!
//! Every method but `call` is synchronous, so nothing interleaves; no borrow is held while the application is
//! called. A socket costs a slab entry, a table entry, and one `u32` in each room it is in.

use super::partial::Client;
use super::question::Question;
use super::recovery::kept::Recovery;
use super::recovery::place::Place;
use super::recovery::sending::{Emitted, Sending};
use super::rooms::Rooms;
use super::{Args, Frame, Handler, Made, Reason, Sid, Target, To};
use super::{encode, trace};
use crate::engine::{BySid, Closed, Mark, Peer, Session};
use crate::ground::random;
use crate::metrics::{self, Gauge};
use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

/// One socket: a namespace of a session.
pub(super) struct Socket {
    pub sid: Sid,
    pub nsp: Rc<str>,
    pub session: Rc<Session>,
    pub rooms: Vec<Rc<str>>,
    /// What it is asked and has not answered.
    pub questions: Vec<Question>,
    /// Where it is in the sequence of all events, if it can come back.
    pub place: Option<Box<Place>>,
}

#[derive(Default)]
pub(super) struct State {
    pub sockets: Slab<Socket>,
    pub by_sid: BySid<u32>,
    /// The clients by the sid of their Engine.IO session.
    pub clients: BySid<Client>,
    pub rooms: Rooms,
}

/// All sockets of this instance.
#[derive(Default)]
pub struct Hub {
    pub(super) state: RefCell<State>,
    handler: OnceCell<Rc<dyn Handler>>,
    /// Where sockets can come back.
    pub(super) recovery: OnceCell<Recovery>,
    /// The last ack id, and what sockets are asked that are away.
    pub(super) last_ack: Cell<u64>,
    pub(super) held: RefCell<Vec<(Sid, Question)>>,
    /// Rooms of who reads over HTTP.
    pub(super) watched: RefCell<Rooms>,
    me: Weak<Self>,
}

impl Hub {
    /// An empty hub. `set_handler` follows before the first connection.
    pub fn new() -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            // An answer to a question of another run is none to one of this one.
            last_ack: Cell::new(u64::from_le_bytes(random::bytes()) >> 34),
            ..Self::default()
        })
    }

    /// Itself, for what goes on later.
    pub(super) fn me(&self) -> Weak<Self> {
        self.me.clone()
    }

    /// The application above; set once.
    pub fn set_handler(&self, handler: Rc<dyn Handler>) {
        let first = self.handler.set(handler).is_ok();
        debug_assert!(first, "the handler is set once");
    }

    /// The application above.
    pub(super) fn handler(&self) -> Rc<dyn Handler> {
        self.handler
            .get()
            .expect("the handler is set before the first connection")
            .clone()
    }

    /// Sends an event to this instance's sockets: encoded once, shared by all. Returns how many got it.
    pub fn emit(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        self.emit_as(target, event, args, None)
    }

    /// The same of an event that may have been written before.
    pub fn emit_as(
        &self,
        target: &Target<'_>,
        event: &str,
        args: &Args<'_>,
        made: Option<&Made>,
    ) -> usize {
        let reached = self.send(target, event, args, made);
        trace::emitted(target, event, args, reached);
        if let Some(handler) = self.handler.get() {
            handler.emitted(target, event, args);
        }
        reached
    }

    /// Whether anybody is, or may want to be, told the number of an event.
    pub fn tells_numbers(&self) -> bool {
        let told = |recovery: &Recovery| {
            let sockets = &self.state.borrow().sockets;
            !recovery.away.borrow().is_empty() || sockets.iter().any(|(_, it)| it.place.is_some())
        };
        self.recovery.get().is_some_and(told)
    }

    /// The same with an event that was encoded before: one that ends in no text, and who was away does not get.
    pub fn emit_encoded(&self, target: &Target<'_>, event: &str, frame: &Frame) {
        let state = self.state.borrow();
        let keys = state.select(target).into_iter();
        let reached = state.send_all(keys, &mut Sending::new(frame, None));
        trace::encoded(target, event, frame.len(), 0, reached);
    }

    fn send(
        &self,
        target: &Target<'_>,
        event: &str,
        args: &Args<'_>,
        made: Option<&Made>,
    ) -> usize {
        let state = self.state.borrow();
        let event = Emitted {
            handler: self.handler.get().map(|handler| &**handler),
            target,
            event,
            args,
            made,
        };
        let recovery = self.recovery.get();
        let mut sending = Sending::new(&event, recovery.map(Recovery::stand));
        let reached = match target.to {
            To::Room(room) if target.except.is_empty() => {
                match state.rooms.members(target.nsp, room) {
                    Some(members) => state.send_all(members.iter().copied(), &mut sending),
                    None => {
                        let key = state.key_of_text(target.nsp, room);
                        state.send_all(key.into_iter(), &mut sending)
                    }
                }
            }
            _ => state.send_all(state.select(target).into_iter(), &mut sending),
        };
        if let Some(recovery) = recovery
            && recovery.keep(target, sending, self.is_watched(target))
        {
            self.sweep_later(recovery);
        }
        reached
    }

    /// Answers a client's event.
    pub fn ack(&self, sid: Sid, ack: u64, args: &Args<'_>) {
        if let Some(socket) = self.state.borrow().socket(sid) {
            trace::sent(sid, &socket.nsp, "ACK", args.json().len());
            socket.session.send(&encode::ack(&socket.nsp, ack, args));
        }
    }

    /// Enters a room; `false` when the socket is not here.
    pub fn enter(&self, sid: Sid, room: &str) -> bool {
        if let Some(handler) = self.handler.get() {
            handler.entering(sid, room);
        }
        let mut state = self.state.borrow_mut();
        let Some(key) = state.by_sid.get(&sid).copied() else {
            return false;
        };
        let State { sockets, rooms, .. } = &mut *state;
        let socket = &mut sockets[key as usize];
        if socket.rooms.iter().any(|r| &**r == room) {
            return true;
        }
        let (room, first) = rooms.enter(&socket.nsp, room, key);
        if socket.rooms.is_empty() {
            socket.rooms.reserve_exact(1);
        }
        socket.rooms.push(room.clone());
        if let Some(place) = &mut socket.place {
            place.enter(self.last_number());
        }
        let nsp = socket.nsp.clone();
        drop(state);
        if first {
            metrics::shift(Gauge::Rooms, 1);
            self.handler().room_changed(&nsp, &room, true);
        }
        true
    }

    /// Leaves a room; `false` when it was not in it.
    pub fn leave(&self, sid: Sid, room: &str) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(key) = state.by_sid.get(&sid).copied() else {
            return false;
        };
        let State { sockets, rooms, .. } = &mut *state;
        let socket = &mut sockets[key as usize];
        let Some(at) = socket.rooms.iter().position(|r| &**r == room) else {
            return false;
        };
        let room = socket.rooms.swap_remove(at);
        if let Some(place) = &mut socket.place {
            place.leave(at, room.clone(), self.last_number());
        }
        let nsp = socket.nsp.clone();
        let emptied = rooms.leave(&nsp, &room, key);
        drop(state);
        self.room_emptied(&nsp, &room, emptied);
        self.handler().left(sid, &room);
        true
    }

    /// Leaves a room on somebody else's word, who may say so while the socket is about to enter it.
    pub fn made_to_leave(&self, sid: Sid, room: &str) {
        if !self.leave(sid, room) {
            self.handler().left(sid, room);
        }
    }

    /// Empties a room of a namespace.
    pub fn close_room(&self, nsp: &str, room: &str) {
        self.give_up_in(room);
        let sids: Vec<Sid> = {
            let state = self.state.borrow();
            let members = state.rooms.members(nsp, room).unwrap_or_default();
            members
                .iter()
                .map(|key| state.sockets[*key as usize].sid)
                .collect()
        };
        for sid in sids {
            self.leave(sid, room);
        }
    }

    /// Whether a socket is here.
    pub fn is_connected(&self, sid: Sid) -> bool {
        self.state.borrow().by_sid.contains_key(&sid)
    }

    /// Whether a socket is here and takes what it is sent.
    pub fn takes(&self, sid: Sid) -> bool {
        let state = self.state.borrow();
        state.socket(sid).is_some_and(|s| !s.session.is_over())
    }

    /// Whether a socket is here and in a room.
    pub fn is_in(&self, sid: Sid, room: &str) -> bool {
        self.state
            .borrow()
            .socket(sid)
            .is_some_and(|s| s.rooms.iter().any(|r| &**r == room))
    }

    /// Whether anybody is in a room of the application's namespace.
    pub fn is_occupied(&self, room: &str) -> bool {
        let state = self.state.borrow();
        let members = state.rooms.members("/", room);
        members.is_some_and(|members| !members.is_empty())
    }

    /// The sids in a room of `/`, in no order.
    pub fn members(&self, room: &str) -> Vec<Sid> {
        let state = self.state.borrow();
        let members = state.rooms.members("/", room).unwrap_or_default();
        members
            .iter()
            .map(|key| state.sockets[*key as usize].sid)
            .collect()
    }

    /// The sids of a target, each once.
    pub fn select(&self, target: &Target<'_>) -> Vec<Sid> {
        let state = self.state.borrow();
        let keys = state.select(target).into_iter();
        keys.map(|key| state.sockets[key as usize].sid).collect()
    }

    /// The rooms of a socket, its own sid's not among them.
    pub fn rooms(&self, sid: Sid) -> Vec<Rc<str>> {
        self.state
            .borrow()
            .socket(sid)
            .map_or_else(Vec::new, |s| s.rooms.clone())
    }

    /// Each room of a namespace with its number of members.
    pub fn occupied(&self, nsp: &str) -> Vec<(Rc<str>, usize)> {
        self.state.borrow().rooms.occupied(nsp)
    }

    /// Each socket of `/`.
    pub fn sids(&self) -> Vec<Sid> {
        let state = self.state.borrow();
        state
            .sockets
            .iter()
            .filter(|(_, s)| &*s.nsp == "/")
            .map(|(_, s)| s.sid)
            .collect()
    }

    /// Whether a frame still waits for a socket.
    pub fn holds(&self, sid: Sid, frame: &Frame) -> bool {
        let state = self.state.borrow();
        state
            .socket(sid)
            .is_some_and(|socket| socket.session.holds(frame))
    }

    /// How often something was read of a socket's client: what is handled with the same count had come by now.
    pub fn reads(&self, sid: Sid) -> Option<u32> {
        self.state.borrow().socket(sid).map(|s| s.session.reads())
    }

    /// Marks the end of what a socket was sent up to now.
    pub fn mark(&self, sid: Sid) -> Option<Mark> {
        self.state.borrow().socket(sid).map(|s| s.session.mark())
    }

    /// Whether a socket's client has what came before the mark.
    pub fn has_passed(&self, sid: Sid, mark: Mark) -> bool {
        let state = self.state.borrow();
        state
            .socket(sid)
            .is_some_and(|s| s.session.has_passed(mark))
    }

    /// Bytes that wait in all outboxes, and the number of sockets with a waiting one.
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.state.borrow();
        let waiting = state
            .sockets
            .iter()
            .map(|(_, s)| s.session.waiting_bytes())
            .filter(|b| *b > 0);
        waiting.fold((0, 0), |(bytes, sockets), b| (bytes + b, sockets + 1))
    }

    /// The client of a socket.
    pub fn peer(&self, sid: Sid) -> Option<Peer> {
        self.state.borrow().socket(sid).map(|s| s.session.peer)
    }

    /// Waits until no more waits for a socket than its outbox should hold, or it has gone.
    pub async fn drained(&self, sid: Sid) {
        let session = self.state.borrow().socket(sid).map(|s| s.session.clone());
        if let Some(session) = session {
            session.drained().await;
        }
    }

    /// Disconnects one namespace (DISCONNECT packet); `disconnected` is called before this returns.
    /// The transport below ends as well, and with it the client's other namespaces. `false` when it is not here.
    pub fn disconnect(&self, sid: Sid, why: &'static str) -> bool {
        let session = {
            let state = self.state.borrow();
            let Some(socket) = state.socket(sid) else {
                return false;
            };
            trace::sent(sid, &socket.nsp, "DISCONNECT", 0);
            socket.session.send(&encode::disconnect(&socket.nsp));
            socket.session.clone()
        };
        self.remove(sid, Reason::ServerDisconnect(why), false);
        session.doom(Closed::ByServer(why));
        true
    }

    /// Somebody has signed in at a socket: what its client sends is trusted with more memory, until the socket goes.
    pub fn signed_in(&self, sid: Sid) {
        if let Some(socket) = self.state.borrow().socket(sid) {
            socket.session.set_signed_in(true);
        }
    }

    /// Ends the transport below a socket without a word of this protocol: its client connects anew.
    pub fn renew(&self, sid: Sid) {
        let session = {
            let state = self.state.borrow();
            state.socket(sid).map(|socket| socket.session.clone())
        };
        if let Some(session) = session {
            session.doom(Closed::Renewed);
        }
    }

    /// Whether no socket is here.
    pub fn is_empty(&self) -> bool {
        self.state.borrow().sockets.is_empty()
    }

    /// Adds a connected socket.
    pub(super) fn add(
        &self,
        sid: Sid,
        nsp: &str,
        session: &Rc<Session>,
        place: Option<Box<Place>>,
    ) {
        let mut state = self.state.borrow_mut();
        let nsp = state.rooms.namespace(nsp);
        let socket = Socket {
            sid,
            nsp,
            session: session.clone(),
            rooms: Vec::new(),
            questions: Vec::new(),
            place,
        };
        let key = state.sockets.insert(socket) as u32;
        state.by_sid.insert(sid, key);
        if let Some(client) = state.clients.get_mut(&session.sid) {
            // Hardly anybody has a second one, and a list that grows by itself begins with room for four.
            client.sockets.reserve_exact(1);
            client.sockets.push(key);
        }
        metrics::shift(Gauge::Sockets, 1);
    }

    /// Takes a socket out of everything, then tells the application. `lost`: it lost its connection, and may come back.
    pub(super) fn remove(&self, sid: Sid, reason: Reason, lost: bool) {
        let memo = self.memo_of_lost(sid, lost);
        let mut state = self.state.borrow_mut();
        let Some(key) = state.by_sid.remove(&sid) else {
            return;
        };
        let mut socket = state.sockets.remove(key as usize);
        let mut emptied = Vec::new();
        for room in &socket.rooms {
            if state.rooms.leave(&socket.nsp, room, key) {
                emptied.push(room.clone());
            }
        }
        if let Some(client) = state.clients.get_mut(&socket.session.sid) {
            client.sockets.retain(|other| *other != key);
        }
        socket.session.set_signed_in(false);
        drop(state);
        metrics::shift(Gauge::Sockets, -1);
        let questions = std::mem::take(&mut socket.questions);
        self.lost_questions(sid, questions, memo.is_some());
        if let Some(memo) = memo {
            self.keep_away(&mut socket, memo);
        }
        for room in &emptied {
            self.room_emptied(&socket.nsp, room, true);
        }
        self.handler().disconnected(sid, &socket.nsp, reason);
    }

    fn room_emptied(&self, nsp: &str, room: &Rc<str>, emptied: bool) {
        if emptied {
            metrics::shift(Gauge::Rooms, -1);
        }
        if emptied && !self.is_awaited(room) {
            self.handler().room_changed(nsp, room, false);
        }
    }
}

//! The link to the other instances over Redis, as python-socketio's manager has it (redis.md, Socket.IO backplane).
//!
//! Everything goes over the channel `socketio`; with room channels an emit to one room goes over
//! `socketio#{namespace}#{room}`, which an instance listens to while it has members of that room (each socket is a
//! member of the room of its sid). An emit to a socket that is here is not published.

mod apart;
mod asking;
mod calls;
mod echoes;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod heard;
mod leaving;
mod moving;
mod publisher;
mod saves;
mod wire;
mod written;

use super::outgoing::Outgoing;
use super::pools::streams::Streams;
use crate::ground::json;
use crate::ground::rooms;
use crate::ground::tasks::{Executor, LARGE, Single, Tasks, aside, within};
use crate::metrics::{self, Counter};
use crate::redis::Redis;
use crate::socket::{Args, CallError, Hub, Made, Sid, Step, Target, To};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use apart::Apart;
use calls::Calls;
use echoes::Echoes;
use heard::Heard;
pub(super) use moving::Moves;
use publisher::Publisher;
pub use wire::Notice;
use wire::{Emit, PeerMessage};
use written::Writer;

/// The channel of all instances.
pub(super) const CHANNEL: &str = "socketio";
/// Between two log lines about messages that can't be read.
const SAY: Duration = Duration::from_secs(60);

/// This instance among the others.
pub struct Backplane {
    tasks: Tasks,
    hub: Rc<Hub>,
    redis: Redis,
    publisher: Rc<Publisher>,
    calls: Rc<Calls>,
    /// What is known of saves of notes, and how many there were from here.
    echoes: Echoes,
    saves: Cell<u64>,
    /// As what Open WebUI told of a note last.
    note_event: Cell<&'static str>,
    forgetting: Single,
    writer: OnceCell<Writer>,
    users: Heard,
    answered: Heard,
    removed: Heard,
    moves: Rc<Moves>,
    /// Our clients' relays.
    apart: Apart,
    room_channels: bool,
    /// How all messages end that come back from ourselves.
    tail: String,
    /// The same of the process before this one.
    before: RefCell<Option<String>>,
    /// When a message was last said to be malformed.
    said: Cell<Option<Instant>>,
}

impl Backplane {
    /// Joins the others; returns at once.
    pub fn start(
        executor: Executor,
        hub: Rc<Hub>,
        redis: Redis,
        room_channels: bool,
        streams: Rc<Streams>,
        moves: Rc<Moves>,
    ) -> Rc<Self> {
        let backplane = Rc::new(Self {
            tasks: Tasks::new(executor),
            hub,
            publisher: Rc::default(),
            calls: Rc::default(),
            echoes: Echoes::default(),
            saves: Cell::new(0),
            note_event: Cell::new(rooms::NOTE_EVENT),
            forgetting: Single::default(),
            writer: OnceCell::new(),
            users: Heard::default(),
            answered: Heard::default(),
            removed: Heard::default(),
            moves,
            apart: Apart::default(),
            room_channels,
            tail: wire::tail(redis.host_id()),
            before: RefCell::default(),
            said: Cell::new(None),
            redis,
        });
        let keep = backplane.publisher.clone().run(backplane.redis.clone());
        backplane.tasks.spawn("publishes", keep);
        backplane.listen();
        backplane.follow_moves();
        backplane.take_streams(streams);
        backplane
    }

    fn listen(self: &Rc<Self>) {
        let subscriber = self.redis.subscriber();
        // Redis and this hold each other: both are made once and never dropped.
        let [all, ours, rooms] = [self.clone(), self.clone(), self.clone()];
        // Whoever is away is not told what nobody here has heard.
        let hub = self.hub.clone();
        subscriber.set_missed(move || hub.give_up_those(|_| true));
        subscriber.listen(CHANNEL, move |message| all.incoming(message));
        let channels = move || ours.channels();
        subscriber.set_rooms(channels, move |_, message| rooms.incoming(message));
    }

    /// The channels of all rooms and sockets here.
    fn channels(&self) -> Vec<String> {
        if !self.room_channels {
            return Vec::new();
        }
        let rooms = self.hub.occupied("/").into_iter();
        let rooms = rooms.map(|(room, _)| room_channel("/", &room));
        let sids = self.hub.sids().into_iter();
        let relays = self.apart.names().into_iter();
        let (awaited, watched) = (self.hub.awaited(), self.hub.watched_rooms());
        rooms
            .chain(
                awaited
                    .into_iter()
                    .chain(watched)
                    .map(|room| room_channel("/", &room)),
            )
            .chain(sids.map(|sid| room_channel("/", sid.as_str())))
            .chain(relays.map(|relay| room_channel("/", &relay)))
            .collect()
    }

    /// What `/ready` says about it.
    pub fn degraded(&self) -> Option<String> {
        self.redis.degraded()
    }

    /// A room got its first member here or lost its last; a socket came or went.
    pub fn occupied(&self, nsp: &str, room: &str, occupied: bool) {
        if self.room_channels {
            self.redis
                .subscriber()
                .change(room_channel(nsp, room), occupied);
        }
    }

    /// Waits until no event to a room that was entered before can be missed.
    pub async fn subscribed(&self) {
        if self.room_channels {
            self.redis.subscriber().confirmed(&self.redis).await;
        }
    }

    /// Waits until the others have been told all that they should know.
    pub fn published(&self) -> impl Future<Output = ()> {
        self.publisher.flushed(&self.redis)
    }

    /// Tells the others of an emit, unless its only receiver is here.
    pub fn emit(&self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        let sid = match target.to {
            To::Sid(sid) => Some(sid),
            To::Room(room) => Sid::parse(room),
            To::All | To::Rooms(_) => None,
        };
        if sid.is_none_or(|sid| !self.hub.is_connected(sid)) {
            let Outgoing { channel, message } = self.outgoing(target, event, args);
            self.publisher.publish(channel, message);
        }
    }

    /// What tells the others of an emit.
    pub fn outgoing(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> Outgoing {
        Outgoing {
            channel: self.channel(target),
            message: wire::emit_message(self.redis.host_id(), target, event, args, None),
        }
    }

    fn channel(&self, target: &Target<'_>) -> Cow<'static, str> {
        match target.to {
            To::Room(room) if self.room_channels => room_channel(target.nsp, room).into(),
            To::Sid(sid) if self.room_channels => room_channel(target.nsp, sid.as_str()).into(),
            _ => CHANNEL.into(),
        }
    }

    /// Asks a socket of another instance.
    pub async fn call(
        &self,
        sid: &str,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
        waits: bool,
    ) -> Result<Args<'static>, CallError> {
        let waiting = self.calls.open(sid);
        let target = Target::room(sid);
        let me = self.redis.host_id();
        let call = wire::Call {
            id: waiting.id,
            waits,
        };
        let message = wire::emit_message(me, &target, event, args, Some(call));
        self.publisher.publish(self.channel(&target), message);
        self.look_after_calls();
        match within(timeout, waiting.answer.recv()).await {
            Some(answer) => answer.ok().flatten().ok_or(CallError::Gone),
            None => {
                metrics::add(Counter::AckTimeouts, 1);
                Err(CallError::Timeout)
            }
        }
    }

    fn look_after_calls(&self) {
        let by_channel = self.room_channels;
        let channel = move |sid: &str| by_channel.then(|| room_channel("/", sid));
        self.calls.keep_looking(&self.tasks, &self.redis, channel);
    }

    /// Whoever has this socket disconnects it.
    pub fn disconnect(&self, sid: &str) {
        self.publish(wire::disconnect_message(self.redis.host_id(), sid));
    }

    /// Whoever has this socket lets it enter a room.
    pub fn enter(&self, sid: &str, room: &str) {
        self.publish(wire::enter_message(self.redis.host_id(), sid, room));
    }

    /// Whoever has this socket lets it leave a room.
    pub fn leave(&self, sid: &str, room: &str) {
        self.publish(wire::leave_message(self.redis.host_id(), sid, room));
    }

    /// Everybody leaves the room.
    pub fn close_room(&self, room: &str) {
        self.publish(wire::close_message(self.redis.host_id(), room));
    }

    /// Hands an event of a stream to whoever has it open.
    pub fn stream(&self, name: &str, data: &RawValue) {
        let name = serde_json::to_string(name).unwrap_or_default();
        let message = format!(r#"{{"channel":{name},"data":{data}}}"#);
        self.publisher
            .publish(self.redis.key(STREAMS).into(), message);
    }

    /// Whether who streams should wait.
    pub fn is_crowded(&self) -> bool {
        self.publisher.is_crowded()
    }

    /// Waits until it need not.
    pub fn has_room(&self) -> impl Future<Output = ()> {
        self.publisher.has_room()
    }

    /// Takes the events of streams that other instances' clients send to a backend of this one.
    fn take_streams(&self, streams: Rc<Streams>) {
        #[derive(serde::Deserialize)]
        struct StreamEvent {
            channel: String,
            data: Box<RawValue>,
        }
        let push = move |read: Result<StreamEvent, _>| match read {
            Ok(event) => drop(streams.push(&event.channel, &event.data)),
            Err(_) => metrics::refused("backplane message"),
        };
        let listener = move |message: &[u8]| -> Step {
            if message.len() <= LARGE {
                push(json::read(message));
                return None;
            }
            let (message, push) = (message.to_vec(), push.clone());
            Some(Box::pin(async move {
                push(aside(move || json::read(&message)).await);
            }))
        };
        self.redis
            .subscriber()
            .listen(&self.redis.key(STREAMS), listener);
    }

    /// Says something to the others of ours.
    pub fn notify(&self, notice: &Notice<'_>) {
        self.publish(wire::notice_message(self.redis.host_id(), notice));
    }

    /// The users whose rights have changed, as other instances said since this was asked last.
    pub fn changed_users(&self) -> impl Future<Output = Vec<String>> {
        self.users.taken()
    }

    /// Answers that have come to their end, as [`Notice::Answered`] names them.
    pub fn answered(&self) -> impl Future<Output = Vec<String>> {
        self.answered.taken()
    }

    /// Notes that were removed, each after the epoch of its next document and a line end.
    pub fn removed(&self) -> impl Future<Output = Vec<String>> {
        self.removed.taken()
    }

    fn publish(&self, message: String) {
        self.publisher.publish(CHANNEL.into(), message);
    }

    /// A message came. Whatever it is, it can't stop the next one.
    fn incoming(self: &Rc<Self>, message: &[u8]) -> Step {
        let before = self.before.borrow();
        let is_ours = |tail: &String| message.ends_with(tail.as_bytes());
        if is_ours(&self.tail) || before.as_ref().is_some_and(is_ours) {
            return None;
        }
        drop(before);
        metrics::add(Counter::BackplaneIn, 1);
        let (me, bytes) = (self.redis.host_id(), message.len());
        if bytes > LARGE {
            let (this, me, message) = (self.clone(), me.to_owned(), message.to_vec());
            let numbers = self.hub.tells_numbers();
            return Some(Box::pin(async move {
                match wire::decode_large(message, me, numbers).await {
                    Ok((message, made)) => this.obey(message, made.as_ref()),
                    Err(wire::BadMessage(what)) => this.complain(what, bytes),
                }
            }));
        }
        match wire::decode(message, me) {
            Ok(message) => self.obey(message, None),
            Err(wire::BadMessage(what)) => self.complain(what, bytes),
        }
        None
    }

    fn obey(self: &Rc<Self>, message: PeerMessage<'_>, made: Option<&Made>) {
        let here = |sid: &str| Sid::parse(sid).filter(|sid| self.hub.is_connected(*sid));
        // Open WebUI knows our clients by their relays, too.
        let client = |sid: &str| here(sid).or_else(|| self.apart.client(sid));
        match message {
            PeerMessage::Emit(emit) => {
                let left_out = self.moves.left_out_of(emit.host.as_deref());
                let host = emit.host.clone().filter(|_| left_out);
                let before = self.hub.number_of_last();
                let emit = self.without_echoes(emit);
                if let Some(emit) = &emit {
                    self.emitted(emit, made);
                }
                if left_out {
                    let numbers = before.zip(self.hub.number_of_last()).zip(emit);
                    let numbers = numbers.map(|((before, last), _)| before + 1..=last);
                    self.moves.leave_out(host.as_deref(), numbers);
                }
            }
            PeerMessage::Notice { host, notice } => self.noticed(&host, &notice),
            PeerMessage::Callback(callback) => {
                self.calls
                    .finish(callback.id, Some(callback.args.into_owned()));
            }
            PeerMessage::Here { id, host } => self.calls.found(id, &host),
            PeerMessage::Gone { id } => self.calls.finish(id, None),
            PeerMessage::Disconnect { sid, nsp } if &*nsp == "/" => {
                client(&sid)
                    .map(|sid| self.hub.disconnect(sid, "disconnected by another instance"));
            }
            // A relay enters there, and is heard over its connection.
            PeerMessage::Enter { sid, room } => {
                here(&sid).map(|sid| self.hub.enter(sid, &room));
            }
            PeerMessage::Leave { sid, room } => {
                if let Some(sid) = client(&sid) {
                    self.hub.made_to_leave(sid, &room);
                }
            }
            PeerMessage::Close { nsp, room } => self.hub.close_room(&nsp, &room),
            PeerMessage::Disconnect { .. } | PeerMessage::NotForUs => {}
        }
    }

    /// Sends an event to the sockets of a target that are here, each once, whatever they hear over their relays. Returns how
    /// many got it.
    pub fn emit_here(
        &self,
        target: &Target<'_>,
        event: &str,
        args: &Args<'_>,
        made: Option<&Made>,
    ) -> usize {
        let left_out = self.left_out(target, event, args);
        if left_out.is_empty() {
            return self.hub.emit_as(target, event, args, made);
        }
        let except = target.except.iter().copied();
        let except: Vec<&str> = except.chain(left_out.iter().map(Sid::as_str)).collect();
        self.hub.emit_as(&target.but(&except), event, args, made)
    }

    fn left_out(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> Vec<Sid> {
        self.apart
            .left_out(&self.hub, target, event, args, Instant::now)
    }

    /// A client has this relay now, which is about to be set apart.
    pub fn add_relay(&self, client: Sid, relay: &str) {
        if let Some(before) = self.apart.add(client, relay) {
            self.occupied("/", &before, false);
        }
        self.occupied("/", relay, true);
    }

    /// It has it no more.
    pub fn remove_relay(&self, client: Sid, relay: &str) {
        if self.apart.remove(client, relay) {
            self.occupied("/", relay, false);
        }
    }

    /// Whether a client has heard what comes over its relay.
    pub fn has_heard(&self, client: Sid, event: &str, args: &Args<'_>) -> bool {
        self.apart.has_heard(client, event, args, Instant::now())
    }

    fn emitted(self: &Rc<Self>, emit: &Emit<'_>, made: Option<&Made>) {
        let rooms: Vec<&str> = emit.rooms.iter().flatten().map(|room| &**room).collect();
        let except: Vec<&str> = emit.except.iter().map(|room| &**room).collect();
        let target = Target {
            nsp: &emit.nsp,
            to: match (&emit.rooms, rooms.as_slice()) {
                (None, _) => To::All,
                (Some(_), [room]) => To::Room(room),
                (Some(_), several) => To::Rooms(several),
            },
            except: &except,
        };
        match &emit.reply {
            Some(reply) => self.ask_here(&target, emit, reply),
            None => {
                self.emit_here(&target, &emit.event, &emit.args, made);
                if let To::Room(room) = target.to {
                    self.emit_owed(room, emit);
                }
            }
        }
    }

    /// What is for a relay alone comes over it, unless it was passed over there.
    fn emit_owed(&self, room: &str, emit: &Emit<'_>) {
        if let Some(client) = self.apart.owe(room, &emit.event, &emit.args, Instant::now) {
            self.hub.emit(&Target::sid(client), &emit.event, &emit.args);
        }
    }

    fn complain(&self, what: &str, bytes: usize) {
        metrics::refused("backplane message");
        let now = Instant::now();
        if self.said.get().is_none_or(|said| now - said >= SAY) {
            self.said.set(Some(now));
            log::warn!("a message of another instance is skipped: {what} ({bytes} bytes)");
        }
    }
}

/// After the prefix: the channel of streams of all users.
const STREAMS: &str = "direct_completion";

fn room_channel(nsp: &str, room: &str) -> String {
    format!("{CHANNEL}#{nsp}#{room}")
}

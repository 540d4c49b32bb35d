//! How instances reach each other's sockets: the one way to emit, to enter and to leave rooms.
//!
//! Whatever the application does to sockets goes through here: the local hub first, then whatever links
//! this instance to the others. Alone, the hub is all there is.

#[cfg(feature = "redis")]
mod calls;
#[cfg(not(feature = "redis"))]
mod nobody;
#[cfg(feature = "redis")]
mod publisher;
#[cfg(feature = "redis")]
mod shared;
#[cfg(feature = "redis")]
mod wire;

#[cfg(feature = "redis")]
use crate::Executor;
#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::socket::{Args, CallError, Hub, Sid, Target};
#[cfg(not(feature = "redis"))]
use nobody::Nobody as Others;
use serde_json::value::RawValue;
#[cfg(feature = "redis")]
use shared::Shared as Others;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

/// The hub of this instance and its link to the others.
pub struct Backplane {
    hub: Rc<Hub>,
    link: Link,
    witness: Witness,
}

/// How the others are reached.
enum Link {
    /// There are no others.
    Alone,
    /// Over Redis.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "nobody is ever there")
    )]
    Redis(Rc<Others>),
}

/// Sees every emit: target, event, arguments.
type See = Box<dyn Fn(&Target<'_>, &str, &Args<'_>)>;

/// Who sees what is emitted to sockets here, by whichever instance.
#[derive(Clone, Default)]
struct Witness(Rc<OnceCell<See>>);

/// What tells the other instances of an emit: a message for a channel.
pub struct Outgoing {
    pub channel: Cow<'static, str>,
    pub message: String,
}

impl Witness {
    fn saw(&self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        if let Some(see) = self.0.get() {
            see(target, event, args);
        }
    }
}

impl Backplane {
    /// An instance that is alone.
    pub fn alone(hub: Rc<Hub>) -> Self {
        Self {
            hub,
            link: Link::Alone,
            witness: Witness::default(),
        }
    }

    /// An instance that shares a Redis with others. `room_channels`: `WEBSOCKET_REDIS_ROOM_CHANNELS`.
    #[cfg(feature = "redis")]
    pub fn shared(executor: Executor, hub: Rc<Hub>, redis: Redis, room_channels: bool) -> Self {
        let witness = Witness::default();
        let others = Others::start(executor, hub.clone(), redis, room_channels, witness.clone());
        Self {
            hub,
            link: Link::Redis(others),
            witness,
        }
    }

    /// What the instances share; `None` when this one is alone.
    #[cfg(feature = "redis")]
    pub fn redis(&self) -> Option<&Redis> {
        Some(&self.others()?.redis)
    }

    /// The others, if there may be any.
    fn others(&self) -> Option<&Others> {
        match &self.link {
            Link::Alone => None,
            Link::Redis(others) => Some(others),
        }
    }

    /// What `/ready` says about it.
    pub fn degraded(&self) -> Option<String> {
        self.others()?.degraded()
    }

    /// Whether there are no other instances to reach.
    pub fn is_alone(&self) -> bool {
        matches!(self.link, Link::Alone)
    }

    /// This instance's own sockets.
    pub fn hub(&self) -> &Rc<Hub> {
        &self.hub
    }

    /// Who sees every emit to sockets here, by whichever instance. Set once.
    pub fn set_witness(&self, see: impl Fn(&Target<'_>, &str, &Args<'_>) + 'static) {
        let first = self.witness.0.set(Box::new(see)).is_ok();
        debug_assert!(first, "the witness is set once");
    }

    /// A room got its first member here, or lost its last.
    pub fn room_changed(&self, nsp: &str, room: &str, occupied: bool) {
        if let Some(others) = self.others() {
            others.occupied(nsp, room, occupied);
        }
    }

    /// A socket came or went: it is a room of its own.
    pub fn socket_changed(&self, nsp: &str, sid: Sid, here: bool) {
        self.room_changed(nsp, sid.as_str(), here);
    }

    /// The end: waits until the other instances have been told all that they should know. The caller limits the time.
    pub async fn told(&self) {
        if let Some(others) = self.others() {
            others.told().await;
        }
    }

    /// Sends an event to all sockets of the target, wherever they are. Returns how many got it here.
    pub fn emit(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        if let Some(others) = self.others() {
            others.emit(target, event, args);
        }
        self.emit_here(target, event, args)
    }

    /// Sends an event to the sockets of the target that are here; the others have been told. Returns how many got it.
    pub fn emit_here(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        let here = self.hub.emit(target, event, args);
        self.witness.saw(target, event, args);
        here
    }

    /// What tells the others of an emit, for who publishes it in one step with something else; `None` when there
    /// are none.
    pub fn outgoing(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> Option<Outgoing> {
        Some(self.others()?.outgoing(target, event, args))
    }

    /// Enters a room. Answers when no event to the room can be missed any more; `false` when the socket is not here.
    pub async fn enter(&self, sid: Sid, room: &str) -> bool {
        let entered = self.hub.enter(sid, room);
        match self.others() {
            Some(others) if entered => {
                others.settled().await;
                self.hub.is_connected(sid)
            }
            _ => entered,
        }
    }

    /// A socket enters a room, wherever it is.
    pub async fn enter_anywhere(&self, sid: &str, room: &str) {
        let here = self.here(sid);
        match (here, self.others()) {
            (Some(sid), _) => drop(self.enter(sid, room).await),
            (None, Some(others)) => others.enter(sid, room),
            (None, None) => {}
        }
    }

    /// Leaves a room.
    pub fn leave(&self, sid: Sid, room: &str) {
        self.hub.leave(sid, room);
    }

    /// A socket leaves a room, wherever it is.
    pub fn leave_anywhere(&self, sid: &str, room: &str) {
        match (self.here(sid), self.others()) {
            (Some(sid), _) => self.leave(sid, room),
            (None, Some(others)) => others.leave(sid, room),
            (None, None) => {}
        }
    }

    /// Sends an event to one socket, which may be another instance's, and waits for its ack.
    pub async fn call(
        &self,
        sid: &str,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
    ) -> Result<Args<'static>, CallError> {
        match (self.here(sid), self.others()) {
            (Some(sid), _) => self.hub.call(sid, event, args, timeout).await,
            (None, Some(others)) => others.call(sid, event, args, timeout).await,
            (None, None) => Err(CallError::Gone),
        }
    }

    /// Disconnects a socket, wherever it is, and ends its transport.
    pub fn disconnect(&self, sid: &str) {
        match (self.here(sid), self.others()) {
            (Some(sid), _) => drop(self.hub.disconnect(sid, true)),
            (None, Some(others)) => others.disconnect(sid),
            (None, None) => {}
        }
    }

    /// Everybody leaves the room.
    pub fn close_room(&self, room: &str) {
        self.hub.close_room("/", room);
        if let Some(others) = self.others() {
            others.close_room(room);
        }
    }

    /// Hands an event of a client's stream to the other instances. `false` when there are none.
    pub fn stream(&self, name: &str, data: &RawValue) -> bool {
        let others = self.others();
        if let Some(others) = others {
            others.stream(name, data);
        }
        others.is_some()
    }

    /// Takes the events of streams that clients of other instances send.
    pub fn on_stream(&self, take: impl Fn(&str, &RawValue) + 'static) {
        if let Some(others) = self.others() {
            others.on_stream(take);
        }
    }

    /// The socket, if it is one of this instance.
    fn here(&self, sid: &str) -> Option<Sid> {
        Sid::parse(sid).filter(|sid| self.hub.is_connected(*sid))
    }
}

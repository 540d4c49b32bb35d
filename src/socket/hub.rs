//! The hub: sids, namespaces, rooms, acks, broadcast.
#![allow(unused_variables, clippy::unused_self, clippy::new_without_default)]

use super::{Args, Sid};
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// What remains to do after a handler returned: nothing, or a future that the client's next event waits for.
pub type Step = Option<Pin<Box<dyn Future<Output = ()>>>>;

/// An event from a client. Borrowed from the read buffer: a handler that awaits takes `event.args.into_owned()`.
pub struct Event<'a> {
    pub sid: Sid,
    pub nsp: &'a str,
    pub name: Cow<'a, str>,
    pub args: Args<'a>,
    /// The id to answer with `hub.ack`, when the client asked for an ack.
    pub ack: Option<u64>,
}

/// Why a socket went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client sent DISCONNECT for this namespace.
    ClientDisconnect,
    /// `hub.disconnect`.
    ServerDisconnect,
    /// The transport ended or failed.
    TransportClosed,
    /// No pong in time.
    PingTimeout,
    /// The outbox was full.
    OutboxOverflow,
    /// A packet that breaks the protocol.
    ParseError,
    /// The server is going down.
    Shutdown,
}

/// The application above the protocol. Its methods are called without any borrow held.
pub trait Handler {
    /// May this socket connect to `nsp`? `Err` is the message of the CONNECT_ERROR.
    fn connect(&self, sid: Sid, nsp: &str, auth: &Args<'_>) -> Result<(), Cow<'static, str>>;
    /// The CONNECT packet is on its way; `auth` is the client's auth object, or no argument.
    fn connected(&self, sid: Sid, nsp: &str, auth: Args<'_>) -> Step;
    /// An event arrived. Events of one client come one at a time, in order: the next one waits for the step.
    fn event(&self, event: Event<'_>) -> Step;
    /// The socket has left all rooms and is gone; `rooms` are those it was in.
    fn disconnected(&self, sid: Sid, nsp: &str, rooms: Vec<Rc<str>>, reason: Reason);
    /// A room got its first member (`true`) or lost its last (`false`) here.
    fn room_changed(&self, nsp: &str, room: &Rc<str>, occupied: bool) {}
}

/// Whom an emit is for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub nsp: &'a str,
    pub to: To<'a>,
    /// Rooms and sids (each socket is alone in the room of its sid) that are left out.
    pub except: &'a [&'a str],
}

#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    All,
    /// A room, or a sid as text.
    Room(&'a str),
    /// The union of several; nobody gets it twice.
    Rooms(&'a [&'a str]),
    Sid(Sid),
}

impl<'a> Target<'a> {
    /// Everybody in a room of `/`.
    pub fn room(room: &'a str) -> Self {
        Self {
            nsp: "/",
            to: To::Room(room),
            except: &[],
        }
    }
    /// One socket of `/`.
    pub fn sid(sid: Sid) -> Self {
        Self {
            nsp: "/",
            to: To::Sid(sid),
            except: &[],
        }
    }
    /// The same, leaving out these rooms or sids.
    pub fn but(self, except: &'a [&'a str]) -> Self {
        Self { except, ..self }
    }
}

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No ack in time.
    Timeout,
    /// The socket left before it answered, or was not there.
    Gone,
}

/// All sockets of this instance. Every method is synchronous (they can't be interleaved), but `call`.
pub struct Hub {}

impl Hub {
    /// An empty hub. `set_handler` follows before the first connection.
    pub fn new() -> Rc<Self> {
        unimplemented!()
    }
    /// The application above.
    pub fn set_handler(&self, handler: Rc<dyn Handler>) {
        unimplemented!()
    }

    /// Sends an event to this instance's sockets: encoded once, shared by all. Returns how many got it.
    pub fn emit(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        unimplemented!()
    }

    /// Sends an event to one socket and calls `done` once: with its ack, or `None` when it went before answering.
    /// Returns the ack id for `forget`; `None` (and no call) when the socket is not here.
    pub fn emit_with_ack(
        &self,
        sid: Sid,
        event: &str,
        args: &Args<'_>,
        done: Box<dyn FnOnce(Option<Args<'static>>)>,
    ) -> Option<u64> {
        unimplemented!()
    }
    /// Stops waiting for an ack.
    pub fn forget(&self, sid: Sid, ack: u64) {
        unimplemented!()
    }
    /// Sends an event to one socket and waits for its ack.
    pub async fn call(
        &self,
        sid: Sid,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
    ) -> Result<Args<'static>, CallError> {
        unimplemented!()
    }
    /// Answers a client's event.
    pub fn ack(&self, sid: Sid, ack: u64, args: &Args<'_>) {
        unimplemented!()
    }

    /// Enters a room; `false` when the socket is not here.
    pub fn enter(&self, sid: Sid, room: &str) -> bool {
        unimplemented!()
    }
    /// Leaves a room; `false` when it was not in it.
    pub fn leave(&self, sid: Sid, room: &str) -> bool {
        unimplemented!()
    }
    /// Empties a room of a namespace.
    pub fn close_room(&self, nsp: &str, room: &str) {
        unimplemented!()
    }
    pub fn is_connected(&self, sid: Sid) -> bool {
        unimplemented!()
    }
    pub fn is_in(&self, sid: Sid, room: &str) -> bool {
        unimplemented!()
    }
    /// The sids in a room of `/`, in no order.
    pub fn members(&self, room: &str) -> Vec<Sid> {
        unimplemented!()
    }
    /// The rooms of a socket, its own sid's not among them.
    pub fn rooms(&self, sid: Sid) -> Vec<Rc<str>> {
        unimplemented!()
    }
    /// Each room of a namespace with its number of members.
    pub fn occupied(&self, nsp: &str) -> Vec<(Rc<str>, usize)> {
        unimplemented!()
    }
    /// Each socket of `/`.
    pub fn sids(&self) -> Vec<Sid> {
        unimplemented!()
    }

    /// Disconnects one namespace (DISCONNECT packet); `disconnected` is called before this returns.
    /// `close` also ends the transport below and with it its other namespaces. `false` when it is not here.
    pub fn disconnect(&self, sid: Sid, close: bool) -> bool {
        unimplemented!()
    }
    /// Tells every socket to go and ends every transport.
    pub fn shutdown(&self) {
        unimplemented!()
    }
}

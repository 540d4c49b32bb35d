//! What the hub and the application above it say to each other.

use super::question::Done;
use super::{Args, Sid};
use std::any::Any;
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::engine::Closed;
pub use crate::engine::Step;

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
    /// `hub.disconnect`, with its reason.
    ServerDisconnect(&'static str),
    /// The session below has ended.
    Ended(Closed),
}

impl Reason {
    /// The sentence for who asks.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ClientDisconnect => "the client said goodbye",
            Self::ServerDisconnect(why) => why,
            Self::Ended(why) => why.sentence(),
        }
    }
}

/// The application above the protocol. Its methods are called without any borrow held.
pub trait Handler {
    /// May this socket connect to `nsp`? `Err` is the message of the CONNECT_ERROR.
    fn connect(&self, sid: Sid, nsp: &str, auth: &Args<'_>) -> Result<(), Cow<'static, str>>;
    /// The CONNECT packet is on its way; `auth` is the client's auth object, or no argument.
    fn connected(&self, sid: Sid, nsp: &str, auth: Args<'_>) -> Step;
    /// An event arrived. Events of one client come one at a time, in order: the next one waits for the step.
    fn event(&self, event: Event<'_>) -> Step;
    /// A socket's packet of so many bytes came; how long its client's next one has to wait, if there were too many.
    fn pay(&self, _sid: Sid, _bytes: usize) -> Option<Duration> {
        None
    }
    /// A packet of the client is dropped: its JSON nests deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    fn too_deep(&self, _sid: Sid) {}
    /// The socket has left all rooms and is gone.
    fn disconnected(&self, sid: Sid, nsp: &str, reason: Reason);
    /// A socket is about to enter a room: what it should hear before all else there is to be sent now.
    fn entering(&self, _sid: Sid, _room: &str) {}
    /// A socket that is still here has left a room, or is not to enter it, by whoever's word.
    fn left(&self, _sid: Sid, _room: &str) {}
    /// What becomes of an event for a socket that is behind. Must not call the hub.
    fn lateness(&self, _target: &Target<'_>, _event: &str, _args: &Args<'_>) -> Lateness {
        Lateness::Waits
    }
    /// A client sends more than it may; from now on it is read at its rate. Called once a session.
    fn slowed(&self, _sid: Sid) {}
    /// An event was emitted to the sockets of a target here, by whichever instance.
    fn emitted(&self, _target: &Target<'_>, _event: &str, _args: &Args<'_>) {}
    /// Whether who was away gets an event when it comes back. Must not call the hub.
    fn is_replayed(&self, _target: &Target<'_>, _event: &str, _args: &Args<'_>) -> bool {
        true
    }
    /// What is kept of a socket, so that its client can take it up again; `None` when nobody is to.
    fn remember(&self, _sid: Sid) -> Option<Memo> {
        None
    }
    /// The same for another process.
    fn write_memo(&self, _memo: &Memo) -> Vec<u8> {
        Vec::new()
    }
    /// The same of another process; `None` if it is none.
    fn read_memo(&self, _bytes: &[u8]) -> Option<Memo> {
        None
    }
    /// Whether a socket that comes back is in this room again.
    fn returns_to(&self, _room: &str) -> bool {
        true
    }
    /// Somebody wants to take a socket up: if they may, what [`came_back`](Self::came_back) is told.
    fn comes_back(&self, _memo: Memo, _auth: &Args<'_>) -> Option<Comes> {
        None
    }
    /// Looks for a session of this private id at other instances, whose client has got the event `offset`; `None` when there
    /// are none, or nobody is to have it who says this.
    fn find(&self, _pid: &str, _offset: Option<&str>, _auth: &Args<'_>) -> Option<Find> {
        None
    }
    /// A socket that was gone is here again, in its rooms; the CONNECT packet is on its way.
    fn came_back(&self, _sid: Sid, _who: Memo) -> Step {
        None
    }
    /// A socket that was gone does not come back.
    fn given_up(&self, _sid: Sid) {}
    /// A room got its first member (`true`) or lost its last (`false`) here.
    fn room_changed(&self, _nsp: &str, _room: &Rc<str>, _occupied: bool) {}
}

/// What the application keeps of a socket that may come back, or knows of who comes.
pub type Memo = Rc<dyn Any>;

/// Finds out who comes back.
pub type Comes = Pin<Box<dyn Future<Output = Option<Memo>>>>;

/// A session of another instance: what that tells of it, and how it is had from there.
pub struct Found {
    pub offer: Vec<u8>,
    pub fetch: Box<dyn FnOnce() -> Fetch>,
}

/// Finds a session.
pub type Find = Pin<Box<dyn Future<Output = Result<Found, &'static str>>>>;

/// Takes it from there.
pub type Fetch = Pin<Box<dyn Future<Output = Result<Fetched, &'static str>>>>;

/// A session that has left its instance.
pub struct Fetched {
    /// What follows this event here is its,
    pub from: u64,
    /// but for these, in their order: what it had of them is among what it missed there.
    pub left_out: Vec<u64>,
    /// What its instance handed out.
    pub handed: Vec<u8>,
    /// Who is to be told the answer to a question of that number there.
    pub answers: Box<dyn Fn(u64) -> Done>,
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

/// What becomes of an event for a socket that is slow to take what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// It waits like all others.
    Waits,
    /// It is left out: soon it would be old.
    LeftOut,
    /// The last one of its kind, by this number, is sent when nothing else waits.
    Last(u64),
}

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No ack in time.
    Timeout,
    /// The socket left before it answered, or was not there.
    Gone,
}

//! Engine.IO v4 (protocol revision 4): sessions over HTTP long-polling and websocket. No Socket.IO word in it.

mod allowance;
mod beat;
mod budget;
mod decoder;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod heartbeat;
mod mark;
mod packet;
mod polling;
#[cfg(test)]
mod random_tests;
mod receive;
mod relief;
mod request;
mod session;
mod sid;
mod stream;
mod trace;
mod turn;
mod websocket;
mod wire;

pub use crate::config::Transports;
pub use allowance::Allowance;
pub use mark::Mark;
pub use packet::{Message, Packet};
pub use session::{Closed, Session, Transport};
pub use sid::{BySid, Sid};
pub use turn::try_step;

use crate::ground::net::Tally;
use crate::ground::net::input::InputBudget;
use crate::ground::tasks::{Bell, Executor, Tasks, within};
use crate::outbox::{Bounds, Frame};
use heartbeat::Heartbeats;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// How long messages that have come are waited for once the server is going down.
const LAST: Duration = Duration::from_secs(5);

/// What remains to do after a handler returned: nothing, or a future that the client's next message waits for.
pub type Step = Option<Pin<Box<dyn Future<Output = ()>>>>;

/// The layer above. Its methods are called without any borrow held.
pub trait Handler {
    /// A session begins.
    fn opened(&self, session: &Rc<Session>);
    /// A message arrived. Messages of one session come one at a time, in order.
    fn message(&self, session: &Rc<Session>, message: Message<'_>) -> Step;
    /// The session has ended.
    fn closed(&self, session: &Rc<Session>, why: Closed);
    /// The session sends more than it may: from now on it is read at its rate. Called once.
    fn slowed(&self, _session: &Rc<Session>) {}
    /// Whether anything uses the session; one that is not in use for two heartbeats is closed.
    fn in_use(&self, session: &Rc<Session>) -> bool;
}

/// Whom a session is with.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client came over TLS, as far as a proxy tells.
    pub https: bool,
    /// Whether the client is a browser, as far as its first request tells.
    pub browser: bool,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        let (https, browser) = (false, false);
        Self {
            address,
            https,
            browser,
        }
    }
}

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From one heartbeat to the next.
    pub ping_interval: Duration,
    /// From a heartbeat to its latest answer.
    pub ping_timeout: Duration,
    /// Bytes of one message from a client, and of one polling payload to it, at most.
    pub max_payload: usize,
    /// Bytes of one message of who has not signed in, at most.
    pub strangers_payload: usize,
    /// Bytes of all input that is unfinished, of all connections.
    pub input_bytes: usize,
    /// What may wait for one session.
    pub outbox: Bounds,
    /// What may wait for all sessions together.
    pub outboxes: usize,
    /// Messages of one session a second; `None`: no limit.
    pub messages_per_second: Option<usize>,
    /// Sessions at a time.
    pub sessions: usize,
    /// Sessions of one client address at a time.
    pub sessions_per_address: usize,
    pub transports: Transports,
}

/// All sessions of one path.
pub struct Engine {
    settings: Settings,
    tasks: Tasks,
    /// What messages of websockets wait for.
    steps: Tasks,
    handler: Rc<dyn Handler>,
    sessions: RefCell<Slab<Rc<Session>>>,
    by_sid: RefCell<BySid<u32>>,
    /// How many sessions each client address has.
    by_address: Tally,
    /// Streams of websockets that are open, the ones that are being closed among them.
    streams: Cell<usize>,
    /// Rung when the last of them is closed.
    streams_closed: Bell,
    /// Rung when something of what waits for a session was taken.
    taken: Bell,
    /// Bytes that have come to wait since all outboxes were looked at; see `relief`.
    grown: Cell<usize>,
    /// Rung when the server is going down.
    going: Bell,
    is_going: Cell<bool>,
    /// The number of the next session; see `Session::key`.
    serial: Cell<u32>,
    heartbeats: Heartbeats,
    /// What all websockets read into, one at a time.
    read_buffer: Cell<Vec<u8>>,
    /// The heartbeat's frame.
    ping: Frame,
}

impl Engine {
    /// An engine without sessions; its tasks run on `executor`.
    pub fn new(executor: Executor, settings: Settings, handler: Rc<dyn Handler>) -> Rc<Self> {
        let late = Tasks::new(executor);
        InputBudget::start(late, settings.input_bytes, settings.max_payload);
        let engine = Rc::new(Self {
            heartbeats: Heartbeats::new(settings.ping_interval),
            settings,
            tasks: Tasks::new(executor),
            steps: Tasks::new(executor),
            handler,
            sessions: RefCell::default(),
            by_sid: RefCell::default(),
            by_address: Tally::default(),
            streams: Cell::default(),
            streams_closed: Bell::default(),
            taken: Bell::default(),
            grown: Cell::default(),
            going: Bell::default(),
            is_going: Cell::default(),
            serial: Cell::default(),
            read_buffer: Cell::default(),
            ping: frame::packet(&["2"], &[]),
        });
        let beating = engine.clone();
        engine.tasks.spawn("heartbeats", async move {
            beating.heartbeats.run(&beating).await;
        });
        engine
    }

    /// How many sessions live.
    pub fn len(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Whether no session lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many websockets are open, those that are being probed or closed among them.
    pub fn websockets(&self) -> usize {
        self.streams.get()
    }

    /// Waits until no websocket is open, and what their messages began is done. The caller limits the time.
    pub async fn websockets_closed(&self) {
        let none = || (self.streams.get() == 0).then_some(());
        self.streams_closed.until(none).await;
        self.steps.idle().await;
    }

    /// Ends every session, each once all that has come of it is handled, and those whose messages wait longer than
    /// [`LAST`] all the same: the server is going down.
    pub fn shutdown(self: &Rc<Self>) {
        self.is_going.set(true);
        self.going.ring();
        self.taken.ring();
        self.all().iter().for_each(Session::go);
        let engine = self.clone();
        self.tasks.spawn("the last sessions", async move {
            smol::Timer::after(LAST).await;
            for session in engine.all() {
                session.close(Closed::Shutdown);
            }
        });
    }

    fn all(&self) -> Vec<Rc<Session>> {
        let sessions = self.sessions.borrow();
        sessions.iter().map(|(_, s)| s.clone()).collect()
    }

    /// Waits for so long, or until the server is going down.
    async fn pause(&self, time: Duration) {
        let going = || self.is_going.get().then_some(());
        within(time, self.going.until(going)).await;
    }

    fn handler(&self) -> &dyn Handler {
        self.handler.as_ref()
    }

    /// A new session, known by its sid, with its first heartbeat scheduled. The open packet is its first frame.
    fn open(self: &Rc<Self>, peer: Peer, transport: Transport) -> Rc<Session> {
        let session = Session::new(self.clone(), peer, transport);
        let serial = self.serial.get();
        self.serial.set(serial.wrapping_add(1));
        let key = self.sessions.borrow_mut().insert(session.clone()) as u32;
        session.key.set((key, serial));
        self.by_sid.borrow_mut().insert(session.sid, key);
        self.by_address.add(peer.address);
        self.heartbeats
            .schedule(&session, self.settings.ping_interval);
        session.send(&self.open_packet(session.sid, transport));
        self.handler().opened(&session);
        session
    }

    fn open_packet(&self, sid: Sid, transport: Transport) -> Frame {
        let upgrades = match (transport, self.settings.transports) {
            (Transport::Polling, Transports::Both) => "[\"websocket\"]",
            _ => "[]",
        };
        let (interval, timeout) = (
            self.settings.ping_interval.as_millis(),
            self.settings.ping_timeout.as_millis(),
        );
        let max = self.settings.max_payload;
        let json = format!(
            "0{{\"sid\":\"{sid}\",\"upgrades\":{upgrades},\"pingInterval\":{interval},\"pingTimeout\":{timeout},\"maxPayload\":{max}}}"
        );
        frame::packet(&[&json], &[])
    }

    fn find(&self, sid: &str) -> Option<Rc<Session>> {
        let key = *self.by_sid.borrow().get(&Sid::parse(sid)?)?;
        self.sessions.borrow().get(key as usize).cloned()
    }

    /// The session in a place of the table, if it is still the same one.
    fn at(&self, key: (u32, u32)) -> Option<Rc<Session>> {
        let session = self.sessions.borrow().get(key.0 as usize).cloned()?;
        (session.key.get() == key).then_some(session)
    }

    /// Takes a session out of the table.
    fn forget(&self, session: &Session) {
        if self.by_sid.borrow_mut().remove(&session.sid).is_some() {
            self.sessions
                .borrow_mut()
                .remove(session.key.get().0 as usize);
            self.by_address.remove(session.peer.address);
        }
    }

    /// Whether an address has as many sessions as it may have.
    fn is_crowded(&self, peer: IpAddr) -> bool {
        self.by_address.of(peer) >= self.settings.sessions_per_address
    }
}

/// The refusals of the protocol: HTTP 400 with a JSON body of code and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    UnknownTransport,
    UnknownSid,
    BadMethod,
    BadRequest,
    UnsupportedVersion,
    TooLarge,
    /// The page's origin is not allowed to connect.
    Origin,
    /// One address has as many sessions as it may have.
    Crowded,
    /// There are as many sessions as there may be.
    Full,
    /// There was no room for what it sends.
    NoRoom,
    /// A websocket over HTTP/1.0.
    OldHttp,
}

impl Failure {
    /// HTTP status, code and message.
    pub fn parts(self) -> (u16, u8, &'static str) {
        match self {
            Self::UnknownTransport => (400, 0, "Transport unknown"),
            Self::UnknownSid => (400, 1, "Session ID unknown"),
            Self::BadMethod => (400, 2, "Bad handshake method"),
            Self::BadRequest => (400, 3, "Bad request"),
            Self::UnsupportedVersion => (400, 5, "Unsupported protocol version"),
            Self::TooLarge => (413, 3, "Payload too large"),
            Self::Origin => (400, 3, "Not an accepted origin"),
            Self::Crowded => (503, 4, "Too many sessions of one address"),
            Self::Full => (503, 4, "Too many sessions"),
            Self::NoRoom => (503, 4, "Too much unfinished input"),
            Self::OldHttp => (400, 3, "A websocket needs HTTP/1.1"),
        }
    }
}

/// Sessions without a connection, for tests of the layer above.
#[cfg(test)]
impl Engine {
    /// A browser's session.
    pub fn open_alone(self: &Rc<Self>) -> Rc<Session> {
        let mut peer = Peer::from(IpAddr::from([127, 0, 0, 1]));
        peer.browser = true;
        self.open(peer, Transport::Polling)
    }
}

#[cfg(test)]
impl Session {
    /// A packet comes.
    pub fn hear(self: &Rc<Self>, packet: &str) -> Step {
        self.receive_text(packet)
    }

    /// The first frame that waits; as after a poll, what was kept for when the client is ready follows the rest.
    pub fn pop(&self) -> Option<Frame> {
        self.take_for_poll(0).pop()
    }
}

//! What a client event means, one file a family.
//!
//! - [`session`] for CONNECT, `user-join`, `join-channels`, `heartbeat`, going, the 30 s re-check
//! - [`usage`] for `usage` and its sweep
//! - [`channel`] for `events:channel`
//! - [`chat`] for `events:chat`, presence
//! - [`note`] for `join-note`
//! - [`document`] for `ydoc:*`
//! - [`stream`] for `{user}:{session}:{request}`
//! - [`payload`] for what the fields of payloads may be
//! - [`limit`] for how many events a socket may send

pub mod channel;
pub mod chat;
pub mod document;
pub mod limit;
pub mod note;
pub mod payload;
pub mod session;
pub mod stream;
pub mod usage;

use crate::directory::{Identity, Refusal};
use crate::house::House;
use crate::metrics;
use crate::socket::{Args, Event, Handler, Reason, Sid, Step, Target};
use crate::state;
use limit::{Limit, Verdict};
use log::Level;
use serde_json::json;
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

/// Who sent an event: a signed-in socket. Identity comes from here, never from a payload.
pub struct Sender {
    pub house: Rc<House>,
    pub sid: Sid,
    pub who: Rc<Identity>,
}

/// Why an event came to nothing. The client is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody has signed in on this socket.
    Anonymous,
    /// A field is missing, of another type, or beyond its limit.
    Payload,
    /// Not allowed, or no such thing.
    Denied(&'static str),
    /// The directory can't tell.
    Unavailable(&'static str),
    /// A limit of the session is reached.
    Full(&'static str),
    /// The socket left while its event was handled.
    Gone,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied(why) => Self::Denied(why),
            Refusal::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// The ack's arguments, sent if the client asked for an ack.
pub type Answer = Result<Args<'static>, Fault>;

/// What a handler returns.
pub enum Work {
    /// It is done.
    Now(Answer),
    /// It has to wait for something; the client's next event waits for it.
    Later(Pin<Box<dyn Future<Output = Answer>>>),
}

impl Work {
    pub fn later(future: impl Future<Output = Answer> + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Nothing happens, for this reason.
    pub fn refuse(fault: Fault) -> Self {
        Self::Now(Err(fault))
    }

    /// Done, with nothing to say.
    pub fn done() -> Self {
        Self::Now(Ok(Args::none()))
    }
}

/// The application above the hub.
pub struct Dispatch {
    house: Rc<House>,
    limit: Limit,
}

impl Dispatch {
    pub fn new(house: Rc<House>) -> Rc<Self> {
        let limit = Limit::new(house.config.events_per_second);
        Rc::new(Self { house, limit })
    }

    /// What each event name means. The static name is the one for log lines.
    fn handle(&self, sid: Sid, name: &str, args: &Args<'_>) -> (&'static str, Work) {
        type Handle = fn(Sender, &Args<'_>) -> Work;
        let (label, handle): (&'static str, Handle) = match name {
            "user-join" => return ("user-join", session::user_join(&self.house, sid, args)),
            "join-channels" => ("join-channels", session::join_channels),
            "heartbeat" => ("heartbeat", session::heartbeat),
            "usage" => ("usage", usage::usage),
            "events:channel" => ("events:channel", channel::event),
            "events:chat" => ("events:chat", chat::event),
            "join-note" => ("join-note", note::join),
            "ydoc:document:join" => ("ydoc:document:join", document::join),
            "ydoc:document:state" => ("ydoc:document:state", document::state),
            "ydoc:document:update" => ("ydoc:document:update", document::update),
            "ydoc:document:leave" => ("ydoc:document:leave", document::leave),
            "ydoc:awareness:update" => ("ydoc:awareness:update", document::awareness),
            name if stream::is_name(name) => {
                let work = self.sender(sid).map(|from| stream::event(from, name, args));
                return ("stream", work.unwrap_or_else(Work::refuse));
            }
            _ => ("other", |_, _| Work::refuse(Fault::Denied("no such event"))),
        };
        let work = self.sender(sid).map(|from| handle(from, args));
        (label, work.unwrap_or_else(Work::refuse))
    }

    /// The signed-in sender; one whose token has expired is disconnected.
    fn sender(&self, sid: Sid) -> Result<Sender, Fault> {
        let house = self.house.clone();
        let who = house.sessions.who(sid).ok_or(Fault::Anonymous)?;
        if session::expired(&who, state::now()) {
            house.hub.disconnect(sid, true);
            return Err(Fault::Denied("the token has expired"));
        }
        Ok(Sender { house, sid, who })
    }

    fn too_many(&self, sid: Sid, first: bool) {
        metrics::refused("event rate");
        if first {
            log::warn!("{sid} sends too many events, some are dropped");
            tell(&self.house, sid, "Too many events, some are dropped");
        }
    }
}

impl Handler for Dispatch {
    fn connect(&self, _sid: Sid, nsp: &str, _auth: &Args<'_>) -> Result<(), Cow<'static, str>> {
        match nsp {
            "/" => Ok(()),
            _ => Err("Invalid namespace".into()),
        }
    }

    fn connected(&self, sid: Sid, nsp: &str, auth: Args<'_>) -> Step {
        self.house.backplane.socket_changed(nsp, sid, true);
        session::connected(&self.house, sid, &auth)
    }

    fn event(&self, event: Event<'_>) -> Step {
        if let Verdict::Drop { first } = self.limit.pass(event.sid, Instant::now()) {
            self.too_many(event.sid, first);
            return None;
        }
        let (label, work) = self.handle(event.sid, &event.name, &event.args);
        metrics::event(label);
        let (house, sid, ack) = (self.house.clone(), event.sid, event.ack);
        match work {
            Work::Now(answer) => {
                finish(&house, sid, label, ack, answer);
                None
            }
            Work::Later(future) => Some(Box::pin(async move {
                let answer = future.await;
                finish(&house, sid, label, ack, answer);
            })),
        }
    }

    fn disconnected(&self, sid: Sid, nsp: &str, reason: Reason) {
        log::debug!("{sid} has gone: {reason:?}");
        self.house.backplane.socket_changed(nsp, sid, false);
        self.limit.forget(sid);
        self.house.told.forget(sid);
        session::gone(&self.house, sid);
        document::gone(&self.house, sid);
    }

    fn left(&self, sid: Sid, room: &str) {
        chat::left(&self.house, sid, room);
    }

    fn room_changed(&self, nsp: &str, room: &Rc<str>, occupied: bool) {
        self.house.backplane.room_changed(nsp, room, occupied);
    }
}

/// Answers an event, or logs why there is no answer.
fn finish(house: &House, sid: Sid, event: &str, ack: Option<u64>, answer: Answer) {
    match answer {
        Ok(args) => {
            if let Some(ack) = ack {
                house.hub.ack(sid, ack, &args);
            }
        }
        Err(Fault::Unavailable(why)) => {
            // The directory has said in the log what is wrong: one line for the outage, not one an event.
            metrics::refused("directory unavailable");
            log::debug!("{event} of {sid} failed: {why}");
        }
        Err(Fault::Full(limit)) => {
            metrics::refused(limit);
            let level = log_level(house, sid, limit, Level::Info);
            log::log!(level, "{event} of {sid} is refused: {limit}");
        }
        Err(fault) => log::debug!("{event} of {sid} is ignored: {fault:?}"),
    }
}

/// The level for a line about a limit that a socket has run into: one client must not fill the log.
pub fn log_level(house: &House, sid: Sid, limit: &'static str, level: Level) -> Level {
    match house.hub.is_connected(sid) {
        true => house.told.level(sid, limit, level),
        false => level,
    }
}

/// Sends `error` to one socket.
pub fn tell(house: &House, sid: Sid, message: &str) {
    let args = Args::one(&json!({ "message": message }));
    house.hub.emit(&Target::sid(sid), "error", &args);
}

/// Enters a room for a session, within its limit. Answers when no event to the room can be missed any more.
pub async fn enter(house: &House, sid: Sid, room: &str) -> Result<(), Fault> {
    if house.hub.is_in(sid, room) {
        return Ok(());
    }
    if house.hub.rooms(sid).len() >= house.config.max_rooms {
        return Err(Fault::Full("rooms of a session"));
    }
    match house.backplane.enter(sid, room).await {
        true => Ok(()),
        false => Err(Fault::Gone),
    }
}

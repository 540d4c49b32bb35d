//! What all parts of the application stand on: sockets, directory, peers, pools; and who sent an event, and why it failed.

use super::limit::Limit;
use super::news::News;
use crate::config::Config;
use crate::directory::{Directory, Identity, Refusal};
use crate::ground::net::Reactor;
use crate::ground::tasks::Executor;
use crate::metrics;
use crate::peers::Peers;
use crate::peers::documents::SharedDocuments;
use crate::peers::pools::Pools;
use crate::socket::{Args, Hub, Sid, Target};
use crate::token::Key;
use log::Level;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// What each socket that gets a user's event costs, and how many bytes that are made for one cost as much as an event.
const EACH: f32 = 1.0 / 8.0;
const BYTES: f32 = 65536.0;

/// Why something of a document or its note is not taken, as clients are told.
pub const TOO_LARGE: &str = "too large";
pub const UNAVAILABLE: &str = "unavailable";
pub const DENIED: &str = "denied";

/// The handles that every part may need. Made once, never dropped.
pub struct Core {
    pub config: Rc<Config>,
    /// What users' tokens are verified with.
    pub key: Key,
    pub executor: Executor,
    /// This instance's sockets; what concerns other instances too goes through `peers`.
    pub hub: Rc<Hub>,
    pub peers: Peers,
    pub directory: Directory,
    pub documents: SharedDocuments,
    pub pools: Pools,
    pub limits: ReachedLimits,
    pub limit: Limit,
    pub news: News,
}

/// A signed-in socket that sent an event. Identity comes from here, never from a payload.
#[derive(Clone)]
pub struct Sender {
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

impl Core {
    /// Enters a room for a session, within its limit. Answers when no event to the room can be missed any more.
    ///
    /// # Errors
    /// The session is in as many rooms as it may, or has left.
    pub async fn enter(&self, sid: Sid, room: &str) -> Result<(), Fault> {
        if self.hub.is_in(sid, room) {
            return Ok(());
        }
        if self.hub.rooms(sid).len() >= self.config.max_rooms {
            return Err(Fault::Full("rooms of a session"));
        }
        match self.peers.enter(sid, room).await {
            true => Ok(()),
            false => Err(Fault::Gone),
        }
    }

    /// Charges the user of a socket for something; how long its next message has to wait if it was too much.
    pub fn pay(&self, sid: Sid, cost: f32) -> Option<Duration> {
        if self.limit.is_none() {
            return None;
        }
        let who = self.pools.sessions.who(sid)?;
        let now = Reactor::with(|reactor| reactor.turns().began());
        self.limit.pay(&who.user.id, cost, now)
    }

    /// Sends what somebody's event says to a target, and charges its user for each who gets it here: what comes next from there
    /// waits if that was too much.
    pub fn emit_for(&self, from: &Sender, target: &Target<'_>, event: &str, args: &Args<'_>) {
        let reached = self.peers.emit(target, event, args);
        self.pay(from.sid, reached as f32 * EACH);
    }

    /// The same with what soon would be old: left out if there is too much of it.
    pub fn emit_news(&self, from: &Sender, target: &Target<'_>, event: &str, args: &Args<'_>) {
        let sid = from.sid.as_str();
        if self.news.may_send(sid) {
            self.news.pay(sid, args.json().len());
            self.emit_for(from, target, event, args);
        }
    }

    /// Charges for so many bytes that are made for one socket.
    pub fn pay_for_bytes(&self, sid: Sid, bytes: usize) {
        self.pay(sid, bytes as f32 / BYTES);
    }

    /// Sends `error` with a sentence for a person to one socket.
    pub fn send_error(&self, sid: Sid, message: &str) {
        let args = Args::one(&json!({ "message": message }));
        self.hub.emit(&Target::sid(sid), "error", &args);
    }

    /// The same about what it brought of a document; `reason` is a word for its program.
    pub fn send_document_error(&self, sid: Sid, document_id: &str, reason: &str, message: &str) {
        let (id, message) = (json!(document_id), json!(message));
        let error = format!(r#"{{"message":{message},"document_id":{id},"reason":"{reason}"}}"#);
        let args = Args::from_json(error);
        self.hub.emit(&Target::sid(sid), "error", &args);
    }

    /// Counts that a socket has reached a limit, and returns the level for a line about it: one client must not fill
    /// the log.
    pub fn limit_reached(&self, sid: Sid, limit: &'static str, level: Level) -> Level {
        metrics::refused(limit);
        self.level(sid, limit, level)
    }

    /// The level for a line about a limit: `level` the first time for this socket.
    pub fn level(&self, sid: Sid, limit: &'static str, level: Level) -> Level {
        match self.hub.is_connected(sid) {
            true => self.limits.level(sid, limit, level),
            false => level,
        }
    }

    /// What is not as it should be, so that no traffic should come: each part with a sentence why. Who has not shown the API's
    /// key is not told the sentences, since they say where things are.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let parts = [
            (self.directory.name(), self.directory.degraded()),
            ("Redis", self.peers.degraded()),
        ];
        let wrong = |(part, why): (_, Option<String>)| Some((part, why?));
        parts.into_iter().filter_map(wrong).collect()
    }
}

/// Which limits a socket has reached: the log says each of them once a socket where everybody looks, then only in detail.
#[derive(Default)]
pub struct ReachedLimits(RefCell<HashMap<Sid, Vec<&'static str>>>);

impl ReachedLimits {
    /// At which level it is worth saying that this socket, which is connected, has reached this limit: `first` the first
    /// time.
    fn level(&self, sid: Sid, limit: &'static str, first: Level) -> Level {
        let mut sockets = self.0.borrow_mut();
        let limits = sockets.entry(sid).or_default();
        if limits.contains(&limit) {
            return Level::Debug;
        }
        limits.push(limit);
        first
    }

    /// The socket is gone.
    pub fn forget(&self, sid: Sid) {
        self.0.borrow_mut().remove(&sid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_news_once_a_socket() {
        let reached = ReachedLimits::default();
        let (a, b) = (Sid::random(), Sid::random());
        let levels = [(a, "x"), (a, "x"), (a, "y"), (b, "x"), (a, "y")];
        let levels = levels.map(|(sid, limit)| reached.level(sid, limit, Level::Info));
        use Level::{Debug, Info};
        assert_eq!(levels, [Info, Debug, Info, Info, Debug]);
        reached.forget(a);
        assert_eq!(reached.level(a, "x", Info), Info);
        reached.forget(a);
        reached.forget(b);
        assert!(reached.0.borrow().is_empty());
    }
}

//! The directory that Open WebUI keeps: asked over its REST, with the user's own token.
//!
//! - [`client`]: connections, deadlines, bounds
//! - [`watch`]: whether it is there
//! - [`cache`]: what it answered a moment ago
//! - [`people`], [`notes`], [`chats`]: one file a kind of question
//! - [`relay`]: what only its own socket can do
//!
//! While it is away, what was answered lately stands in; what can't be known is [`Refusal::Unavailable`].
//! Its 401 and 403 to anything but "who am I" mean no access to that thing, its 404 no such thing.

mod cache;
mod chats;
mod client;
mod notes;
mod people;
mod relay;
mod watch;

use super::{Access, Refusal, User};
use crate::config::HttpUrl;
use crate::ground::tasks::{Executor, Tasks};
use crate::socket::Hub;
use cache::Cache;
use client::{Client, Question, Trouble};
use hyper::StatusCode;
use hyper::body::Bytes;
pub use relay::Read;
use relay::Relay;
use serde::de::DeserializeOwned;
use std::rc::Rc;
use std::time::{Duration, Instant};
use watch::{Watch, odd_status};

const WHO_AM_I: &str = "/api/v1/auths/";

/// How long an answer about access holds. That there is none is asked again each time.
const HOLDS: Duration = Duration::from_secs(5);

const AWAY: Refusal = Refusal::Unavailable("Open WebUI does not answer");

/// Open WebUI, as one of its users sees it.
pub struct OpenWebui {
    tasks: Tasks,
    /// For log lines.
    address: String,
    /// Does it share a Redis with us? Then what it emits reaches our sockets without our help.
    shares_redis: bool,
    client: Client,
    watch: Watch,
    /// By token: whom it was accepted for.
    users: Cache<User>,
    /// By token, for the time of an outage.
    channels: Cache<Vec<String>>,
    /// By user and note or chat.
    access: Cache<Access>,
    relay: Relay,
}

/// What it says to a question that it understood.
enum Says {
    Yes(Bytes),
    /// Yes, with more than is taken.
    TooMuch,
    No(StatusCode),
}

impl OpenWebui {
    /// Starts looking whether Open WebUI is there, and returns at once. Without a shared Redis, `hub` gets what it tells
    /// about what was relayed.
    pub fn start(executor: Executor, url: HttpUrl, hub: Rc<Hub>, shares_redis: bool) -> Rc<Self> {
        let webui = Rc::new(Self {
            tasks: Tasks::new(executor),
            address: url.to_string(),
            shares_redis,
            client: Client::new(executor, url.clone()),
            watch: Watch::default(),
            users: Cache::default(),
            channels: Cache::default(),
            access: Cache::default(),
            relay: Relay::new(url, (!shares_redis).then_some(hub)),
        });
        webui.look(None);
        webui
    }

    /// Does what it emits reach our sockets over Redis?
    pub fn shares_redis(&self) -> bool {
        self.shares_redis
    }

    pub(super) fn degraded(&self) -> Option<String> {
        let why = self.watch.why()?;
        Some(format!("Open WebUI at {} is away: {why}", self.address))
    }

    /// Delivers what is to be relayed; for a server that goes down.
    pub(super) async fn close(self: &Rc<Self>) {
        self.deliver_last().await;
    }

    /// Asks, unless it is known to be away.
    async fn ask(self: &Rc<Self>, question: Question<'_>) -> Result<Says, Refusal> {
        match self.watch.is_away() {
            true => Err(AWAY),
            false => self.ask_anyway(question).await,
        }
    }

    async fn ask_anyway(self: &Rc<Self>, question: Question<'_>) -> Result<Says, Refusal> {
        let answer = match self.client.ask(&question).await {
            Ok(answer) => answer,
            Err(Trouble(what)) => {
                return Err(self.trouble(Trouble(format!("{}: {what}", question.path))));
            }
        };
        match (answer.status, answer.body) {
            (status, Some(body)) if status.is_success() => Ok(Says::Yes(body)),
            (status, None) if status.is_success() => Ok(Says::TooMuch),
            (
                status @ (StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY),
                _,
            ) => Ok(Says::No(status)),
            (status, _) => Err(self.trouble(odd_status(question.path, status))),
        }
    }

    /// Reads an answer as what was asked for.
    fn read<T: DeserializeOwned>(self: &Rc<Self>, path: &str, body: &[u8]) -> Result<T, Refusal> {
        crate::ground::json::read(body).map_err(|_| {
            let what = format!("{path} is answered with something else than was asked for");
            self.trouble(Trouble(what))
        })
    }

    /// Keeps what somebody may do with a thing.
    fn learn(&self, key: Rc<str>, access: Access) {
        match access {
            Access::None => self.access.forget(&key),
            access => self.access.put(key, access, Instant::now()),
        }
    }

    fn too_much(self: &Rc<Self>, path: &str) -> Refusal {
        self.trouble(Trouble(format!("{path} is answered without an end")))
    }

    fn trouble(self: &Rc<Self>, what: Trouble) -> Refusal {
        self.look(Some(what));
        AWAY
    }
}

/// Open WebUI's ids are UUIDs. Nothing else is put into a path: it would name nothing, and `a/chat` or `all` are paths
/// of other things.
fn is_id(id: &str) -> bool {
    let hex = |c: u8| c.is_ascii_hexdigit();
    let fits = |(at, c): (usize, u8)| match at {
        8 | 13 | 18 | 23 => c == b'-',
        _ => hex(c),
    };
    id.len() == 36 && id.bytes().enumerate().all(fits)
}

/// What the answer about a thing is kept under.
fn key(user: &User, kind: &str, id: &str) -> Rc<str> {
    format!("{}\n{kind}\n{id}", user.id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_become_part_of_a_path() {
        assert!(is_id("0cfb530d-4f0e-4226-a020-88ae45f5f7e3"));
        assert!(is_id("0CFB530D-4F0E-4226-A020-88AE45F5F7E3"));
        for id in [
            "",
            ".",
            "..",
            "all",
            "a/chat",
            "a%2Fchat",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7e3/chat",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7e",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7e\n",
            "0cfb530d/4f0e-4226-a020-88ae45f5f7e3",
            "0cfb530d-4f0e-4226-a020-88ae45f5f7é",
            "0cfb530dx4f0e-4226-a020-88ae45f5f7e3",
            &"a".repeat(10_000),
        ] {
            assert!(!is_id(id), "{id}");
        }
    }
}

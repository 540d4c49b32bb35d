//! The handle of the directory that Open WebUI holds: its REST, what it answered lately, connections to its socket.

use super::cache::Cache;
use super::changes::Changes;
use super::client::Client;
use super::deliver::Delivery;
use super::receipts::Receipt;
use super::rest::Rest;
use super::socket::{Link, SocketError, Sockets};
use super::version::Version;
use super::watch::Watch;
use crate::config::HttpUrl;
use crate::directory::types::{Access, Identity, Refusal, User};
use crate::ground::tasks::{Executor, Tasks};
use crate::socket::{Hub, Peer, Sid};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long an answer about access to a chat holds. That there is none is not remembered.
pub(super) const ACCESS_HOLDS: Duration = Duration::from_secs(5);
/// The same for a note: of one that somebody may only read from now on Open WebUI says nothing.
pub(super) const NOTE_ACCESS_HOLDS: Duration = Duration::from_secs(2);

/// Open WebUI, as one of its users sees it.
pub struct OpenWebui {
    pub(super) tasks: Tasks,
    /// Does it share a Redis with us? Then what it emits reaches our sockets without our help.
    shares_redis: bool,
    pub(super) rest: Rest,
    /// By token: whom it was accepted for.
    pub(super) users: Cache<User>,
    /// By user, for the time of an outage.
    pub(super) channels: Cache<Vec<String>>,
    /// By user and note or chat.
    pub(super) access: Cache<Access>,
    pub(super) changes: Changes,
    sockets: Rc<Sockets>,
    delivery: Rc<Delivery>,
}

impl OpenWebui {
    /// Starts checking whether Open WebUI is there, and returns at once. Without a shared Redis, `hub` gets what it
    /// emits about what was relayed.
    pub fn start(executor: Executor, url: HttpUrl, hub: Rc<Hub>, shares_redis: bool) -> Rc<Self> {
        let tasks = Tasks::new(executor);
        let client = Rc::new(Client::new(executor, url.clone()));
        let version = Version::new(client.clone(), url.clone(), shares_redis);
        let watch = Watch::new(client.clone(), version, tasks.clone(), url.to_string());
        watch.check(None);
        watch.follow(hub.clone());
        let hub = (!shares_redis).then_some(hub);
        let sockets = Sockets::new(url, watch.clone());
        Rc::new(Self {
            delivery: Delivery::new(tasks.clone(), sockets.clone(), hub),
            sockets,
            tasks,
            shares_redis,
            rest: Rest { client, watch },
            users: Cache::default(),
            channels: Cache::default(),
            access: Cache::default(),
            changes: Changes::default(),
        })
    }

    /// Does what it emits reach our sockets over Redis?
    pub fn shares_redis(&self) -> bool {
        self.shares_redis
    }

    pub(in crate::directory) fn streams_by_socket(&self) -> bool {
        self.rest.watch.version.streams_by_socket()
    }

    pub(in crate::directory) fn degraded(&self) -> Option<String> {
        self.rest.watch.degraded()
    }

    /// Waits until it was restarted, or became another, more often than that; returns how often.
    pub(in crate::directory) fn restarted(&self, before: u64) -> impl Future<Output = u64> {
        self.rest.watch.restarted(before)
    }

    /// Waits until it is there.
    pub(in crate::directory) fn here(&self) -> impl Future<Output = ()> {
        self.rest.watch.here()
    }

    /// Whether it is known to be away: nobody need try to reach its socket.
    pub fn is_away(&self) -> bool {
        self.rest.watch.is_away()
    }

    /// A connection to its socket that shows this token, for a client that came like this. The caller limits the time.
    ///
    /// # Errors
    /// Why there is none, for [`OpenWebui::log_failure`].
    pub async fn connect(&self, token: &str, client: Peer) -> Result<Link, SocketError> {
        self.sockets.open(Some(token), Some(client)).await
    }

    /// Says in the log that its socket could not be reached, or broke off: once for all that happens at the time.
    pub fn log_failure(&self, error: SocketError) {
        self.sockets.log_failure(error);
    }

    /// Whether a socket of ours hears from it over a connection of its own: then it is told nothing else of it.
    pub fn set_linked(&self, sid: Sid, linked: bool) {
        let mut all = self.delivery.linked.borrow_mut();
        match linked {
            true => drop(all.insert(sid)),
            false => drop(all.remove(&sid)),
        }
    }

    /// Noted; Open WebUI learns it in a moment.
    pub(in crate::directory) fn mark_read(
        &self,
        who: &Identity,
        receipt: Receipt,
    ) -> Result<(), Refusal> {
        self.delivery.mark_read(who, receipt)
    }

    /// Delivers what is to be relayed; for a server that goes down.
    pub(in crate::directory) fn close(&self) -> impl Future<Output = ()> {
        self.delivery.deliver_last()
    }

    /// The user's rights have changed: nothing is known of their tokens and their access any more, and what is on its way
    /// comes too late.
    pub(in crate::directory) fn forget_user(&self, user_id: &str) {
        self.changes.note(user_id.into(), Instant::now());
        self.forget_tokens(user_id);
        self.channels.forget(user_id);
        let theirs = access_key(user_id, "", "");
        let theirs = theirs.trim_end_matches('\n');
        let of_user = |key: &str| {
            key.strip_prefix(theirs)
                .is_some_and(|rest| rest.starts_with('\n'))
        };
        self.access.forget_all(|key, _| of_user(key));
    }

    /// Whom the user's tokens were accepted for is asked anew.
    pub(in crate::directory) fn forget_tokens(&self, user_id: &str) {
        self.users.forget_all(|_, user| user.id == user_id);
    }

    /// The same of the user's access to one thing.
    pub(in crate::directory) fn forget_access(&self, user_id: &str, kind: &str, id: &str) {
        let key = access_key(user_id, kind, id);
        self.access.forget(&key);
        self.changes.note(key, Instant::now());
    }

    /// Somebody made the user leave a channel.
    pub(in crate::directory) fn forget_channels(&self, user_id: &str) {
        self.channels.forget(user_id);
        self.changes.note(channels_key(user_id), Instant::now());
    }

    /// Whether the user's rights have changed since something was asked about them.
    pub(in crate::directory) fn changed_since(&self, user_id: &str, asked: Instant) -> bool {
        self.changes.since(user_id, asked)
    }

    /// What somebody may do with a thing, and what else is answered, `ask`ed again if it changed meanwhile.
    pub(super) async fn learn<T>(
        &self,
        user_id: &str,
        key: Rc<str>,
        ask: impl AsyncFn() -> Result<(Access, T), Refusal>,
    ) -> Result<(Access, T), Refusal> {
        for _ in 0..ATTEMPTS {
            let asked = Instant::now();
            let (access, more) = ask().await?;
            if self.changes.since(user_id, asked) || self.changes.since(&key, asked) {
                continue;
            }
            match access {
                Access::None => self.access.forget(&key),
                access => self.access.put(key, access, Instant::now()),
            }
            return Ok((access, more));
        }
        Err(CHANGING)
    }
}

/// How often something is asked that changes while it is answered.
pub(super) const ATTEMPTS: usize = 3;

pub(super) const CHANGING: Refusal = Refusal::Unavailable("the user's rights change all the time");

/// Under which key it is remembered that the user had to leave a channel.
pub(super) fn channels_key(user_id: &str) -> Rc<str> {
    access_key(user_id, "channels", "")
}

/// Under which key the access of a user to a thing is remembered.
pub(super) fn access_key(user_id: &str, kind: &str, id: &str) -> Rc<str> {
    format!("{user_id}\n{kind}\n{id}").into()
}

//! The handle of the directory that Open WebUI holds: its REST, what it answered lately, connections to its socket.

use super::cache::Cache;
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

/// How long an answer about access holds. That there is none is not remembered.
pub(super) const ACCESS_HOLDS: Duration = Duration::from_secs(5);

/// Open WebUI, as one of its users sees it.
pub struct OpenWebui {
    pub(super) tasks: Tasks,
    /// Does it share a Redis with us? Then what it emits reaches our sockets without our help.
    shares_redis: bool,
    pub(super) rest: Rest,
    /// By token: whom it was accepted for.
    pub(super) users: Cache<User>,
    /// By token, for the time of an outage.
    pub(super) channels: Cache<Vec<String>>,
    /// By user and note or chat.
    pub(super) access: Cache<Access>,
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
    pub(in crate::directory) async fn close(&self) {
        self.delivery.deliver_last().await;
    }

    /// Remembers what somebody may do with a thing.
    pub(super) fn remember(&self, key: Rc<str>, access: Access) {
        match access {
            Access::None => self.access.forget(&key),
            access => self.access.put(key, access, Instant::now()),
        }
    }
}

/// Under which key the access of a user to a thing is remembered.
pub(super) fn access_key(user: &User, kind: &str, id: &str) -> Rc<str> {
    format!("{}\n{kind}\n{id}", user.id).into()
}

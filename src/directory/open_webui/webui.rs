//! The handle of the directory that Open WebUI holds: its REST, what it answered lately, the relay to its socket.

use super::cache::Cache;
use super::client::Client;
use super::receipts::Receipt;
use super::relay::Relay;
use super::rest::Rest;
use super::watch::Watch;
use crate::config::HttpUrl;
use crate::directory::types::{Access, Identity, Refusal, User};
use crate::ground::tasks::{Executor, Tasks};
use crate::socket::Hub;
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
    relay: Rc<Relay>,
}

impl OpenWebui {
    /// Starts checking whether Open WebUI is there, and returns at once. Without a shared Redis, `hub` gets what it
    /// emits about what was relayed.
    pub fn start(executor: Executor, url: HttpUrl, hub: Rc<Hub>, shares_redis: bool) -> Rc<Self> {
        let tasks = Tasks::new(executor);
        let client = Rc::new(Client::new(executor, url.clone()));
        let watch = Watch::new(client.clone(), tasks.clone(), url.to_string());
        watch.check(None);
        let hub = (!shares_redis).then_some(hub);
        Rc::new(Self {
            relay: Relay::new(tasks.clone(), watch.clone(), url, hub),
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

    pub(in crate::directory) fn degraded(&self) -> Option<String> {
        self.rest.watch.degraded()
    }

    /// Noted; Open WebUI learns it in a moment.
    pub(in crate::directory) fn mark_read(
        &self,
        who: &Identity,
        receipt: Receipt,
    ) -> Result<(), Refusal> {
        self.relay.mark_read(who, receipt)
    }

    /// Delivers what is to be relayed; for a server that goes down.
    pub(in crate::directory) async fn close(&self) {
        self.relay.deliver_last().await;
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

//! What instances share through Redis, byte for byte as the reference application writes it.
//!
//! - [`mirror`]: this instance's sessions and models in use, written behind
//! - [`scan`]: what other instances' sessions say, read in small steps
//! - [`sweep`]: what one instance does for all: old usage, lost sessions
//! - [`tasks`]: who is about to save which document
//! - [`locks`], [`lease`]: one at a time, over all instances
//! - [`revoked`]: tokens that are not valid any more
//!
//! Nothing on the way of a local event waits here: each instance knows its own sessions by heart. What it is asked about
//! all instances it answers from what it knows itself while Redis is away.

pub mod lease;
pub mod locks;
pub mod mirror;
mod revoked;
pub mod scan;
mod sweep;
pub mod tasks;

use super::pools::Pools;
use super::pools::sessions::{Reaped, SessionPool};
use super::pools::usage::UsagePool;
use crate::config;
use crate::ground::clock::Steps;
use crate::ground::json;
use crate::ground::tasks::{Executor, Tasks};
use crate::redis::{CommandError, Redis};
use crate::socket::Sid;
use lease::Lease;
use locks::Locks;
use mirror::Mirror;
use redis::Value;
use scan::Questions;
use sha2::{Digest as _, Sha256};
use smol::channel::{Receiver, Sender, bounded};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;
use tasks::SaveTasks;

/// State in Redis. Made once.
pub struct SharedPools {
    owner: Tasks,
    redis: Redis,
    sessions: Rc<SessionPool>,
    usage: Rc<UsagePool>,
    /// How long a session may not be heard of.
    session_timeout: Duration,
    /// What others wrote can't be compared with a clock that was just set.
    steps: Steps,
    /// How long a lock is held that nobody renews.
    lock_timeout: Duration,
    mirror: Mirror,
    questions: Questions,
    pub locks: Rc<Locks>,
    pub tasks: Rc<SaveTasks>,
    /// Locks of the sweepers that this instance holds.
    held: RefCell<HashMap<&'static str, Lease>>,
    /// What sweeps for all instances.
    sweepers: Tasks,
    reaped: (Sender<Reaped>, Receiver<Reaped>),
    /// Whether the last look for revoked tokens failed.
    blind: Cell<bool>,
}

impl SharedPools {
    /// Starts writing behind and sweeping.
    pub fn start(
        executor: Executor,
        redis: Redis,
        config: &config::RedisSettings,
        session_timeout: Duration,
        pools: &Pools,
    ) -> Rc<Self> {
        let locks = Locks::new(redis.clone(), config.cluster, config.lock_timeout);
        let owner = Tasks::new(executor);
        let tasks = SaveTasks::new(owner.clone(), redis.clone(), locks.clone(), config.task_ttl);
        // Redis and these hold each other: both are made once and never dropped.
        let commanded = tasks.clone();
        let command = move |message: &[u8]| {
            commanded.command(message);
            None
        };
        redis
            .subscriber()
            .listen(&redis.key("tasks:commands"), command);
        let shared = Rc::new(Self {
            owner,
            redis,
            sessions: pools.sessions.clone(),
            usage: pools.usage.clone(),
            session_timeout,
            steps: Steps::default(),
            lock_timeout: config.lock_timeout,
            mirror: Mirror::default(),
            questions: Questions::default(),
            locks,
            tasks,
            held: RefCell::default(),
            sweepers: Tasks::new(executor),
            reaped: bounded(1),
            blind: Cell::new(false),
        });
        let (mirror, usage, reap) = (shared.clone(), shared.clone(), shared.clone());
        shared
            .owner
            .spawn("mirrors pools", async move { mirror.keep_mirror().await });
        shared
            .sweepers
            .spawn("sweeps usage", async move { usage.keep_sweeping().await });
        shared
            .sweepers
            .spawn("reaps sessions", async move { reap.keep_reaping().await });
        shared
    }

    /// The next sessions that this instance reaped for all.
    pub async fn reaped(&self) -> Option<Reaped> {
        self.reaped.1.recv().await.ok()
    }

    /// Id and name of everybody who has the chat open on other instances.
    pub async fn viewers(self: &Rc<Self>, chat_id: &str) -> BTreeMap<String, String> {
        let entries = self.foreign(&[chat_id]).await;
        let viewers = entries.iter().filter(|entry| entry.has_open(chat_id));
        viewers
            .map(|entry| (entry.id.clone(), entry.name.clone().unwrap_or_default()))
            .collect()
    }

    /// A session of this user on another instance that has the chat open, other than `but`.
    pub async fn with_chat_open(
        self: &Rc<Self>,
        user_id: &str,
        chat_id: &str,
        but: &str,
    ) -> Option<String> {
        let entries = self.foreign(&[chat_id]).await;
        let fits = |entry: &&scan::PoolEntry| {
            entry.id == user_id && entry.sid != but && entry.has_open(chat_id)
        };
        entries.iter().find(fits).map(|entry| entry.sid.clone())
    }

    /// Sessions of these users on other instances.
    pub async fn sessions_of(self: &Rc<Self>, user_ids: &[&str]) -> Vec<String> {
        let entries = self.foreign(user_ids).await;
        let theirs = entries
            .iter()
            .filter(|entry| user_ids.contains(&&*entry.id));
        theirs.map(|entry| entry.sid.clone()).collect()
    }

    /// The user of a session of another instance.
    pub async fn owner(&self, sid: &str) -> Option<String> {
        let mut get = redis::cmd("HGET");
        get.arg(self.redis.key("session_pool")).arg(sid);
        match self.redis.query::<Option<String>>(get).await {
            Ok(entry) => Some(serde_json::from_str::<scan::PoolEntry>(&entry?).ok()?.id),
            Err(fault) => {
                log::debug!("the owner of {sid} can't be read: {fault}");
                None
            }
        }
    }

    /// Takes a session of another instance out of the pool.
    pub async fn forget_session(&self, sid: &str) {
        let mut delete = redis::cmd("HDEL");
        delete.arg(self.redis.key("session_pool")).arg(sid);
        if let Err(fault) = self.redis.query::<i64>(delete).await {
            log::debug!("{sid} stays in the session pool until it is reaped: {fault}");
        }
    }

    /// A session of ours goes on at another instance.
    pub fn moved(&self, sid: Sid) {
        self.mirror.moved(sid);
    }

    /// The models in use on any instance.
    pub async fn models_in_use(&self) -> BTreeSet<String> {
        let mut models = BTreeSet::new();
        let key = self.redis.key("usage_pool");
        let read = self.scan(&key, &[""], |model, _| {
            models.insert(model.to_owned());
        });
        if let Err(fault) = read.await {
            log::debug!("the models in use can't be read: {fault}");
        }
        models
    }

    /// Under the reference's lock for a chat's presence; without it while Redis can't tell.
    pub async fn one_at_a_time(&self, chat_id: &str, work: impl AsyncFn()) {
        if !self.redis.is_steady() {
            return work().await;
        }
        let key = self.redis.key(&format!("chat:{chat_id}:presence:lock"));
        let done = self.locks.with(&key, async |_| {
            work().await;
            Ok(())
        });
        if let Err(fault) = done.await {
            log::debug!("{key} can't be had: {fault}");
            work().await;
        }
    }

    /// See [`SaveTasks::begin`].
    pub async fn begin_task(&self, item: &str) {
        self.tasks.begin(item, &self.locks.of_document(item)).await;
    }

    /// See [`SaveTasks::end`].
    pub fn end_task(&self, item: &str) -> impl Future<Output = ()> {
        self.tasks.end(item)
    }

    /// See [`SaveTasks::stopped`].
    pub fn task_stopped(&self, item: &str) -> impl Future<Output = ()> {
        self.tasks.stopped(item)
    }

    /// The end: what changed is written, locks are given back. The caller limits the time.
    pub async fn close(&self) {
        self.sweepers.end();
        self.release_locks().await;
        self.tasks.end_all().await;
        self.mirrored().await;
    }
}

/// The first command of a pipeline that Redis refused.
pub fn first_refusal(values: Vec<Value>) -> Result<(), CommandError> {
    for value in values {
        value
            .extract_error()
            .map_err(|e| CommandError::Refused(e.to_string()))?;
    }
    Ok(())
}

/// JSON as one number that all instances agree on, however it is written; `None` for what is none.
pub fn print(json: &str) -> Option<u64> {
    let value: serde_json::Value = json::owned(json).ok()?;
    let digest = Sha256::digest(value.to_string());
    Some(u64::from_be_bytes(digest[..8].try_into().ok()?))
}

/// A command's number; 0 for anything else.
fn number(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        _ => 0,
    }
}

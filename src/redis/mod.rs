//! One place that connects to Redis: for ever, in the background, so that nobody else waits for it.
//!
//! - [`address`] for what the settings mean, the `url` among them, `dial` for a connection (over `tls` where wanted), `node`
//!   for one server
//! - `sentinel` for who is the master now
//! - `cluster` for several servers that have a part of the keys each
//! - `link` for where a command goes: one server, or those of a Cluster
//! - `subscriber` for the connection that listens, `rounds` for what it writes, `reader` for the bytes that come over it,
//!   `left` for what another process goes on with
//! - `keeper` for the task that reconnects
//!
//! Commands share one connection and are answered in the order they were given. While it is away they fail at once.
//! One that is not answered in time ends the connection: what comes late can't be told from what comes next.

mod address;
mod cluster;
mod dial;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod keeper;
mod left;
mod link;
mod node;
mod reader;
mod rounds;
mod script;
mod sentinel;
mod stream;
mod subscriber;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use left::Left;
pub use redis::cmd;
pub use script::Script;
pub use subscriber::Subscriber;
#[cfg(feature = "tls")]
pub use tls::stream as tls_stream;

use crate::config;
use crate::ground::tasks::{Bell, Executor, Tasks, within};
use address::{Address, Endpoint};
use keeper::Outage;
use link::Link;
use redis::{Cmd, FromRedisValue, RedisError, Value};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Redis(Rc<Inner>);

struct Inner {
    executor: Executor,
    tasks: Tasks,
    target: Endpoint,
    prefix: String,
    link: RefCell<Option<Link>>,
    /// How often it was connected.
    connections: Cell<u64>,
    outage: RefCell<Option<Outage>>,
    /// Rung when it comes and goes.
    changed: Bell,
    /// What the others know this instance by.
    host_id: String,
    subscriber: Rc<Subscriber>,
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Redis is not connected, or went before it answered: it may have done it or not.
    Away,
    /// It did not answer in time: it may have done it or not.
    Timeout,
    /// It answered that it won't (`OOM`, `READONLY`, ...), or with something else than was asked for.
    Refused(String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("Redis is away"),
            Self::Timeout => f.write_str("Redis did not answer in time"),
            Self::Refused(why) => write!(f, "Redis refused: {why}"),
        }
    }
}

impl Redis {
    /// Starts connecting and returns at once.
    ///
    /// # Errors
    /// What is wrong with the settings; whether the server is there is another matter.
    pub fn start(executor: Executor, config: &config::RedisSettings) -> Result<Self, String> {
        let host_id = host_id();
        // Below the backplane's channel, so that an ACL for that one covers it.
        let subscriber = Rc::new(Subscriber::new(own_channel(&host_id)));
        let inner = Rc::new(Inner {
            executor,
            tasks: Tasks::new(executor),
            target: Endpoint::new(config)?,
            prefix: config.key_prefix.clone(),
            link: RefCell::default(),
            connections: Cell::new(0),
            outage: RefCell::default(),
            changed: Bell::default(),
            host_id,
            subscriber: subscriber.clone(),
        });
        let tasks = inner.tasks.clone();
        tasks.spawn(
            "keeps Redis connected",
            keeper::keep_connected(inner.clone()),
        );
        let redis = Self(inner);
        tasks.spawn("listens to Redis", subscriber.run(redis.clone()));
        Ok(redis)
    }

    /// Whether these settings can be used; opens nothing.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn check(config: &config::RedisSettings) -> Result<(), String> {
        Endpoint::new(config).map(|_| ())
    }

    /// One command and its answer, within the deadline (`socket_timeout`, 5 s).
    pub async fn query<T: FromRedisValue>(&self, command: Cmd) -> Result<T, CommandError> {
        read(self.0.send(command).await?)
    }

    /// Several commands in one write (one to each server of a Cluster), within one deadline; not a transaction.
    /// A refused one is a `Value::ServerError` in its place.
    pub async fn pipeline(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, CommandError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let link = self.0.link()?;
        let answers = link.send_all(commands, self.0.deadline()).await;
        let answers = answers.map_err(|e| fault(&e))?;
        answers
            .iter()
            .for_each(|value| self.0.follow_master(&link, value));
        Ok(answers)
    }

    /// Runs a script as one step. In a Cluster its keys must be of one slot.
    pub async fn script<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, CommandError> {
        read(self.0.run(script, keys, args).await?)
    }

    /// Whether it is connected now.
    pub fn is_up(&self) -> bool {
        self.0.link.borrow().is_some()
    }

    /// Whether it is connected now, and nothing of it is known to be away.
    pub fn is_whole(&self) -> bool {
        self.is_up() && self.0.outage.borrow().is_none()
    }

    /// Whether a command is answered soon or fails at once. While an outage is young, those to a Cluster may wait
    /// for a node to take over.
    pub fn is_steady(&self) -> bool {
        let timeout = self.0.target.timeout;
        let outage = self.0.outage.borrow();
        let is_old = |outage: &Outage| outage.since.elapsed() > timeout;
        outage.as_ref().is_none_or(is_old)
    }

    /// Whether it is a Cluster.
    pub fn is_cluster(&self) -> bool {
        self.0.target.cluster
    }

    /// Whether another process can go on with the subscriber's connection: one server, over TCP as it is.
    pub fn can_be_left(&self) -> bool {
        let Endpoint {
            cluster,
            tls,
            ref sentinels,
            ..
        } = self.0.target;
        !cluster && !tls && sentinels.is_empty()
    }

    /// How often it was connected so far.
    pub fn connections(&self) -> u64 {
        self.0.connections.get()
    }

    /// Waits until it was connected more than `after` times, and tells how often. Whoever writes behind reconciles then.
    pub fn connected(&self, after: u64) -> impl Future<Output = u64> {
        let newer = move || Some(self.connections()).filter(|count| *count > after && self.is_up());
        self.0.changed.until(newer)
    }

    /// Waits until it is connected and the subscriber hears, one of them over another connection than `before`. Tells
    /// both: what was published until then may have been missed.
    pub async fn heard_anew(&self, before: (u64, u64)) -> (u64, u64) {
        let subscriber = self.subscriber();
        let anew = || {
            let now = (self.connections(), subscriber.heard()?);
            Some(now).filter(|now| *now != before && self.is_up())
        };
        let heard = subscriber.changed.until(anew);
        futures_lite::future::or(self.0.changed.until(anew), heard).await
    }

    /// Waits until it is found to be away.
    pub fn away(&self) -> impl Future<Output = ()> {
        let gone = || self.is_away().then_some(());
        self.0.changed.until(gone)
    }

    /// The one subscriber.
    pub fn subscriber(&self) -> &Subscriber {
        &self.0.subscriber
    }

    /// What the others know this instance by: 32 hexadecimal digits, new at every start.
    pub fn host_id(&self) -> &str {
        &self.0.host_id
    }

    /// The database of our keys.
    pub fn database(&self) -> i64 {
        self.0.target.login.db()
    }

    /// How many listen to each of these channels, on all servers.
    pub async fn listeners(&self, channels: &[String]) -> Result<Vec<u64>, CommandError> {
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(channels);
        let link = self.0.link()?;
        let answers = link.send_everywhere(&command, self.0.deadline()).await;
        let mut sums = vec![0; channels.len()];
        for answer in answers.map_err(|e| fault(&e))? {
            let counts: Vec<(String, u64)> = read(checked(answer)?)?;
            let counts = counts.into_iter().map(|(_, count)| count);
            sums.iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
        }
        Ok(sums)
    }

    /// A key of ours: `{prefix}:{rest}`.
    pub fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.0.prefix)
    }

    /// What `/ready` says about it; `None` when all is well.
    pub fn degraded(&self) -> Option<String> {
        let outage = self.0.outage.borrow();
        match &*outage {
            None if self.is_up() => self.0.subscriber.degraded(),
            Some(outage) => {
                let what = if self.is_up() { "not whole" } else { "away" };
                let seconds = outage.since.elapsed().as_secs();
                Some(format!(
                    "{} is {what} for {seconds} s: {}",
                    self.0.target, outage.why
                ))
            }
            None => Some(format!("{} is not connected yet", self.0.target)),
        }
    }
}

impl Redis {
    fn target(&self) -> &Endpoint {
        &self.0.target
    }

    /// Where commands go now.
    fn address(&self) -> Option<Address> {
        self.0.link.borrow().as_ref().map(Link::address)
    }

    /// Publishes by another server of a Cluster than the subscriber's, so that what is between them is tried, too.
    async fn publish_apart(&self, publish: &Cmd) -> Result<(), CommandError> {
        let link = self.0.link()?;
        let answer = link.send_apart(publish, self.0.deadline()).await;
        read(checked(answer.map_err(|e| fault(&e))?)?)
    }

    /// The subscriber hears nothing where it is: of a Cluster, another node is tried.
    fn is_deaf(&self) {
        if let Some(link) = &*self.0.link.borrow() {
            link.is_deaf();
        }
    }

    /// Whether it is away, after it was looked for in vain.
    fn is_away(&self) -> bool {
        !self.is_up() && self.0.outage.borrow().is_some()
    }
}

impl Inner {
    fn link(&self) -> Result<Link, CommandError> {
        self.link.borrow().clone().ok_or(CommandError::Away)
    }

    /// One command and its answer, which is no error.
    async fn send(&self, command: Cmd) -> Result<Value, CommandError> {
        let mut answer = self.try_send(&command).await;
        if answer == Err(CommandError::Timeout) && self.target.retry_on_timeout {
            self.wait_for_link().await;
            answer = self.try_send(&command).await;
        }
        checked(answer?)
    }

    async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value, CommandError> {
        match self.send(script.by_hash(keys, args)).await {
            Err(CommandError::Refused(why)) if why.starts_with("NOSCRIPT") => {
                self.send(script.in_full(keys, args)).await
            }
            answer => answer,
        }
    }

    async fn try_send(&self, command: &Cmd) -> Result<Value, CommandError> {
        let link = self.link()?;
        let answer = link.send(command, self.deadline()).await;
        let answer = answer.map_err(|e| fault(&e))?;
        self.follow_master(&link, &answer);
        Ok(answer)
    }

    /// Of a command that begins now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.target.timeout
    }

    /// A server that takes no writes any more is not the master: the Sentinels know who is.
    fn follow_master(&self, link: &Link, value: &Value) {
        if let (Value::ServerError(e), Link::One(node)) = (value, link)
            && e.code() == "READONLY"
            && !self.target.sentinels.is_empty()
        {
            node.give_up("it is not the master any more");
        }
    }

    /// After a loss: until it is connected again, as long as connecting may take.
    async fn wait_for_link(&self) {
        let back = self
            .changed
            .until(|| self.link.borrow().as_ref().map(|_| ()));
        within(self.target.connect_timeout, back).await;
    }
}

/// The channel that only the instance of this id listens to.
pub fn own_channel(host_id: &str) -> String {
    format!("socketio#siskin#{host_id}")
}

fn host_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    data_encoding::HEXLOWER.encode(&bytes)
}

/// An answer in which there is no error.
fn checked(value: Value) -> Result<Value, CommandError> {
    value.extract_error().map_err(|e| fault(&e))
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, CommandError> {
    redis::from_redis_value(value).map_err(|e| CommandError::Refused(e.to_string()))
}

fn fault(error: &RedisError) -> CommandError {
    match error {
        e if e.is_timeout() => CommandError::Timeout,
        e if e.code().is_some() => CommandError::Refused(dial::describe(e)),
        e if e.is_io_error() || e.is_unrecoverable_error() => CommandError::Away,
        e => CommandError::Refused(dial::describe(e)),
    }
}

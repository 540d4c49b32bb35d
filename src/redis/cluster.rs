//! A Redis Cluster: each command goes to the master that has its key, and where a redirect points to.
//!
//! While a master is lost, or the Cluster says that it is down, a command waits for another to take over, as long
//! as it may take, counted from the loss: so a failover is bridged, a longer outage fails at once. What was
//! sent already fails: it may have been done or not.
//!
//! What has no key (PUBLISH) goes to one node, the home, where the subscriber is, too: so it keeps its order, and the Cluster
//! carries it to the subscribers of all nodes.
//!
//! - `slots` for who has which keys, `members` for the connections
//! - `route` for the way of commands

mod members;
mod route;
mod slots;
#[cfg(test)]
mod tests;

use super::address::{Address, Endpoint};
use super::dial::{answer_within, describe};
use crate::ground::tasks::{Executor, within};
use members::Members;
use redis::{Cmd, RedisError, Value};
use route::{Group, part};
use slots::Slots;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::slice;
use std::task::Poll;
use std::time::Instant;

/// The nodes, and which has what.
pub struct Cluster {
    target: Endpoint,
    members: Rc<Members>,
    slots: RefCell<Slots>,
    home: RefCell<Address>,
    /// Whether the map may be an old one.
    stale: Cell<bool>,
    /// Since when it is known not to be whole.
    hurt: Cell<Option<Instant>>,
}

impl Cluster {
    /// Learns the map from the target's host, or from one of these nodes.
    ///
    /// # Errors
    /// What the last of them said, or why it can't be reached.
    pub async fn open(
        executor: Executor,
        target: &Endpoint,
        known: &[Address],
    ) -> Result<Self, String> {
        let cluster = Self {
            target: target.clone(),
            members: Members::new(executor, target),
            slots: RefCell::default(),
            home: RefCell::new(target.address.clone()),
            stale: Cell::new(false),
            hurt: Cell::new(None),
        };
        let up = cluster.learn(known).await?;
        cluster.stale.set(!up);
        let masters = cluster.masters();
        let first = masters.first().ok_or("its nodes have no slots yet")?;
        if !cluster.nodes().contains(&target.address) {
            cluster.home.replace(first.clone());
        }
        Ok(cluster)
    }

    /// Where what has no key goes.
    pub fn home(&self) -> Address {
        if self.members.lost(&self.home.borrow()).is_some() {
            self.move_home();
        }
        self.home.borrow().clone()
    }

    /// Takes another home, if there is one.
    pub fn move_home(&self) {
        if let Some(other) = self.other() {
            self.home.replace(other);
        }
    }

    /// Masters and replicas.
    pub fn nodes(&self) -> Vec<Address> {
        self.slots.borrow().nodes()
    }

    /// One command; a value.
    pub async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value, RedisError> {
        let mut answers = self.send_all(slice::from_ref(command), deadline).await?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }

    /// One command to every node, replicas and new ones, too; a value of each.
    pub async fn send_everywhere(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Vec<Value>, RedisError> {
        by(deadline, self.learn(&[])).await?;
        let reopened = async {
            self.members.reopen(self.nodes()).await;
            Ok(())
        };
        by(deadline, reopened).await?;
        let to_all: Vec<Group> = self
            .nodes()
            .into_iter()
            .map(|node| alone(node, command))
            .collect();
        let asked = to_all
            .iter()
            .map(|group| self.send_group(group, slice::from_ref(command), deadline));
        let mut answers = Vec::new();
        for answer in all(asked).await {
            answers.extend(answer?);
        }
        Ok(answers)
    }

    /// A command without a key by another node than the home, if there is one that can.
    pub async fn send_apart(&self, command: &Cmd, deadline: Instant) -> Result<Value, RedisError> {
        if let Some(other) = self.other() {
            let group = alone(other, command);
            let answer = self
                .send_group(&group, slice::from_ref(command), deadline)
                .await;
            if let Some(answer) = answer.ok().and_then(|mut answers| answers.pop()) {
                return Ok(answer);
            }
        }
        self.send(command, deadline).await
    }
}

/// One command for one node.
fn alone(node: Address, command: &Cmd) -> Group {
    (node, vec![part((0, command))])
}

/// What becomes of the nodes.
impl Cluster {
    /// Waits until something may be wrong. Tells what is, if that is known.
    pub async fn troubled(&self) -> Option<String> {
        let look = || (self.stale.get() || self.lack(true).is_some()).then_some(());
        self.members.changed.until(look).await;
        self.note(self.lack(true))
    }

    /// Learns the map again and connects again to whom it names. Tells what is missing.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn heal(&self) -> Result<Option<String>, String> {
        self.stale.set(false);
        let up = self.learn(&[]).await?;
        let (home, nodes) = (self.home(), self.nodes());
        self.members
            .retain(|address| *address == home || nodes.contains(address));
        self.members.reopen(self.masters()).await;
        Ok(self.note(self.lack(up)))
    }

    /// Asks one node after the other for the map, until one says that the Cluster is up. Whether one did.
    async fn learn(&self, known: &[Address]) -> Result<bool, String> {
        let mut nodes = self.members.open();
        nodes.push(self.target.address.clone());
        nodes.extend(self.nodes());
        nodes.extend_from_slice(known);
        let (mut old, mut why) = (None, String::new());
        let mut asked = Vec::new();
        for address in nodes {
            if asked.contains(&address) {
                continue;
            }
            match self.map_of(&address).await {
                Ok((slots, true)) => {
                    self.slots.replace(slots);
                    return Ok(true);
                }
                Ok((slots, false)) => old = old.or(Some(slots)),
                Err(e) => why = format!("{address}: {e}"),
            }
            asked.push(address);
        }
        self.slots.replace(old.ok_or(why)?);
        Ok(false)
    }

    /// The map of one node, and whether it finds the Cluster up.
    async fn map_of(&self, address: &Address) -> Result<(Slots, bool), String> {
        let timeout = self.target.connect_timeout;
        let node = answer_within(timeout, self.members.reach(address)).await?;
        let commands = ["INFO", "SLOTS"].map(|what| {
            let mut command = redis::cmd("CLUSTER");
            command.arg(what);
            command
        });
        let deadline = Instant::now() + self.target.timeout;
        let answers = node.send_all(commands, deadline).await;
        let mut read = Vec::new();
        for answer in answers.map_err(|e| describe(&e))? {
            read.push(answer.extract_error().map_err(|e| describe(&e))?);
        }
        let [info, slots] = read.as_slice() else {
            return Err("it told half of it".into());
        };
        let info: String = redis::from_redis_value_ref(info).map_err(|e| e.to_string())?;
        Ok((
            Slots::read(slots, address),
            info.contains("cluster_state:ok"),
        ))
    }

    /// What is missing. `up`: whether a node finds the Cluster up.
    fn lack(&self, up: bool) -> Option<String> {
        let away = |address: &Address| {
            let why = self.members.lost(address)?;
            Some(format!("{address} is away: {why}"))
        };
        let lost: Vec<String> = self.masters().iter().filter_map(away).collect();
        match (lost.is_empty(), self.slots.borrow().whole, up) {
            (false, ..) => Some(lost.join("; ")),
            (_, false, _) => Some("some slots have no master".into()),
            (.., false) => Some("its nodes say that it is down".into()),
            _ => None,
        }
    }

    /// Since when something is missing.
    fn note(&self, lack: Option<String>) -> Option<String> {
        let since = self.hurt.get().or_else(|| Some(Instant::now()));
        self.hurt.set(lack.as_ref().and(since));
        lack
    }

    fn masters(&self) -> Vec<Address> {
        self.slots.borrow().masters()
    }

    /// The next after the home that is not lost; a master if there is one.
    fn other(&self) -> Option<Address> {
        let home = self.home.borrow();
        let next = |nodes: Vec<Address>| {
            let place = nodes.iter().position(|address| *address == *home);
            let (before, after) = nodes.split_at(place.map_or(0, |place| place + 1));
            let mut round = after.iter().chain(before);
            let fits =
                |address: &&Address| **address != *home && self.members.lost(address).is_none();
            round.find(fits).cloned()
        };
        next(self.masters()).or_else(|| next(self.nodes()))
    }

    /// The map may be an old one.
    fn doubt(&self) {
        self.stale.set(true);
        self.members.changed.ring();
    }
}

/// Waits for a node, but no longer than this.
async fn by<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, RedisError> {
    let away = |why| io::Error::new(io::ErrorKind::NotConnected, why).into();
    let left = deadline.saturating_duration_since(Instant::now());
    match within(left, work).await {
        Some(done) => done.map_err(away),
        None => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// Waits for all of them at once.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(move |cx| {
        for (future, done) in waiting.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => Poll::Ready(done.drain(..).flatten().collect()),
            false => Poll::Pending,
        }
    })
    .await
}

//! The servers that a command goes to: one, or those of a Cluster.

use super::address::{Address, Endpoint};
use super::cluster::Cluster;
use super::node::Node;
use super::sentinel;
use crate::ground::tasks::Executor;
use redis::{Cmd, RedisError, Value};
use std::rc::Rc;
use std::time::Instant;

/// What is connected now. Cheap to clone.
#[derive(Clone)]
pub enum Link {
    One(Rc<Node>),
    Cluster(Rc<Cluster>),
}

impl Link {
    /// Connects to what the target names; `known`: nodes of the Cluster as it was before.
    pub async fn open(
        executor: Executor,
        target: &Endpoint,
        known: &[Address],
    ) -> Result<Self, String> {
        if target.cluster {
            let cluster = Cluster::open(executor, target, known).await?;
            return Ok(Self::Cluster(Rc::new(cluster)));
        }
        let node = match target.sentinels.is_empty() {
            true => Node::open(executor, target, &target.address).await?,
            false => sentinel::open(executor, target).await?,
        };
        Ok(Self::One(Rc::new(node)))
    }

    /// One command. A refusal of the server's is a value.
    pub async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value, RedisError> {
        match self {
            Self::One(node) => node.send(command, deadline).await,
            Self::Cluster(cluster) => Box::pin(cluster.send(command, deadline)).await,
        }
    }

    /// Several commands, in one write to each server; a value for each.
    pub async fn send_all(
        &self,
        commands: Vec<Cmd>,
        deadline: Instant,
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::One(node) => node.send_all(commands, deadline).await,
            Self::Cluster(cluster) => Box::pin(cluster.send_all(&commands, deadline)).await,
        }
    }

    /// One command to every server; a value of each.
    pub async fn send_everywhere(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::One(node) => Ok(vec![node.send(command, deadline).await?]),
            Self::Cluster(cluster) => Box::pin(cluster.send_everywhere(command, deadline)).await,
        }
    }

    /// A command without a key, by another server than the subscriber's if there is one.
    pub async fn send_apart(&self, command: &Cmd, deadline: Instant) -> Result<Value, RedisError> {
        match self {
            Self::One(node) => node.send(command, deadline).await,
            Self::Cluster(cluster) => Box::pin(cluster.send_apart(command, deadline)).await,
        }
    }

    /// Where a subscriber hears what is published.
    pub fn address(&self) -> Address {
        match self {
            Self::One(node) => node.address.clone(),
            Self::Cluster(cluster) => cluster.home(),
        }
    }

    /// A subscriber hears nothing there.
    pub fn is_deaf(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.move_home();
        }
    }
}

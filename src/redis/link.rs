//! The servers that a command goes to: one, or those of a Cluster.

use super::address::{Address, Target};
use super::node::Node;
use super::sentinel;
use crate::Executor;
use redis::{Cmd, RedisError, Value};
use std::rc::Rc;

/// What is connected now. Cheap to clone.
#[derive(Clone)]
pub enum Link {
    One(Rc<Node>),
}

impl Link {
    /// Connects to what the target names.
    pub async fn open(executor: Executor, target: &Target) -> Result<Self, String> {
        let node = match target.sentinels.is_empty() {
            true => Node::open(executor, target, &target.address).await?,
            false => sentinel::open(executor, target).await?,
        };
        Ok(Self::One(Rc::new(node)))
    }

    /// One command. A refusal of the server's is a value.
    pub async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(node) => node.send(command).await,
        }
    }

    /// Several commands, in one write to each server; a value for each.
    pub async fn send_all(&self, commands: &[Cmd]) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::One(node) => node.send_all(commands).await,
        }
    }

    /// Where a subscriber hears what is published.
    pub fn address(&self) -> Address {
        match self {
            Self::One(node) => node.address.clone(),
        }
    }

    /// Something is wrong with it: it ends.
    pub fn give_up(&self, why: &str) {
        match self {
            Self::One(node) => node.give_up(why),
        }
    }

    /// Waits for its end and tells why it came.
    pub async fn ended(&self) -> String {
        match self {
            Self::One(node) => node.ended().await,
        }
    }
}

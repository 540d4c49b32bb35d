//! Sentinel: where the master of a service is now.

use super::address::{Address, Endpoint};
use super::dial::{answer_within, describe};
use super::node::Node;
use crate::ground::tasks::Executor;
use redis::Value;
use std::time::Instant;

/// Asks one Sentinel after the other, and connects to the master that one names and that says so itself.
pub async fn open(executor: Executor, target: &Endpoint) -> Result<Node, String> {
    let mut last = String::new();
    for sentinel in &target.sentinels {
        match follow(executor, target, sentinel).await {
            Ok(node) => return Ok(node),
            Err(why) => last = format!("by the Sentinel at {sentinel}: {why}"),
        }
    }
    Err(last)
}

async fn follow(executor: Executor, target: &Endpoint, sentinel: &Address) -> Result<Node, String> {
    let master = find_master(executor, target, sentinel).await?;
    let node = Node::open(executor, target, &master).await?;
    let role = answer(&node, target, &redis::cmd("ROLE")).await?;
    let parts: Vec<Value> = redis::from_redis_value(role).map_err(|e| e.to_string())?;
    let role = parts
        .into_iter()
        .next()
        .map(redis::from_redis_value::<String>);
    match role {
        Some(Ok(role)) if role == "master" => Ok(node),
        _ => Err(format!("{master} is not a master any more")),
    }
}

async fn find_master(
    executor: Executor,
    target: &Endpoint,
    sentinel: &Address,
) -> Result<Address, String> {
    let node = log_in(executor, target, sentinel).await?;
    let service = &target.address.host;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(service);
    let found = answer(&node, target, &command).await?;
    let found: Option<(String, u16)> = redis::from_redis_value(found).map_err(|e| e.to_string())?;
    match found {
        Some((host, port)) => Ok(Address { host, port }),
        None => Err(format!("it knows no {service}")),
    }
}

/// With the user and password of the URL, as the reference does; without them at a Sentinel that wants none.
async fn log_in(executor: Executor, target: &Endpoint, sentinel: &Address) -> Result<Node, String> {
    let mut settings = target.clone();
    settings.login = settings.login.set_db(0);
    match Node::open(executor, &settings, sentinel).await {
        Err(_) if settings.login.password().is_some() => {
            settings.login = redis::RedisConnectionInfo::default();
            Node::open(executor, &settings, sentinel).await
        }
        opened => opened,
    }
}

async fn answer(node: &Node, target: &Endpoint, command: &redis::Cmd) -> Result<Value, String> {
    let work = async {
        let deadline = Instant::now() + target.timeout;
        let value = node.send(command, deadline).await;
        let value = value.map_err(|e| describe(&e))?;
        value.extract_error().map_err(|e| describe(&e))
    };
    answer_within(target.timeout, work).await
}

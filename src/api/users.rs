//! `/api/v1/users`: the users of the embedded directory.

use super::Answer;
use super::input::Ask;
use super::reply::{Problem, Reply};
use crate::directory::local::{Record, UserChange};
use serde_json::json;

pub async fn list(ask: Ask) -> Answer {
    let users = ask.local()?.users(ask.after(), ask.limit())?;
    Ok(Reply::json(&json!({"users": users})))
}

pub async fn one(ask: Ask) -> Answer {
    match ask.local()?.user(ask.name())? {
        Some(user) => Ok(Reply::json(&user)),
        None => Err(Problem::missing("There is no such user.")),
    }
}

/// A user whose role changed signs in again with the new one.
pub async fn put(ask: Ask) -> Answer {
    let (house, local, id) = (ask.house, ask.local()?, ask.name().to_owned());
    let user: Record = ask.json().await?;
    let UserChange {
        created,
        access_changed,
        user,
    } = local.put_user(&id, user)?;
    local.durable().await?;
    if access_changed {
        house.sessions.disconnect_user(&id).await;
    }
    Ok(Reply::put(created, &user))
}

pub async fn delete(ask: Ask) -> Answer {
    let local = ask.local()?;
    local.delete_user(ask.name())?;
    local.durable().await?;
    ask.house.sessions.disconnect_user(ask.name()).await;
    Ok(Reply::done())
}

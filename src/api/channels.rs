//! `/api/v1/channels`: the channels of the embedded directory, and who is in them.
//!
//! Sessions follow at once: a new member's sessions enter the channel's room, a former member's leave it.

use super::Answer;
use super::input::{Ask, Ids};
use super::reply::{Problem, Reply};
use crate::directory::local::{ChannelChange, Record};
use serde_json::{Value, json};

pub async fn list(ask: Ask) -> Answer {
    let channels = ask.local()?.all_channels(ask.after(), ask.limit())?;
    Ok(Reply::json(&json!({"channels": channels})))
}

pub async fn one(ask: Ask) -> Answer {
    match ask.local()?.channel(ask.name())? {
        Some(channel) => Ok(Reply::json(&channel)),
        None => Err(unknown()),
    }
}

pub async fn put(ask: Ask) -> Answer {
    let (house, local, id) = (ask.house, ask.local()?, ask.name().to_owned());
    let mut channel: Record = ask.json().await?;
    let members = members_of(channel.remove("members"))?;
    let ChannelChange {
        created,
        channel,
        added,
        removed,
    } = local.put_channel(&id, channel, members)?;
    local.durable().await?;
    house.channels.members_changed(&id, &added, &removed).await;
    Ok(Reply::put(created, &channel))
}

pub async fn delete(ask: Ask) -> Answer {
    let local = ask.local()?;
    local.delete_channel(ask.name())?;
    local.durable().await?;
    ask.house.channels.close(ask.name());
    Ok(Reply::done())
}

pub async fn members(ask: Ask) -> Answer {
    match ask.local()?.members(ask.name(), ask.after(), ask.limit())? {
        Some(members) => Ok(Reply::json(&json!({"members": members}))),
        None => Err(unknown()),
    }
}

pub async fn put_member(ask: Ask) -> Answer {
    let (local, id, user_id) = (ask.local()?, ask.name(), ask.second());
    local.put_member(id, user_id)?;
    local.durable().await?;
    ask.house
        .channels
        .members_changed(id, &[user_id.to_owned()], &[])
        .await;
    Ok(Reply::done())
}

pub async fn delete_member(ask: Ask) -> Answer {
    let (local, id, user_id) = (ask.local()?, ask.name(), ask.second());
    local.delete_member(id, user_id)?;
    local.durable().await?;
    ask.house
        .channels
        .members_changed(id, &[], &[user_id.to_owned()])
        .await;
    Ok(Reply::done())
}

/// The list of members, if there is one; null counts as none.
fn members_of(value: Option<Value>) -> Result<Option<Vec<String>>, Problem> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let ids: Ids = serde_json::from_value(value).map_err(|error| {
        Problem::shape(format!("`members` must be a list of user ids: {error}."))
    })?;
    Ok(Some(ids.0.iter().map(|id| id.to_string()).collect()))
}

fn unknown() -> Problem {
    Problem::missing("There is no such channel.")
}

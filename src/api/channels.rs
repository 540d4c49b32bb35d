//! `/api/v1/channels`: the channels of the embedded directory, and who is in them.
//!
//! Sessions follow at once: a new member's sessions enter the channel's room, a former member's leave it.

use super::ApiResult;
use super::input::{ApiRequest, Ids};
use super::reply::{Problem, Reply};
use crate::directory::local::{ChannelChange, Record};
use serde_json::{Value, json};

pub fn list(request: ApiRequest) -> ApiResult {
    let channels = request
        .local()?
        .all_channels(request.after(), request.limit())?;
    Ok(Reply::json(&json!({"channels": channels})))
}

pub fn one(request: ApiRequest) -> ApiResult {
    match request.local()?.channel(request.name())? {
        Some(channel) => Ok(Reply::json(&channel)),
        None => Err(unknown()),
    }
}

pub async fn put(request: ApiRequest) -> ApiResult {
    let (house, local, id) = (request.house, request.local()?, request.name().to_owned());
    let mut channel: Record = request.json().await?;
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

pub async fn delete(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    local.delete_channel(request.name())?;
    local.durable().await?;
    request.house.channels.close(request.name());
    Ok(Reply::done())
}

pub fn members(request: ApiRequest) -> ApiResult {
    match request
        .local()?
        .members(request.name(), request.after(), request.limit())?
    {
        Some(members) => Ok(Reply::json(&json!({"members": members}))),
        None => Err(unknown()),
    }
}

pub async fn put_member(request: ApiRequest) -> ApiResult {
    let (local, id, user_id) = (request.local()?, request.name(), request.second());
    local.put_member(id, user_id)?;
    local.durable().await?;
    request
        .house
        .channels
        .members_changed(id, &[user_id.to_owned()], &[])
        .await;
    Ok(Reply::done())
}

pub async fn delete_member(request: ApiRequest) -> ApiResult {
    let (local, id, user_id) = (request.local()?, request.name(), request.second());
    local.delete_member(id, user_id)?;
    local.durable().await?;
    request
        .house
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

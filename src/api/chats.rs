//! `/api/v1/chats`: chats, who may read and write them, and their messages.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::{Problem, Reply};
use crate::directory::local::Record;
use serde_json::json;

pub fn list(request: ApiRequest) -> ApiResult {
    let user_id = request.query("user_id");
    let chats = request
        .local()?
        .chats(user_id, request.after(), request.limit())?;
    Ok(Reply::json(&json!({"chats": chats})))
}

pub fn one(request: ApiRequest) -> ApiResult {
    match request.local()?.chat(request.name())? {
        Some(chat) => Ok(Reply::json(&chat)),
        None => Err(unknown()),
    }
}

pub async fn put(request: ApiRequest) -> ApiResult {
    let (house, local, id) = (request.house, request.local()?, request.name().to_owned());
    let chat: Record = request.json().await?;
    let before = local.chat(&id)?;
    let (created, chat) = local.put_chat(&id, chat)?;
    local.durable().await?;
    let same = |field| before.as_ref().and_then(|before| before.get(field)) == chat.get(field);
    if !same("access_grants") || !same("user_id") {
        house.chats.access_changed(&id).await;
    }
    Ok(Reply::put(created, &chat))
}

pub async fn delete(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    local.delete_chat(request.name())?;
    local.durable().await?;
    request.house.chats.access_changed(request.name()).await;
    Ok(Reply::done())
}

pub fn messages(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    match local.messages(request.name(), request.after(), request.limit())? {
        Some(messages) => Ok(Reply::json(&json!({"messages": messages}))),
        None => Err(unknown()),
    }
}

pub fn message(request: ApiRequest) -> ApiResult {
    match request
        .local()?
        .message_record(request.name(), request.second())?
    {
        Some(message) => Ok(Reply::json(&message)),
        None => Err(Problem::missing("There is no such message.")),
    }
}

pub async fn put_message(request: ApiRequest) -> ApiResult {
    let (local, chat, id) = (
        request.local()?,
        request.name().to_owned(),
        request.second().to_owned(),
    );
    let message: Record = request.json().await?;
    let (created, message) = local.put_message(&chat, &id, message)?;
    local.durable().await?;
    Ok(Reply::put(created, &message))
}

pub async fn delete_message(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    local.delete_message(request.name(), request.second())?;
    local.durable().await?;
    Ok(Reply::done())
}

fn unknown() -> Problem {
    Problem::missing("There is no such chat.")
}

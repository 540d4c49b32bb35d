//! `/api/v1/chats`: chats, who may read and write them, and their messages.

use super::Answer;
use super::input::Ask;
use super::reply::{Problem, Reply};
use crate::directory::local::Record;
use serde_json::json;

pub async fn list(ask: Ask) -> Answer {
    let user_id = ask.query("user_id");
    let chats = ask.local()?.chats(user_id, ask.after(), ask.limit())?;
    Ok(Reply::json(&json!({"chats": chats})))
}

pub async fn one(ask: Ask) -> Answer {
    match ask.local()?.chat(ask.name())? {
        Some(chat) => Ok(Reply::json(&chat)),
        None => Err(unknown()),
    }
}

pub async fn put(ask: Ask) -> Answer {
    let (house, local, id) = (ask.house, ask.local()?, ask.name().to_owned());
    let chat: Record = ask.json().await?;
    let before = local.chat(&id)?;
    let (created, chat) = local.put_chat(&id, chat)?;
    local.durable().await?;
    let same = |field| before.as_ref().and_then(|before| before.get(field)) == chat.get(field);
    if !same("access_grants") || !same("user_id") {
        house.chats.access_changed(&id).await;
    }
    Ok(Reply::put(created, &chat))
}

pub async fn delete(ask: Ask) -> Answer {
    let local = ask.local()?;
    local.delete_chat(ask.name())?;
    local.durable().await?;
    ask.house.chats.access_changed(ask.name()).await;
    Ok(Reply::done())
}

pub async fn messages(ask: Ask) -> Answer {
    let local = ask.local()?;
    match local.messages(ask.name(), ask.after(), ask.limit())? {
        Some(messages) => Ok(Reply::json(&json!({"messages": messages}))),
        None => Err(unknown()),
    }
}

pub async fn message(ask: Ask) -> Answer {
    match ask.local()?.message_record(ask.name(), ask.second())? {
        Some(message) => Ok(Reply::json(&message)),
        None => Err(Problem::missing("There is no such message.")),
    }
}

pub async fn put_message(ask: Ask) -> Answer {
    let (local, chat, id) = (ask.local()?, ask.name().to_owned(), ask.second().to_owned());
    let message: Record = ask.json().await?;
    let (created, message) = local.put_message(&chat, &id, message)?;
    local.durable().await?;
    Ok(Reply::put(created, &message))
}

pub async fn delete_message(ask: Ask) -> Answer {
    let local = ask.local()?;
    local.delete_message(ask.name(), ask.second())?;
    local.durable().await?;
    Ok(Reply::done())
}

fn unknown() -> Problem {
    Problem::missing("There is no such chat.")
}

//! `/api/v1/chats`: chats, who may read and write them, and their messages.

use super::Answer;
use super::input::Ask;
use super::reply::{Problem, Reply};
use crate::directory::Access;
use crate::directory::local::Record;
use crate::house::House;
use serde_json::json;

pub fn list(ask: &Ask) -> Answer {
    let user_id = ask.query("user_id");
    let chats = ask.local()?.chats(user_id, ask.after(), ask.limit())?;
    Ok(Reply::json(&json!({"chats": chats})))
}

pub fn one(ask: &Ask) -> Answer {
    match ask.local()?.chat(ask.name())? {
        Some(chat) => Ok(Reply::json(&chat)),
        None => Err(unknown()),
    }
}

pub async fn put(ask: Ask) -> Answer {
    let (house, local, id) = (ask.house.clone(), ask.local()?, ask.name().to_owned());
    let chat: Record = ask.json().await?;
    let (created, chat) = local.put_chat(&id, chat)?;
    local.durable().await?;
    put_out(&house, &id).await;
    Ok(Reply::put(created, &chat))
}

pub async fn delete(ask: &Ask) -> Answer {
    let local = ask.local()?;
    local.delete_chat(ask.name())?;
    local.durable().await?;
    ask.house.backplane.close_room(&room(ask.name()));
    Ok(Reply::done())
}

pub fn messages(ask: &Ask) -> Answer {
    let local = ask.local()?;
    match local.messages(ask.name(), ask.after(), ask.limit())? {
        Some(messages) => Ok(Reply::json(&json!({"messages": messages}))),
        None => Err(unknown()),
    }
}

pub fn message(ask: &Ask) -> Answer {
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

pub async fn delete_message(ask: &Ask) -> Answer {
    let local = ask.local()?;
    local.delete_message(ask.name(), ask.second())?;
    local.durable().await?;
    Ok(Reply::done())
}

fn unknown() -> Problem {
    Problem::missing("There is no such chat.")
}

fn room(id: &str) -> String {
    format!("chat:{id}")
}

/// Makes everybody leave the chat's room who may no longer read it.
async fn put_out(house: &House, id: &str) {
    for sid in house.hub.members(&room(id)) {
        let Some(who) = house.sessions.who(sid) else {
            continue;
        };
        if house.directory.chat_access(&who, id).await == Ok(Access::None) {
            house.backplane.leave(sid, &room(id));
        }
    }
}

//! `/api/v1/rooms`: who is in which room; users enter and leave.

use super::Answer;
use super::input::{Ask, Ids};
use super::reply::{Problem, Reply};
use crate::ground::rooms;
use crate::socket::Sid;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserIds {
    user_ids: Ids,
}

pub async fn list(ask: Ask) -> Answer {
    let (prefix, after) = (ask.query("prefix").unwrap_or_default(), ask.after());
    let mut rooms = ask.house.core.hub.occupied("/");
    rooms.retain(|(room, _)| room.starts_with(prefix) && Sid::parse(room).is_none());
    rooms.sort_unstable();
    let page = rooms.iter().filter(|(room, _)| &**room > after);
    let page: Vec<Value> = page
        .take(ask.limit())
        .map(|(room, sessions)| json!({"room": &**room, "sessions": sessions}))
        .collect();
    Ok(Reply::json(&json!({"total": rooms.len(), "rooms": page})))
}

pub async fn one(ask: Ask) -> Answer {
    let mut sids = ask.house.core.hub.members(ask.name());
    sids.sort_unstable();
    let users = ask.house.core.pools.sessions.users_of(&sids);
    let users: Vec<Value> = users
        .values()
        .map(|user| json!({"id": user.id, "name": user.name, "role": user.role}))
        .collect();
    Ok(Reply::json(
        &json!({"room": ask.name(), "sessions": sids, "users": users}),
    ))
}

pub async fn enter(ask: Ask) -> Answer {
    let (house, room) = (ask.house, free(&ask)?);
    let user_ids = user_ids(ask).await?;
    let user_ids: Vec<String> = user_ids.0.iter().map(|id| id.to_string()).collect();
    house.sessions.enter_for_users(&room, &user_ids).await;
    let sessions = house.core.hub.members(&room).len();
    Ok(Reply::json(&json!({"room": room, "sessions": sessions})))
}

pub async fn leave(ask: Ask) -> Answer {
    let (house, room) = (ask.house, free(&ask)?);
    let user_ids = user_ids(ask).await?;
    let user_ids: Vec<String> = user_ids.0.iter().map(|id| id.to_string()).collect();
    house.sessions.leave_for_users(&room, &user_ids).await;
    let sessions = house.core.hub.members(&room).len();
    Ok(Reply::json(&json!({"room": room, "sessions": sessions})))
}

pub async fn close(ask: Ask) -> Answer {
    ask.house.core.peers.close_room(&free(&ask)?);
    Ok(Reply::done())
}

/// Whom the body names: at least one user.
async fn user_ids(ask: Ask) -> Result<Ids, Problem> {
    let UserIds { user_ids } = ask.json().await?;
    match user_ids.0.is_empty() {
        false => Ok(user_ids),
        true => Err(Problem::shape("`user_ids` must name somebody.")),
    }
}

/// The room, unless it says who somebody is: those are siskin's own to fill.
fn free(ask: &Ask) -> Result<String, Problem> {
    let room = ask.name();
    if rooms::user(room).is_some()
        || Sid::parse(room).is_some_and(|sid| ask.house.core.hub.is_connected(sid))
    {
        let detail = "The room of one user or one session stays as it is.";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(room.to_owned())
}

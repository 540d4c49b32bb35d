//! `/api/v1/rooms`: who is in which room; users enter and leave.

use super::ApiResult;
use super::input::{ApiRequest, Ids};
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

pub fn list(request: ApiRequest) -> ApiResult {
    let (prefix, after) = (request.query("prefix").unwrap_or_default(), request.after());
    let mut rooms = request.house.core.hub.occupied("/");
    rooms.retain(|(room, _)| room.starts_with(prefix) && Sid::parse(room).is_none());
    rooms.sort_unstable();
    let page = rooms.iter().filter(|(room, _)| &**room > after);
    let page: Vec<Value> = page
        .take(request.limit())
        .map(|(room, sessions)| json!({"room": &**room, "sessions": sessions}))
        .collect();
    Ok(Reply::json(&json!({"total": rooms.len(), "rooms": page})))
}

pub fn one(request: ApiRequest) -> ApiResult {
    let mut sids = request.house.core.hub.members(request.name());
    sids.sort_unstable();
    let users = request.house.core.pools.sessions.users_of(&sids);
    let users: Vec<Value> = users
        .values()
        .map(|user| json!({"id": user.id, "name": user.name, "role": user.role}))
        .collect();
    Ok(Reply::json(
        &json!({"room": request.name(), "sessions": sids, "users": users}),
    ))
}

pub async fn enter(request: ApiRequest) -> ApiResult {
    let (house, room) = (request.house, free(&request)?);
    let user_ids = user_ids(request).await?;
    let user_ids: Vec<String> = user_ids.0.iter().map(|id| id.to_string()).collect();
    house.sessions.enter_for_users(&room, &user_ids).await;
    let sessions = house.core.hub.members(&room).len();
    Ok(Reply::json(&json!({"room": room, "sessions": sessions})))
}

pub async fn leave(request: ApiRequest) -> ApiResult {
    let (house, room) = (request.house, free(&request)?);
    let user_ids = user_ids(request).await?;
    let user_ids: Vec<String> = user_ids.0.iter().map(|id| id.to_string()).collect();
    house.sessions.leave_for_users(&room, &user_ids).await;
    let sessions = house.core.hub.members(&room).len();
    Ok(Reply::json(&json!({"room": room, "sessions": sessions})))
}

pub fn close(request: ApiRequest) -> ApiResult {
    request.house.core.peers.close_room(&free(&request)?);
    Ok(Reply::done())
}

/// Whom the body names: at least one user.
async fn user_ids(request: ApiRequest) -> Result<Ids, Problem> {
    let UserIds { user_ids } = request.json().await?;
    match user_ids.0.is_empty() {
        false => Ok(user_ids),
        true => Err(Problem::shape("`user_ids` must name somebody.")),
    }
}

/// The room, unless it says who somebody is: those are siskin's own to fill.
fn free(request: &ApiRequest) -> Result<String, Problem> {
    let room = request.name();
    if rooms::user(room).is_some()
        || Sid::parse(room).is_some_and(|sid| request.house.core.hub.is_connected(sid))
    {
        let detail = "The room of one user or one session stays as it is.";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(room.to_owned())
}

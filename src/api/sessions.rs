//! `/api/v1/sessions`: who is connected; disconnecting.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::{Problem, Reply};
use crate::app::House;
use crate::app::gone::Gone;
use crate::ground::rooms;
use crate::socket::Sid;
use serde_json::{Value, json};

pub fn list(request: ApiRequest) -> ApiResult {
    let house = &request.house;
    if request.query("gone") == Some("true") {
        let gone = house.gone.of(request.query("user_id"));
        let shown: Vec<Value> = gone.iter().take(request.limit()).map(show_gone).collect();
        return Ok(Reply::json(
            &json!({"total": gone.len(), "sessions": shown}),
        ));
    }
    let mut sids = match request.query("user_id") {
        Some(user_id) => house.core.hub.members(&rooms::of_user(user_id)),
        None => house.core.hub.sids(),
    };
    let total = sids.len();
    sids.sort_unstable();
    let after = Sid::parse(request.after());
    let behind = |sid: &&Sid| after.is_none_or(|after| **sid > after);
    let sessions: Vec<Value> = sids
        .iter()
        .filter(behind)
        .take(request.limit())
        .map(|sid| show(house, *sid))
        .collect();
    Ok(Reply::json(&json!({"total": total, "sessions": sessions})))
}

pub fn one(request: ApiRequest) -> ApiResult {
    let here = Sid::parse(request.name()).filter(|sid| request.house.core.hub.is_connected(*sid));
    let sid = here.ok_or_else(unknown)?;
    Ok(Reply::json(&show(request.house, sid)))
}

/// Also a session of another instance, as long as somebody is signed in there.
pub async fn end(request: ApiRequest) -> ApiResult {
    let (house, name) = (&request.house, request.name());
    let here = Sid::parse(name).is_some_and(|sid| house.core.hub.is_connected(sid));
    if !here && house.sessions.owner(name).await.is_none() {
        return Err(unknown());
    }
    house.core.peers.disconnect(name, "ended over the API");
    Ok(Reply::done())
}

pub async fn end_of_user(request: ApiRequest) -> ApiResult {
    let disconnected = request.house.sessions.disconnect_user(request.name()).await;
    Ok(Reply::json(&json!({"disconnected": disconnected})))
}

fn unknown() -> Problem {
    Problem::missing("There is no such session.")
}

/// The same of one that has ended.
fn show_gone(gone: &Gone) -> Value {
    json!({
        "sid": gone.sid,
        "user": gone.user,
        "last_seen_at": null,
        "rooms": [],
        "address": null,
        "gone": {"at": gone.at, "why": gone.why},
    })
}

/// A session as the API shows it.
fn show(house: &House, sid: Sid) -> Value {
    let entry = house.core.pools.sessions.entry(sid).unwrap_or_default();
    let user = house
        .core
        .pools
        .sessions
        .who(sid)
        .map(|who| json!({"id": who.user.id, "name": who.user.name, "role": who.user.role}));
    let mut rooms = house.core.hub.rooms(sid);
    rooms.sort_unstable();
    let rooms: Vec<&str> = rooms.iter().map(|room| &**room).collect();
    json!({
        "sid": sid,
        "user": user,
        "last_seen_at": entry.get("last_seen_at"),
        "rooms": rooms,
        "address": house.core.hub.peer(sid).map(|peer| peer.address.to_string()),
    })
}

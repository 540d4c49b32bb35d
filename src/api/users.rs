//! `/api/v1/users`: the users of the embedded directory.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::{Problem, Reply};
use crate::directory::local::{Record, UserChange};
use serde_json::json;

pub fn list(request: ApiRequest) -> ApiResult {
    let users = request.local()?.users(request.after(), request.limit())?;
    Ok(Reply::json(&json!({"users": users})))
}

pub fn one(request: ApiRequest) -> ApiResult {
    match request.local()?.user(request.name())? {
        Some(user) => Ok(Reply::json(&user)),
        None => Err(Problem::missing("There is no such user.")),
    }
}

/// A user whose role changed signs in again with the new one.
pub async fn put(request: ApiRequest) -> ApiResult {
    let (house, local, id) = (request.house, request.local()?, request.name().to_owned());
    let user: Record = request.json().await?;
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

pub async fn delete(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    local.delete_user(request.name())?;
    local.durable().await?;
    request.house.sessions.disconnect_user(request.name()).await;
    Ok(Reply::done())
}

//! `GET /api/v1/models`: the models in use.

use super::Answer;
use super::input::Ask;
use super::reply::Reply;
use serde_json::json;

pub async fn list(ask: Ask) -> Answer {
    let models = ask.house.usage.models().await;
    Ok(Reply::json(&json!({"models": models})))
}

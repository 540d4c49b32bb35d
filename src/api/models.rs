//! `GET /api/v1/models`: the models in use.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::Reply;
use serde_json::json;

pub async fn list(request: ApiRequest) -> ApiResult {
    let models = request.house.usage.models().await;
    Ok(Reply::json(&json!({"models": models})))
}

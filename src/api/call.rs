//! `POST /api/v1/chat/call`: asks one browser and waits for its answer.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::{Problem, Reply};
use crate::app::calls::{NoAnswer, Question};
use crate::ground::names::Id;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::time::Duration;

/// Seconds that may be asked for.
const MAX_TIMEOUT: f64 = 86_400.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    user_id: Id,
    session_id: Id,
    chat_id: Id,
    message_id: Option<Id>,
    event: Box<RawValue>,
    timeout: Option<f64>,
}

pub async fn call(request: ApiRequest) -> ApiResult {
    let house = request.house;
    let call: Call = request.json().await?;
    let timeout = match call.timeout {
        None => None,
        Some(seconds) if seconds > 0.0 && seconds <= MAX_TIMEOUT => {
            Some(Duration::from_secs_f64(seconds))
        }
        Some(_) => {
            return Err(Problem::shape(
                "`timeout` must be more than 0 and at most 86400 seconds.",
            ));
        }
    };
    let question = Question {
        user_id: call.user_id.to_string(),
        session_id: call.session_id.to_string(),
        chat_id: call.chat_id.to_string(),
        message_id: call.message_id.map(|id| id.to_string()),
    };
    let answer = house.calls.ask(&question, &call.event, timeout).await;
    let answer = answer.map_err(problem)?;
    // Clients acknowledge with one value; of several the first counts, as with the reference.
    Ok(Reply::json(&json!({"answer": answer.first_as_json()})))
}

fn problem(why: NoAnswer) -> Problem {
    let (status, detail) = match why {
        NoAnswer::NotAnEvent => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "`event` must be an object with a text `type`; a question to a person needs an object as its `data`.",
        ),
        NoAnswer::Unknown => (StatusCode::NOT_FOUND, "There is no such session."),
        NoAnswer::NotTheirs => (StatusCode::FORBIDDEN, "The session is another user's."),
        NoAnswer::Gone => (StatusCode::GONE, "The session left before it answered."),
        NoAnswer::Timeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "The browser did not answer in time.",
        ),
    };
    Problem::new(status, detail)
}

//! `/api/v1/streams`: a backend takes what a client streams to it (direct connections).

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::{Problem, Reply};
use crate::app::streams::is_name;
use crate::peers::pools::streams::NoStream;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

/// Seconds that taking waits when nothing has come and nothing else is said.
const WAIT: u64 = 20;

#[derive(Serialize)]
struct Events {
    events: Vec<Box<RawValue>>,
}

pub fn open(request: ApiRequest) -> ApiResult {
    if !is_name(request.name()) {
        let detail = "A stream's name is `{user}:{session}:{request}`, with just these two colons.";
        return Err(Problem::shape(detail));
    }
    match request
        .house
        .core
        .pools
        .streams
        .open(request.name(), Instant::now())
    {
        true => Ok(Reply::done()),
        false => {
            let detail = "Too many streams are open: close those that have ended.";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}

pub async fn take(request: ApiRequest) -> ApiResult {
    let wait = request.query("wait").and_then(|wait| wait.parse().ok());
    let wait = Duration::from_secs(wait.unwrap_or(WAIT));
    match request
        .house
        .core
        .pools
        .streams
        .take(request.name(), wait)
        .await
    {
        Ok(events) => Ok(Reply::json(&Events { events })),
        Err(NoStream::Closed) => Err(closed()),
        Err(NoStream::Lost) => {
            let detail = "So much came and was not taken that some was lost; the stream is closed.";
            Err(Problem::new(StatusCode::GONE, detail))
        }
    }
}

pub fn close(request: ApiRequest) -> ApiResult {
    match request.house.core.pools.streams.close(request.name()) {
        true => Ok(Reply::done()),
        false => Err(closed()),
    }
}

fn closed() -> Problem {
    Problem::missing("That stream is not open.")
}

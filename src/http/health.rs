//! `/health` (lives), `/ready` (may take traffic; why not, if not), `/metrics` (Prometheus text).

use super::Answer;
use super::answer::text;
use super::client_address::is_local;
use crate::api;
use crate::app::House;
use crate::metrics;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use std::net::IpAddr;

const JSON: &str = "application/json";

/// We answer, so we live.
pub fn alive() -> Answer {
    text(StatusCode::OK, "{\"status\":\"ok\"}\n", JSON)
}

/// 200 when traffic may come, else 503; either way with what is not as it should be: which part, and with the API's key why.
pub fn ready(house: &House, headers: &HeaderMap) -> Answer {
    let faults = house.core.faults();
    let ready = faults.is_empty();
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let knows = !ready && api::check_key(house, headers).is_ok();
    let tell = |(part, why): (&str, String)| match knows {
        true => why,
        false => format!("{part} is not as it should be; who shows the API's key is told why"),
    };
    let reasons: Vec<String> = faults.into_iter().map(tell).collect();
    let body = serde_json::json!({ "ready": ready, "reasons": reasons });
    text(code, format!("{body}\n"), JSON)
}

/// Everything that is counted (Prometheus text format 0.0.4): for who shows the API's key, and who asks from this machine.
pub fn metrics(house: &House, request: &Request<Incoming>, peer: IpAddr) -> Answer {
    if !house.core.config.metrics_open
        && !is_local(peer, request)
        && let Err(problem) = api::check_key(house, request.headers())
    {
        return problem.reply("/metrics").response();
    }
    text(
        StatusCode::OK,
        metrics::text(),
        "text/plain; version=0.0.4; charset=utf-8",
    )
}

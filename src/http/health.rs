//! `/health` (lives), `/ready` (may take traffic; why not, if not), `/metrics` (Prometheus text).

use super::Answer;
use super::answer::text;
use crate::app::House;
use crate::metrics;
use hyper::StatusCode;

const JSON: &str = "application/json";

/// We answer, so we live.
pub fn alive() -> Answer {
    text(StatusCode::OK, "{\"status\":\"ok\"}\n", JSON)
}

/// 200 when traffic may come, else 503; either way with what is not as it should be.
pub fn ready(house: &House) -> Answer {
    let readiness = house.core.readiness();
    let code = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::json!({ "ready": readiness.ready, "reasons": readiness.reasons });
    text(code, format!("{body}\n"), JSON)
}

/// Everything that is counted (Prometheus text format 0.0.4).
pub fn metrics() -> Answer {
    text(
        StatusCode::OK,
        metrics::text(),
        "text/plain; version=0.0.4; charset=utf-8",
    )
}

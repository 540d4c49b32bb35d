//! `GET /api/v1/status` and `/log`: how this instance is doing, for the console and for scripts.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::Reply;
use crate::app::House;
use crate::config::DirectoryKind;
use crate::metrics::{self, Counter, Gauge};
use serde_json::json;

pub fn status(request: ApiRequest) -> ApiResult {
    let house = &request.house;
    let (waiting_bytes, waiting_sessions) = house.core.hub.waiting();
    let faults = house.core.faults().into_iter();
    let degraded: Vec<String> = faults.map(|(_, why)| why).collect();
    let directory = match &house.core.config.directory {
        DirectoryKind::Local => "local".to_owned(),
        DirectoryKind::OpenWebui(url) => url.to_string(),
    };
    Ok(Reply::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "directory": directory,
        "redis": redis(house),
        "degraded": degraded,
        "sessions": {
            "websocket": metrics::gauged(Gauge::Websockets),
            "polling": metrics::gauged(Gauge::Pollings),
            "signed_in": house.core.pools.sessions.len(),
        },
        "rooms": metrics::gauged(Gauge::Rooms),
        "models": house.core.pools.usage.models().len(),
        "documents": house.core.documents.figures().0,
        "outbox": {
            "waiting_bytes": waiting_bytes,
            "waiting_sessions": waiting_sessions,
            "overflows": metrics::counted(Counter::OutboxOverflows),
        },
        "recovery": {
            "who": house.core.config.recovery.word(),
            "seconds": house.core.config.recovery_time.as_secs_f64(),
            "most_bytes": house.core.config.recovery_bytes,
            "bytes": metrics::gauged(Gauge::Kept),
            "away": metrics::gauged(Gauge::Away),
            "recovered": metrics::counted(Counter::Recovered),
            "not_recovered": metrics::all_not_recovered(),
        },
        "totals": {
            "events": metrics::events(),
            "packets_in": metrics::counted(Counter::PacketsIn),
            "packets_out": metrics::counted(Counter::PacketsOut),
            "bytes_in": metrics::counted(Counter::BytesIn),
            "bytes_out": metrics::counted(Counter::BytesOut),
        },
        "resident_bytes": metrics::resident_bytes(),
    })))
}

fn redis(house: &House) -> &'static str {
    match (&house.core.config.redis, house.core.peers.degraded()) {
        (None, _) => "off",
        (Some(_), None) => "up",
        (Some(_), Some(_)) => "down",
    }
}

pub fn log(request: ApiRequest) -> ApiResult {
    let after = request.query("after").and_then(|after| after.parse().ok());
    let lines = crate::log::tail(after.unwrap_or(0));
    Ok(Reply::json(&json!({"lines": lines})))
}

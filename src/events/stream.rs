//! `{user}:{session}:{request}`: a client streams to a backend (direct connections).

use super::{Work, unknown};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::streams;
use crate::ground::tasks::within;
use crate::socket::{Args, Event};
use std::time::Duration;

/// How long a client's next event waits for Redis.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first argument goes to whoever listens to this stream.
pub fn event(house: &'static House, from: &Sender, event: &Event<'_>) -> Work {
    let values = event.args.values();
    let Some(data) = values.first() else {
        return Work::refuse(Fault::Payload);
    };
    match streams::push(house.core, from, &event.name, data) {
        Ok(true) if house.core.peers.is_crowded() => Work::later(async {
            // What an instance says while Redis is away for long is lost in the end.
            within(PATIENCE, house.core.peers.has_room()).await;
            Ok(Args::none())
        }),
        Ok(true) => Work::done(),
        Ok(false) => unknown::event(house, event),
        Err(fault) => Work::refuse(fault),
    }
}

//! `{user}:{session}:{request}`: a client streams to a backend (direct connections).

use super::{Work, owned, unknown};
use crate::app::House;
use crate::app::core::Fault;
use crate::app::streams;
use crate::ground::tasks::{aside, within};
use crate::socket::{Args, Event};
use serde_json::value::RawValue;
use std::time::Duration;

/// How long a client's next event waits for Redis.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first argument goes to whoever listens to this stream.
pub fn event(house: &'static House, event: &Event<'_>) -> Work {
    let values = event.args.values();
    let Some(data) = values.first() else {
        return Work::refuse(Fault::Payload);
    };
    match streams::push(house.core, &event.name, data) {
        Ok(true) if house.core.peers.is_crowded() => Work::later(async {
            wait_for_room(house).await;
            Ok(Args::none())
        }),
        Ok(true) => Work::done(),
        Ok(false) => unknown::event(house, event),
        Err(fault) => Work::refuse(fault),
    }
}

/// The same with an argument that takes longer to look at than a turn may.
pub fn large(house: &'static House, event: Event<'_>) -> Work {
    let event = owned(event);
    Work::later(async move {
        let args = event.args;
        let (args, data) = aside(move || {
            let data = args.first::<Box<RawValue>>();
            (args, data)
        })
        .await;
        let data = data.ok_or(Fault::Payload)?;
        if streams::push(house.core, &event.name, &data)? {
            wait_for_room(house).await;
            return Ok(Args::none());
        }
        let event = Event { args, ..event };
        if let Work::Handed(Some(wait)) = unknown::event(house, &event) {
            wait.await;
        }
        Err(Fault::Denied("handed over, who answers is another"))
    })
}

/// What an instance says while Redis is away for long is lost in the end.
async fn wait_for_room(house: &House) {
    if house.core.peers.is_crowded() {
        within(PATIENCE, house.core.peers.has_room()).await;
    }
}

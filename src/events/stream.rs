//! `{user}:{session}:{request}`: a client streams to a backend (direct connections).

use super::{Work, unknown};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::streams;
use crate::socket::Event;

/// The first argument goes to whoever listens to this stream.
pub fn event(house: &'static House, from: &Sender, event: &Event<'_>) -> Work {
    let values = event.args.values();
    let Some(data) = values.first() else {
        return Work::refuse(Fault::Payload);
    };
    match streams::push(house.core, from, &event.name, data) {
        Ok(true) => Work::done(),
        Ok(false) => unknown::event(house, event),
        Err(fault) => Work::refuse(fault),
    }
}

//! `{user}:{session}:{request}`: a client streams to a backend (direct connections).

use super::Work;
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::streams;
use crate::socket::Args;

/// The first argument goes to whoever listens to this stream.
pub fn event(house: &House, from: &Sender, name: &str, args: &Args<'_>) -> Work {
    let values = args.values();
    let Some(data) = values.first() else {
        return Work::refuse(Fault::Payload);
    };
    match streams::push(house.core, from, name, data) {
        Ok(()) => Work::done(),
        Err(fault) => Work::refuse(fault),
    }
}

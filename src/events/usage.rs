//! `usage`: a session uses a model.

use super::Work;
use super::payload::Id;
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::socket::Args;
use serde::Deserialize;

#[derive(Deserialize)]
struct Payload {
    model: Id,
}

/// `{model}`: in use by this session, now.
pub fn usage(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(Payload { model }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    house.usage.touch(&model, from.sid);
    Work::done()
}

//! `usage`: a session uses a model; entries are swept every 3 s, only while there are any.

use super::payload::Id;
use super::{Fault, Sender, Work};
use crate::house::House;
use crate::socket::Args;
use crate::state::{now, usage::LIFETIME};
use serde::Deserialize;
use std::rc::Rc;
use std::time::Duration;

#[derive(Deserialize)]
struct Payload {
    model: Id,
}

/// `{model}`: in use by this session, now.
pub fn usage(from: Sender, args: &Args<'_>) -> Work {
    let Some(Payload { model }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    from.house.usage.touch(&model, from.sid, now());
    keep_sweeping(&from.house);
    Work::done()
}

/// Sweeps until the pool is empty.
fn keep_sweeping(house: &Rc<House>) {
    if house.sweeping.replace(true) {
        return;
    }
    let weak = Rc::downgrade(house);
    let sweep = async move {
        loop {
            smol::Timer::after(Duration::from_secs(LIFETIME.unsigned_abs())).await;
            let Some(house) = weak.upgrade() else { return };
            if !house.usage.sweep(now()) {
                house.sweeping.set(false);
                return;
            }
        }
    };
    house.executor.spawn(sweep).detach();
}

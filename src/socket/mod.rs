//! Socket.IO v5: packets, hub, rooms, acks. No application word in it.

mod args;
mod hub;

pub use crate::engine::Sid;
pub use args::Args;
pub use hub::{CallError, Event, Handler, Hub, Reason, Step, Target, To};

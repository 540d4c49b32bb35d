//! Socket.IO v5: packets, hub, rooms, acks. No application word in it.

mod args;
mod asking;
mod client;
mod encode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hub;
mod large;
mod object;
mod packet;
mod partial;
mod prepared;
mod question;
#[cfg(test)]
mod random_tests;
pub mod recovery;
mod rooms;
mod select;
mod trace;
mod types;
mod watching;

pub use crate::engine::{BySid, Mark, Peer, Sid};
pub use crate::outbox::Frame;
pub use args::Args;
pub use encode::{event_begins, event_ends, plain_event};
pub use hub::Hub;
pub use object::Object;
pub use packet::{Kind, MAX_ATTACHMENTS, MAX_DEPTH, Packet, is_reserved};
pub use prepared::{Made, Prepared, Written};
pub use question::Done;
pub use recovery::place::Offset;
pub use types::{CallError, Comes, Event, Fetch, Fetched, Find, Found, Handler, Lateness};
pub use types::{Memo, Reason, Step, Target, To};

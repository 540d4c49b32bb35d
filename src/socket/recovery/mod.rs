//! Recovery: whoever lost the connection takes up the session where it was, and gets what it missed.
//!
//! Events are numbered. Each that went to somebody who can come back, or is for somebody who is away, is kept in the
//! [`ring`] with its target. A client of that kind is told the number of each event as its last argument, and says the last
//! one when it connects again with the private id of its session: then it gets all that followed, once and in order, and
//! after it the old sid; or it learns that something may be missing, by a new one.
//!
//! - [`ring`]: the events
//! - [`place`]: where a session is in them
//! - [`away`]: the sessions that may come back
//! - [`kept`]: both, within their bounds
//! - [`sending`]: an event with and without its number
//! - [`comeback`]: going away, coming back
//! - [`handover`]: all of it to the next process
//! - [`moving`]: one of them to another instance

mod away;
mod comeback;
mod handover;
#[cfg(test)]
mod handover_tests;
pub(super) mod kept;
#[cfg(test)]
mod model_tests;
pub(super) mod moving;
#[cfg(test)]
mod moving_tests;
pub(super) mod place;
mod ring;
pub(super) mod sending;

pub use kept::Settings;

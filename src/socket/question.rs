//! What a socket is asked.

use super::{Args, Frame};

/// What an ack is handed to; `None` when the socket went first.
pub type Done = Box<dyn FnOnce(Option<Args<'static>>)>;

/// An event that a socket has not acknowledged.
pub struct Question {
    /// The id of its ack.
    pub id: u64,
    pub frame: Frame,
    /// It is held while its socket is away; else somebody else is asked then.
    pub waits: bool,
    pub done: Done,
}

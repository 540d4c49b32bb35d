//! What tells the other instances of an emit.

use std::borrow::Cow;

/// A message for a channel.
pub struct Outgoing {
    pub channel: Cow<'static, str>,
    pub message: String,
}

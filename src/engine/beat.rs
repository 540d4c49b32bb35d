//! What the heartbeats keep of a session.

use std::cell::Cell;

/// Heartbeat state of a session.
#[derive(Default)]
pub(super) struct Beat {
    /// The tick of its entry in the heartbeats that counts.
    pub due: Cell<u64>,
    /// A ping is out, its pong is not in.
    pub waiting: Cell<bool>,
    /// The client has sent something since the last ping. A poll is none: an HTTP client polls on whoever is behind it.
    pub heard: Cell<bool>,
    /// Pongs that may be late: a poll's large answer comes before the ping, and takes its time.
    pub late: Cell<u8>,
    /// Pings sent, up to 255.
    pub pings: Cell<u8>,
}

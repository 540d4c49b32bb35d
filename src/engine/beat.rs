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
    /// Pings whose pongs are not in, up to 255.
    unanswered: Cell<u8>,
    /// Pings sent.
    pings: Cell<u32>,
}

impl Beat {
    /// A ping is sent.
    pub fn ask(&self) {
        self.pings.set(self.pings.get().saturating_add(1));
        self.unanswered.set(self.unanswered.get().saturating_add(1));
    }

    /// A pong has come.
    pub fn answer(&self) {
        self.unanswered.set(self.unanswered.get().saturating_sub(1));
    }

    /// Pings sent.
    pub fn pings(&self) -> u32 {
        self.pings.get()
    }

    /// Those whose pongs are in.
    pub fn answered(&self) -> u32 {
        let unanswered = u32::from(self.unanswered.get());
        self.pings.get().saturating_sub(unanswered)
    }
}

//! What a client has of what its session was sent, by its pongs: they come in the order of the pings, and those in the order of all.

use super::Session;
use std::rc::Rc;

/// A point in what a session is sent.
#[derive(Clone, Copy)]
pub struct Mark {
    session: (u32, u32),
    pings: u32,
}

impl Session {
    pub(super) fn ping(self: &Rc<Self>) {
        self.beat.ask();
        self.send(&self.engine.ping);
    }

    /// Marks the end of what it was sent up to now: by a ping, whose pong says that the client has all of that.
    pub fn mark(self: &Rc<Self>) -> Mark {
        self.ping();
        Mark {
            session: self.key.get(),
            pings: self.beat.pings(),
        }
    }

    /// Whether its client has what came before the mark. A mark of another session of the client is passed.
    pub fn has_passed(&self, mark: Mark) -> bool {
        mark.session != self.key.get() || self.beat.answered() >= mark.pings
    }
}

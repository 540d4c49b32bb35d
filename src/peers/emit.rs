//! Emitting to sockets, wherever they are.

use super::{Outgoing, Peers};
use crate::socket::{Args, Prepared, Target};

impl Peers {
    /// Sends an event to all sockets of the target, wherever they are. Returns how many got it here.
    pub fn emit(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        self.tell(target, event, args);
        self.emit_here(target, event, args)
    }

    /// The same of an event that was prepared.
    pub fn emit_prepared(&self, target: &Target<'_>, event: &str, made: &Prepared) -> usize {
        self.tell(target, event, &made.args);
        match self {
            Self::Alone(hub) => hub.emit_prepared(target, event, made),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.emit_prepared_here(target, event, made),
        }
    }

    fn tell(&self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.emit(target, event, args),
        }
    }

    /// Sends an event to the sockets of the target that are here; the others have been told. Returns how many got it.
    pub fn emit_here(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        match self {
            Self::Alone(hub) => hub.emit(target, event, args),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.emit_here(target, event, args),
        }
    }

    /// What tells the others of an emit, for who publishes it in one step with something else; `None` when there
    /// are none.
    pub fn outgoing(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> Option<Outgoing> {
        match self {
            Self::Alone(_) => None,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => Some(peers.backplane.outgoing(target, event, args)),
        }
    }
}

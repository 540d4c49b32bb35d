//! Emitting to sockets, wherever they are.

use super::{Outgoing, Peers};
use crate::socket::{Args, Made, Prepared, Sid, Target};

impl Peers {
    /// Sends an event to all sockets of the target, wherever they are. Returns how many got it here.
    pub fn emit(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        self.tell(target, event, args);
        self.emit_as(target, event, args, None)
    }

    /// The same of an event that may have been written before.
    pub fn emit_prepared(
        &self,
        target: &Target<'_>,
        event: &str,
        Prepared { args, made }: &Prepared<'_>,
    ) -> usize {
        self.tell(target, event, args);
        self.emit_as(target, event, args, made.as_ref())
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
        self.emit_as(target, event, args, None)
    }

    fn emit_as(
        &self,
        target: &Target<'_>,
        event: &str,
        args: &Args<'_>,
        made: Option<&Made>,
    ) -> usize {
        match self {
            Self::Alone(hub) => hub.emit_as(target, event, args, made),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.emit_here(target, event, args, made),
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

    /// From now on one of those who edit a note puts in it what somebody outside wrote: this says who may, by the note's id.
    pub fn set_writer(&self, writer: impl Fn(&str) -> Option<Sid> + 'static) {
        match self {
            Self::Alone(_) => drop(writer),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.set_writer(writer),
        }
    }

    /// Whether a client has heard over Redis what comes to its socket that is set apart. Else it is told now, and not by Redis.
    pub fn has_heard(&self, client: Sid, event: &str, args: &Args<'_>) -> bool {
        match self {
            Self::Alone(_) => false,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.has_heard(client, event, args),
        }
    }
}

//! Events that ask one socket for an ack.

use super::hub::Done;
use super::{Args, CallError, Hub, Sid, Target, encode, trace};
use crate::ground::tasks::within;
use crate::metrics::{self, Counter};
use smol::channel;
use std::time::Duration;

impl Hub {
    /// Sends an event to one socket and calls `done` once: with its ack, or `None` when it went before answering.
    /// Returns the ack id for `forget`; `None` (and no call) when the socket is not here.
    pub fn emit_with_ack(&self, sid: Sid, event: &str, args: &Args<'_>, done: Done) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        let id = self.next_ack.get() + 1;
        let socket = state.socket_mut(sid)?;
        if !socket
            .session
            .send(&encode::event(&socket.nsp, Some(id), event, args, None))
        {
            return None;
        }
        self.next_ack.set(id);
        trace::emitted(&Target::sid(sid), event, args, 1);
        socket.acks.push((id, done));
        Some(id)
    }

    /// Stops waiting for an ack.
    pub fn forget(&self, sid: Sid, ack: u64) {
        let done = self.take_ack(sid, ack);
        drop(done);
    }

    /// Sends an event to one socket and waits for its ack.
    ///
    /// # Errors
    /// No ack in time, or the socket went (or was not here).
    pub async fn call(
        &self,
        sid: Sid,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
    ) -> Result<Args<'static>, CallError> {
        let (answer, answered) = channel::bounded(1);
        let done = Box::new(move |args| drop(answer.try_send(args)));
        let id = self
            .emit_with_ack(sid, event, args, done)
            .ok_or(CallError::Gone)?;
        let _forget = ForgetOnDrop { hub: self, sid, id };
        let Some(answer) = within(timeout, answered.recv()).await else {
            metrics::add(Counter::AckTimeouts, 1);
            return Err(CallError::Timeout);
        };
        answer.ok().flatten().ok_or(CallError::Gone)
    }

    /// Who waits for an ack.
    pub(super) fn take_ack(&self, sid: Sid, ack: u64) -> Option<Done> {
        let mut state = self.state.borrow_mut();
        let acks = &mut state.socket_mut(sid)?.acks;
        let at = acks.iter().position(|(id, _)| *id == ack)?;
        Some(acks.swap_remove(at).1)
    }
}

/// Whoever stops waiting for an ack leaves nothing behind.
struct ForgetOnDrop<'a> {
    hub: &'a Hub,
    sid: Sid,
    id: u64,
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        self.hub.forget(self.sid, self.id);
    }
}

//! What is kept goes to the next process: the sequence, the ring, the sessions.

use super::away::Away;
use super::kept::now;
use super::ring::Ring;
use crate::ground::written::{Reader, Writer};
use crate::socket::Hub;
use crate::socket::rooms::Rooms;
use std::time::Duration;

impl Hub {
    /// From now on sessions that end with the server may come back, to another process.
    pub fn goes_on(&self) {
        if let Some(kept) = self.recovery.get() {
            kept.goes_on.set(true);
        }
    }

    /// All that is kept, for the next process; `None` when nobody is away.
    pub fn hand_over(&self) -> Option<Vec<u8>> {
        let kept = self.recovery.get()?;
        let (ring, away, now) = (kept.ring.borrow(), kept.away.borrow(), now());
        if away.is_empty() {
            return None;
        }
        let mut out = Writer::default();
        ring.write(&mut out, now);
        out.count(away.in_order().count());
        for away in away.in_order() {
            away.write(&mut out, &self.handler().write_memo(&away.memo), now);
        }
        Some(out.0)
    }

    /// Goes on with what another process left so long ago; before the first connection. How many sessions may come back;
    /// `None` if it is not as it was written: then there is nothing of it.
    pub fn take_over(&self, written: &[u8], ago: Duration) -> Option<usize> {
        let kept = self.recovery.get()?;
        let mut from = Reader::new(written, now().checked_sub(ago)?);
        let ring = Ring::read(&mut from)?;
        let (mut names, handler) = (Rooms::default(), self.handler());
        let memo = |bytes: &[u8]| handler.read_memo(bytes);
        let sessions = from.all(|from| Away::read(from, &mut names, memo))?;
        if !from.rest.is_empty() {
            return None;
        }
        *kept.ring.borrow_mut() = ring;
        for session in sessions {
            let mut away = kept.away.borrow_mut();
            // Each once.
            drop(away.take(session.sid));
            away.add(session);
        }
        self.sweep(now());
        self.sweep_later(kept);
        let away = kept.away.borrow();
        Some(away.in_order().count())
    }
}

//! What waits for all clients together is bounded: over it those go for whom most waits.
//!
//! What has come to wait since the last look is only added up, a frame for each who waits for it; at an eighth of the bound all
//! outboxes are looked at: there a frame that several wait for counts once.

use super::Engine;
use super::session::{Closed, Session};
use crate::metrics::{self, Counter};

impl Engine {
    /// So many bytes more wait for somebody who is slow to take them.
    pub(super) fn more_waits(&self, bytes: usize) {
        let grown = self.grown.get() + bytes;
        self.grown.set(grown);
        if grown > self.settings.outboxes / 8 {
            self.grown.set(0);
            self.relieve();
        }
    }

    /// Ends sessions until what waits for the others fits, and a quarter is free again. Calls no handler.
    fn relieve(&self) {
        let most = self.settings.outboxes;
        let sessions = self.all();
        let share = |session: &Session| match session.is_over() {
            true => 0,
            false => session.share(),
        };
        loop {
            let shares = sessions.iter().map(|session| share(session));
            let (mut total, largest) = shares.fold((0, 0), |(total, largest), share| {
                (total + share, share.max(largest))
            });
            if total <= most {
                return;
            }
            for session in &sessions {
                let share = share(session);
                if total > most / 4 * 3 && share > largest / 2 {
                    total = total.saturating_sub(share);
                    metrics::add(Counter::OutboxOverflows, 1);
                    session.doom(Closed::Overflow);
                }
            }
        }
    }
}

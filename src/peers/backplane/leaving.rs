//! The end of this process: sessions that lose their connection with it are taken up at other instances while it waits for
//! that, and the next process goes on with what it hears of Redis by.

use super::moving::{CHANNEL, PATIENCE, answers_of};
use super::{Backplane, wire};
use crate::ground::tasks::within;
use crate::ground::written::{Reader, Writer};
use crate::redis::Left;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long others may take to take sessions up: a client waits 0.5 to 1.5 s before it tries, and twice as long before it tries
/// again.
const LINGER: Duration = Duration::from_secs(5);

impl Backplane {
    /// Waits until nobody is away any more, as long as there are others who can take them up.
    pub async fn let_others_take(&self) {
        if self.redis.is_cluster() || self.hub.is_nobody_away() {
            return;
        }
        let channels = [CHANNEL.to_owned()];
        let listeners = within(PATIENCE, self.redis.listeners(&channels)).await;
        if listeners.is_some_and(|listeners| listeners.is_ok_and(|count| count.first() > Some(&1)))
        {
            let nobody = || self.hub.is_nobody_away().then_some(());
            within(LINGER, self.moves.given.until(nobody)).await;
        }
    }

    /// Whether another process can go on with what this one hears by.
    pub fn can_be_left(&self) -> bool {
        self.redis.can_be_left()
    }

    /// What the next process goes on with, when all that was published so far has come: what is published from now on waits
    /// for it.
    pub async fn hand_over(&self, out: &mut Writer) -> Option<OwnedFd> {
        let subscriber = self.redis.subscriber();
        subscriber.change(answers_of(self.redis.host_id()), false);
        let left = subscriber.hand_over().await?;
        if self.echoes.holds() {
            return None;
        }
        out.bytes(self.redis.host_id().as_bytes());
        left.write(out)
    }

    /// Goes on with what an earlier process left; before anything is heard.
    pub fn take_over(&self, from: &mut Reader<'_>, sockets: Vec<OwnedFd>) -> Option<()> {
        let host = from.text()?;
        let left = Left::read(from, sockets).filter(|_| self.redis.can_be_left())?;
        // What it published itself its sessions have got.
        *self.before.borrow_mut() = Some(wire::tail(host));
        self.redis.subscriber().take_over(left);
        Some(())
    }

    /// Waits until all is here that was published since; if that can't be known, nobody comes back.
    pub async fn caught_up(&self) {
        if !self.redis.subscriber().is_sure().await {
            self.hub.give_up_those(|_| true);
        }
    }
}

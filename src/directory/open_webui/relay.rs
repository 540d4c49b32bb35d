//! What only Open WebUI's own socket can do: noting what somebody has read in a channel or a chat.
//!
//! Receipts gather for a moment; then those of each user are delivered over a socket of theirs. What Open WebUI emits to
//! the user about it (`chat:list`) is passed on, unless it comes over Redis anyway. What can't be delivered is tried
//! again for ten minutes.

use super::client::UpstreamError;
use super::receipts::{Receipt, Receipts, Waiting};
use super::socket;
use super::watch::{AWAY, Watch};
use crate::config::HttpUrl;
use crate::directory::types::{Identity, Refusal};
use crate::ground::tasks::{Single, Tasks, within};
use crate::metrics;
use crate::socket::Hub;
use std::rc::Rc;
use std::time::Duration;

/// How long receipts gather.
const GATHER: Duration = Duration::from_millis(250);
/// How long the delivery for one user may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(5);
/// How long it is tried.
const GIVE_UP: Duration = Duration::from_secs(600);

/// Delivers read receipts.
pub struct Relay {
    tasks: Tasks,
    watch: Rc<Watch>,
    url: HttpUrl,
    hub: Option<Rc<Hub>>,
    waiting: Waiting,
    /// Is the task running that delivers them?
    delivering: Single,
}

impl Relay {
    pub fn new(tasks: Tasks, watch: Rc<Watch>, url: HttpUrl, hub: Option<Rc<Hub>>) -> Rc<Self> {
        Rc::new(Self {
            tasks,
            watch,
            url,
            hub,
            waiting: Waiting::default(),
            delivering: Single::default(),
        })
    }

    /// Takes a receipt, which is delivered in a moment. Refused when too many wait.
    pub fn mark_read(self: &Rc<Self>, who: &Identity, receipt: Receipt) -> Result<(), Refusal> {
        if !self.waiting.add(who, receipt) {
            metrics::refused("read receipts");
            return Err(AWAY);
        }
        let relay = self.clone();
        let deliver = || async move {
            smol::Timer::after(GATHER).await;
            loop {
                let delivered = relay.deliver_all().await;
                if relay.waiting.users() == 0 {
                    return;
                }
                smol::Timer::after(if delivered { GATHER } else { RETRY }).await;
            }
        };
        self.delivering
            .start(&self.tasks, "delivers read receipts", deliver);
        Ok(())
    }

    /// Delivers what still waits; for a server that goes down.
    pub async fn deliver_last(&self) {
        let in_hand = match within(DEADLINE, self.deliver_all()).await {
            Some(true) => return,
            Some(false) => 0,
            None => 1,
        };
        let lost = self.waiting.users() + in_hand;
        log::warn!("read receipts of {lost} users could not be delivered to Open WebUI");
    }

    /// Each user's in turn, so that one whose can't be delivered is in nobody's way. Whether all were.
    async fn deliver_all(&self) -> bool {
        let (mut last, mut all) = (Rc::from(""), true);
        while let Some((token, receipts)) = self.waiting.take_after(&last) {
            last = token.clone();
            if self.deliver(&token, &receipts).await {
                continue;
            }
            all = false;
            if receipts.since.elapsed() < GIVE_UP {
                self.waiting.put_back(token, receipts);
            } else {
                metrics::refused("read receipts");
                let (count, user) = (receipts.read.len(), &receipts.user_id);
                log::warn!(
                    "{count} read receipts of {user} could not be delivered to Open WebUI for ten minutes and are dropped"
                );
            }
        }
        all
    }

    async fn deliver(&self, token: &str, receipts: &Receipts) -> bool {
        if self.watch.is_away() {
            return false;
        }
        let work = socket::deliver(&self.url, token, receipts, self.hub.as_ref());
        let late = || UpstreamError(format!("its socket: no end after {} s", DEADLINE.as_secs()));
        let delivered = within(DEADLINE, work).await;
        let delivered = delivered.unwrap_or_else(|| Err(late()));
        delivered
            .map_err(|error| self.watch.check(Some(error)))
            .is_ok()
    }
}

//! Delivers read receipts, which only Open WebUI's own socket takes: what somebody has read in a channel or a chat.
//!
//! Receipts gather for a moment; then those of each user are delivered over a connection of theirs, in which they have
//! joined their channels. What Open WebUI emits to the user about it (`chat:list`) is passed on, unless it comes over
//! Redis anyway. What can't be delivered is tried again for ten minutes.

use super::receipts::{Receipt, Receipts, Waiting};
use super::socket::{Link, Received, Said, SocketError, Sockets, read};
use super::watch::AWAY;
use crate::directory::type_of;
use crate::directory::types::{Identity, Refusal};
use crate::ground::rooms;
use crate::ground::tasks::{Single, Tasks, within};
use crate::metrics;
use crate::socket::{Args, Hub, Sid, Target};
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// How long receipts gather.
const GATHER: Duration = Duration::from_millis(250);
/// How long the delivery for one user may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// The same for a server that goes down.
const LAST: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(5);
/// How long it is tried.
const GIVE_UP: Duration = Duration::from_secs(600);

/// Delivers read receipts.
pub struct Delivery {
    tasks: Tasks,
    sockets: Rc<Sockets>,
    /// The users' sockets, unless Open WebUI reaches them itself.
    hub: Option<Rc<Hub>>,
    /// Those of them that hear from Open WebUI over a connection of their own.
    pub linked: RefCell<BTreeSet<Sid>>,
    waiting: Waiting,
    /// Is the task running that delivers them?
    delivering: Single,
}

impl Delivery {
    pub fn new(tasks: Tasks, sockets: Rc<Sockets>, hub: Option<Rc<Hub>>) -> Rc<Self> {
        Rc::new(Self {
            tasks,
            sockets,
            hub,
            linked: RefCell::default(),
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
        let delivery = self.clone();
        let deliver = || async move {
            smol::Timer::after(GATHER).await;
            loop {
                let delivered = delivery.deliver_all().await;
                if delivery.waiting.users() == 0 {
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
        let in_hand = match within(LAST, self.deliver_all()).await {
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
        if self.sockets.is_away() {
            return false;
        }
        let delivered = within(DEADLINE, self.deliver_over(token, receipts)).await;
        let delivered = delivered.unwrap_or_else(|| Err(SocketError::late(DEADLINE)));
        delivered
            .map_err(|error| self.sockets.log_failure(error))
            .is_ok()
    }

    async fn deliver_over(&self, token: &str, receipts: &Receipts) -> Result<(), SocketError> {
        let mut link = self.sockets.open(None, None).await?;
        if self.join(&mut link, token).await? {
            self.send_all(&mut link, receipts).await?;
        } else {
            // Another attempt would be refused, too.
            log::debug!("Open WebUI takes no receipts of {}", receipts.user_id);
        }
        link.close().await;
        Ok(())
    }

    /// Whether the user was let in: only then the answer holds their record.
    async fn join(&self, link: &mut Link, token: &str) -> Result<bool, SocketError> {
        let auth = json!({ "auth": { "token": token } });
        let join = format!(r#"42{JOIN}["user-join",{auth}]"#);
        link.send(join, Vec::new()).await?;
        let joined = std::cell::Cell::new(false);
        let answer = |said: &Said<'_>| match said {
            Said::Ack(JOIN, args) => {
                joined.set(args.json().starts_with('{'));
                true
            }
            _ => false,
        };
        link.wait_for(answer).await?;
        Ok(joined.get())
    }

    async fn send_all(&self, link: &mut Link, receipts: &Receipts) -> Result<(), SocketError> {
        let data = json!({ "type": "last_read_at" });
        let mut unacknowledged = BTreeSet::new();
        for (id, read) in (JOIN + 1..).zip(&receipts.read) {
            let event = match read {
                Receipt::Channel(channel_id) => {
                    json!(["events:channel", { "channel_id": channel_id, "data": data }])
                }
                Receipt::Chat(chat_id) => {
                    json!(["events:chat", { "chat_id": chat_id, "data": data }])
                }
            };
            unacknowledged.insert(id);
            link.send(format!("42{id}{event}"), Vec::new()).await?;
        }
        while !unacknowledged.is_empty() {
            let received = link.next().await?;
            link.answer(&received).await?;
            let Received::Packet(text, attachments) = received else {
                continue;
            };
            match read(&text, attachments)? {
                Said::Ack(id, _) => drop(unacknowledged.remove(&id)),
                Said::Event(name, args, _) => self.pass_on(&receipts.user_id, &name, &args),
            }
        }
        Ok(())
    }

    /// The user's own sockets are here: they get what Open WebUI emits about what was read.
    fn pass_on(&self, user_id: &str, name: &str, args: &Args<'_>) {
        let Some(hub) = &self.hub else { return };
        if name == "events" && type_of(args).as_deref() == Some("chat:list") {
            let room = rooms::of_user(user_id);
            let linked: Vec<Sid> = self.linked.borrow().iter().copied().collect();
            let linked: Vec<&str> = linked.iter().map(Sid::as_str).collect();
            hub.emit(&Target::room(&room).but(&linked), "events", args);
        }
    }
}

/// The ack of `user-join`; those of the receipts follow.
const JOIN: u64 = 0;

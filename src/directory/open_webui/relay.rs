//! What only Open WebUI's own socket can do: noting what somebody has read in a channel or a chat.
//!
//! Receipts gather for a moment; then, for each user, a socket of theirs is opened, `user-join`ed, told all at once, and
//! closed when every one was acknowledged. What Open WebUI tells the user about it (`chat:list`) is passed on, unless
//! it comes over Redis anyway. What can't be delivered is tried again for ten minutes.

use super::client::{dial, host};
use super::{AWAY, OpenWebui, Trouble};
use crate::config::HttpUrl;
use crate::directory::{Identity, Refusal};
use crate::ground::rooms;
use crate::ground::tasks::{Single, within};
use crate::metrics;
use crate::socket::{Args, Hub, Kind, Packet, Target};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_lite::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use smol::Async;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long receipts gather.
const GATHER: Duration = Duration::from_millis(250);
/// How long the delivery for one user may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(5);
/// How long it is tried.
const GIVE_UP: Duration = Duration::from_secs(600);
/// Receipts that may wait.
const MOST: usize = 10_000;
/// The largest message from Open WebUI that is taken, in bytes: all events of the user come along.
const MAX_MESSAGE: usize = 16 << 20;

/// What was read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    Channel(String),
    Chat(String),
}

/// One user's receipts.
struct Receipts {
    user_id: String,
    since: Instant,
    read: BTreeSet<Read>,
}

/// The receipts that wait.
pub struct Relay {
    url: HttpUrl,
    hub: Option<Rc<Hub>>,
    /// By token.
    waiting: RefCell<BTreeMap<Rc<str>, Receipts>>,
    /// Is the task running that delivers them?
    delivering: Single,
}

impl Relay {
    pub fn new(url: HttpUrl, hub: Option<Rc<Hub>>) -> Self {
        Self {
            url,
            hub,
            waiting: RefCell::default(),
            delivering: Single::default(),
        }
    }

    /// `false`: too many wait.
    fn put(&self, who: &Identity, read: Read) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.values().map(|r| r.read.len()).sum::<usize>() >= MOST {
            return false;
        }
        let receipts = waiting.entry(who.token.clone());
        let receipts = receipts.or_insert_with(|| Receipts {
            user_id: who.user.id.clone(),
            since: Instant::now(),
            read: BTreeSet::new(),
        });
        receipts.read.insert(read);
        true
    }

    /// What could not be delivered comes back, under what came meanwhile.
    fn put_back(&self, token: Rc<str>, older: Receipts) {
        let mut waiting = self.waiting.borrow_mut();
        match waiting.get_mut(&token) {
            Some(newer) => {
                newer.since = older.since;
                newer.read.extend(older.read);
            }
            None => {
                waiting.insert(token, older);
            }
        }
    }

    /// Of the next user, in the order of their tokens.
    fn take_after(&self, token: &str) -> Option<(Rc<str>, Receipts)> {
        let mut waiting = self.waiting.borrow_mut();
        let rest = (Bound::Excluded(token), Bound::Unbounded);
        let (next, _) = waiting.range::<str, _>(rest).next()?;
        let next = next.clone();
        waiting.remove_entry(&next)
    }

    async fn deliver(&self, token: &str, receipts: &Receipts) -> Result<(), Trouble> {
        let failed = |e: &dyn std::fmt::Display| Trouble(format!("its socket: {e}"));
        let work = async {
            let stream = dial(&self.url).await.map_err(|e| failed(&e))?;
            let HttpUrl { path, .. } = &self.url;
            let host = host(&self.url);
            let url = format!("ws://{host}{path}/ws/socket.io/?EIO=4&transport=websocket");
            let bound = WebSocketConfig::default()
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE))
                .read_buffer_size(8 << 10);
            let opened = client_async_with_config(url, stream, Some(bound)).await;
            let (socket, _) = opened.map_err(|e| failed(&e))?;
            let talk = Talk {
                socket,
                token,
                receipts,
                open: (JOIN + 1..).take(receipts.read.len()).collect(),
                hub: self.hub.as_ref(),
            };
            talk.run().await
        };
        let late = || Trouble(format!("its socket: no end after {} s", DEADLINE.as_secs()));
        within(DEADLINE, work).await.unwrap_or_else(|| Err(late()))
    }
}

impl OpenWebui {
    /// Noted; Open WebUI learns it in a moment.
    pub(in super::super) fn mark_read(
        self: &Rc<Self>,
        who: &Identity,
        read: Read,
    ) -> Result<(), Refusal> {
        if !self.relay.put(who, read) {
            metrics::refused("read receipts");
            return Err(AWAY);
        }
        let weak = Rc::downgrade(self);
        let deliver = || async move {
            smol::Timer::after(GATHER).await;
            loop {
                let Some(webui) = weak.upgrade() else { return };
                let delivered = webui.deliver_all().await;
                if webui.relay.waiting.borrow().is_empty() {
                    return;
                }
                drop(webui);
                smol::Timer::after(if delivered { GATHER } else { RETRY }).await;
            }
        };
        let delivering = &self.relay.delivering;
        delivering.start(&self.tasks, "delivers read receipts", deliver);
        Ok(())
    }

    /// Each user's in turn, so that one whose can't be delivered is in nobody's way. Whether all were.
    async fn deliver_all(self: &Rc<Self>) -> bool {
        let (mut last, mut all) = (Rc::from(""), true);
        while let Some((token, receipts)) = self.relay.take_after(&last) {
            last = token.clone();
            if self.deliver(&token, &receipts).await {
                continue;
            }
            all = false;
            if receipts.since.elapsed() < GIVE_UP {
                self.relay.put_back(token, receipts);
            } else {
                metrics::refused("read receipts");
                let (count, user) = (receipts.read.len(), &receipts.user_id);
                log::warn!(
                    "{count} read receipts of {user} could not be told to Open WebUI for ten minutes and are dropped"
                );
            }
        }
        all
    }

    async fn deliver(self: &Rc<Self>, token: &str, receipts: &Receipts) -> bool {
        if self.watch.is_away() {
            return false;
        }
        let delivered = self.relay.deliver(token, receipts).await;
        delivered
            .map_err(|trouble| self.look(Some(trouble)))
            .is_ok()
    }

    /// For a server that goes down.
    pub(super) async fn deliver_last(self: &Rc<Self>) {
        let in_hand = match within(DEADLINE, self.deliver_all()).await {
            Some(true) => return,
            Some(false) => 0,
            None => 1,
        };
        let lost = self.relay.waiting.borrow().len() + in_hand;
        log::warn!("read receipts of {lost} users could not be told to Open WebUI");
    }
}

/// A socket of a user, as long as it takes.
struct Talk<'a> {
    socket: WebSocketStream<Async<TcpStream>>,
    token: &'a str,
    receipts: &'a Receipts,
    /// Acks that are still to come.
    open: BTreeSet<u64>,
    hub: Option<&'a Rc<Hub>>,
}

/// The ack of `user-join`; those of the receipts follow.
const JOIN: u64 = 0;

impl Talk<'_> {
    async fn run(mut self) -> Result<(), Trouble> {
        while !self.open.is_empty() {
            let text = self.next().await?;
            match text.split_at_checked(1) {
                Some(("0", _)) => self.send("40".into()).await?,
                Some(("2", _)) => self.send("3".into()).await?,
                Some(("4", packet)) => self.packet(packet).await?,
                Some(("6", _)) => {}
                _ => return Err(Trouble("its socket was closed".into())),
            }
        }
        // It has done what it is for: a failure to say goodbye is none.
        let _ = self.send("41".into()).await;
        let _ = self.socket.close(None).await;
        Ok(())
    }

    async fn packet(&mut self, text: &str) -> Result<(), Trouble> {
        let odd = |_| Trouble("its socket does not speak Socket.IO".into());
        let packet = Packet::decode(text).map_err(odd)?;
        match (packet.kind, packet.id) {
            // CONNECT is answered before its token is looked at, `user-join` after.
            (Kind::Connect, _) => {
                let auth = json!({ "auth": { "token": self.token } });
                self.send(format!(r#"42{JOIN}["user-join",{auth}]"#)).await
            }
            (Kind::Ack, Some(JOIN)) if joined(packet.data) => self.tell_all().await,
            (Kind::Ack, Some(JOIN)) => {
                // It won't be another time.
                log::debug!("Open WebUI takes no receipts of {}", self.receipts.user_id);
                self.open.clear();
                Ok(())
            }
            (Kind::Ack, Some(id)) => {
                self.open.remove(&id);
                Ok(())
            }
            (Kind::Event, _) => {
                self.pass_on(packet.data);
                Ok(())
            }
            _ => Err(Trouble("its socket was closed".into())),
        }
    }

    async fn tell_all(&mut self) -> Result<(), Trouble> {
        let data = json!({ "type": "last_read_at" });
        let receipts = self.receipts;
        for (id, read) in (JOIN + 1..).zip(&receipts.read) {
            let event = match read {
                Read::Channel(channel_id) => {
                    json!(["events:channel", { "channel_id": channel_id, "data": data }])
                }
                Read::Chat(chat_id) => json!(["events:chat", { "chat_id": chat_id, "data": data }]),
            };
            self.send(format!("42{id}{event}")).await?;
        }
        Ok(())
    }

    /// The user's own sockets are here: they get what Open WebUI tells about what was read.
    fn pass_on(&self, data: &str) {
        #[derive(Deserialize)]
        struct Outer<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Inner {
            r#type: String,
        }
        let Some(hub) = self.hub else { return };
        let Ok((name, args)) = Packet::event(data) else {
            return;
        };
        let event = serde_json::from_str(args).map(|Outer { data }| data.get());
        let inner = event.and_then(serde_json::from_str::<Inner>);
        if name == "events" && inner.is_ok_and(|inner| inner.r#type == "chat:list") {
            let room = rooms::of_user(&self.receipts.user_id);
            hub.emit(&Target::room(&room), "events", &Args::from_json(args));
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Trouble> {
        let sent = self.socket.send(Message::text(text)).await;
        sent.map_err(|e| Trouble(format!("its socket: {e}")))
    }

    async fn next(&mut self) -> Result<String, Trouble> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(Trouble("its socket was closed".into()));
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(Trouble(format!("its socket: {e}"))),
            }
        }
    }
}

/// Who is let in is told who they are.
fn joined(data: &str) -> bool {
    Packet::ack(data).is_ok_and(|user| user.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::User;
    use crate::token::Claims;

    fn who(id: &str) -> Identity {
        let user = User {
            id: id.into(),
            name: id.into(),
            role: "user".into(),
            record: "{}".into(),
        };
        Identity {
            user,
            token: format!("token of {id}").into(),
            claims: Claims::default(),
        }
    }

    fn relay() -> Relay {
        let url = HttpUrl {
            host: "127.0.0.1".into(),
            port: 1,
            path: String::new(),
        };
        Relay::new(url, None)
    }

    #[test]
    fn receipts_of_a_user_are_coalesced() {
        let relay = relay();
        for _ in 0..5 {
            assert!(relay.put(&who("a"), Read::Chat("c".into())));
            assert!(relay.put(&who("a"), Read::Channel("c".into())));
        }
        let (token, receipts) = relay.take_after("").unwrap();
        assert_eq!((&*token, receipts.read.len()), ("token of a", 2));
        assert!(relay.put(&who("a"), Read::Chat("d".into())));
        relay.put_back(token, receipts);
        assert!(relay.put(&who("b"), Read::Chat("c".into())));
        let (token, receipts) = relay.take_after("").unwrap();
        assert_eq!((&*receipts.user_id, receipts.read.len()), ("a", 3));
        relay.put_back(token.clone(), receipts);
        let (token, receipts) = relay.take_after(&token).unwrap();
        assert_eq!((&*receipts.user_id, receipts.read.len()), ("b", 1));
        assert!(relay.take_after(&token).is_none());
    }

    #[test]
    fn receipts_that_wait_are_bounded() {
        let relay = relay();
        for n in 0..MOST {
            assert!(relay.put(&who("a"), Read::Chat(n.to_string())));
        }
        assert!(!relay.put(&who("b"), Read::Chat("c".into())));
    }

    #[test]
    fn only_who_is_let_in_is_told_who_they_are() {
        assert!(joined(r#"[{"id":"u","name":"Ann"}]"#));
        for refused in ["[]", "[null]", "", "[false]"] {
            assert!(!joined(refused), "{refused}");
        }
    }
}

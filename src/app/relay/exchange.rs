//! A relay from its opening to its end: what the client says goes to Open WebUI, what that says goes to the client.

use super::client::{Client, Outgoing};
use super::{LOST, PAUSE, Relays, UNUSED, WAITING};
use crate::app::core::Core;
use crate::directory::open_webui::{Link, OpenWebui, Received, Said, SocketError, read};
use crate::ground::rooms;
use crate::ground::tasks::within;
use crate::metrics;
use crate::socket::{Args, Sid, Target};
use futures_lite::future;
use smol::Timer;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long opening a relay may take.
const OPEN: Duration = Duration::from_secs(15);
/// Packets that are passed on in one turn of a relay.
const AT_ONCE: usize = 32;
/// Bytes of one that is alone in its turn.
const MUCH: usize = 16 << 10;
/// Acks of the client that Open WebUI may wait for.
const MOST_ASKED: usize = 1000;

/// The id of our own question at the start; the client's are counted from 0.
const PROBE: u64 = (1 << 53) - 1;
/// The event that tells that a relay is set apart.
const APART: &str = "siskin:apart";

/// What a client is told whose relay breaks off: nobody can tell what of it has arrived.
const MAYBE_LOST: &str =
    "The connection to Open WebUI broke off: what was sent last may not have arrived";

/// What a relay wakes up for.
enum Next {
    Received(Result<Received, SocketError>),
    /// Something is to be sent.
    Filled,
    /// Nothing went over it for long, or its client is gone.
    Unneeded,
}

/// As long as this is there, a relay is its client by another name for all that comes over Redis.
struct Apart {
    core: &'static Core,
    client: Sid,
    relay: String,
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.core.peers.forget_apart(self.client, &self.relay);
    }
}

impl Relays {
    /// Runs as long as the relay is needed.
    pub(super) async fn run(&'static self, sid: Sid, client: Rc<Client>) {
        let Some(webui) = self.core.directory.open_webui() else {
            return;
        };
        let left = self.serve(sid, &client, webui).await;
        webui.set_linked(sid, false);
        if client.waiting() > 0 {
            self.core.send_error(sid, LOST);
        }
        self.remove(sid, &client);
        if let Some(link) = left {
            link.close().await;
        }
    }

    /// Opens it, and again if more is to be sent when it broke off. Returns what it ends with open.
    async fn serve(
        &'static self,
        sid: Sid,
        client: &Rc<Client>,
        webui: &OpenWebui,
    ) -> Option<Link> {
        loop {
            let began = Instant::now();
            let gone = async {
                client.ended().await;
                None
            };
            let open = async { Some(within(OPEN, self.open(sid, client, webui)).await) };
            let opened = future::or(gone, open).await?;
            let (mut link, apart) = match opened.unwrap_or_else(|| Err(SocketError::late(OPEN))) {
                Ok(opened) => opened,
                Err(error) => {
                    log::debug!("no relay for {sid}: {error}");
                    metrics::refused("relay");
                    self.failed.set(Some(Instant::now()));
                    webui.log_failure(error);
                    return None;
                }
            };
            webui.set_linked(sid, true);
            let Err(error) = self.exchange(sid, client, &mut link).await else {
                return Some(link);
            };
            webui.set_linked(sid, false);
            log::debug!("the relay of {sid} ends: {error}");
            if matches!(error, SocketError::Disconnected) && apart.is_some() {
                // By whatever name: it is this client that is not wanted there any more.
                self.core
                    .hub
                    .disconnect(sid, "Open WebUI has disconnected it");
                return None;
            }
            webui.log_failure(error);
            self.core.send_error(sid, MAYBE_LOST);
            // Not again and again: what comes meanwhile waits.
            let pause = async {
                Timer::at(began + PAUSE).await;
            };
            future::or(client.ended(), pause).await;
            if client.waiting() == 0 {
                return None;
            }
        }
    }

    async fn open(
        &self,
        sid: Sid,
        client: &Client,
        webui: &OpenWebui,
    ) -> Result<(Link, Option<Apart>), SocketError> {
        if webui.is_away() {
            return Err(SocketError::failed(&"Open WebUI is away"));
        }
        let who = client.who();
        let peer = self.core.hub.peer(sid);
        let peer = peer.ok_or_else(|| SocketError::failed(&"its client has gone"))?;
        let mut link = webui.connect(&who.token, peer).await?;
        if self.core.peers.is_alone() {
            return Ok((link, None));
        }
        // CONNECT is answered before its token is looked at, and this, which does nothing, after.
        let probe = Args::from_json("{}");
        let probe = Outgoing::event("user-join", &probe, Some(PROBE));
        link.send(probe.text, Vec::new()).await?;
        link.wait_for(|said| matches!(said, Said::Ack(PROBE, _)))
            .await?;
        let apart = Apart {
            core: self.core,
            client: sid,
            relay: link.sid.clone(),
        };
        let (peers, room) = (&self.core.peers, rooms::of_user(&who.user.id));
        peers.set_apart(sid, &link.sid, &room, APART).await;
        link.wait_for(|said| matches!(said, Said::Event(name, ..) if name == APART))
            .await?;
        Ok((link, Some(apart)))
    }

    /// Until it is not needed any more, or breaks off.
    async fn exchange(
        &'static self,
        sid: Sid,
        client: &Rc<Client>,
        link: &mut Link,
    ) -> Result<(), SocketError> {
        let asked = Rc::new(Asked {
            core: self.core,
            sid,
            client: client.clone(),
            acks: RefCell::default(),
        });
        let mut passed = 0;
        loop {
            while let Some(outgoing) = client.take() {
                self.taken.ring();
                link.send(outgoing.text, outgoing.attachments).await?;
                drop(outgoing.held);
            }
            match self.next(client, link).await {
                Next::Filled => {}
                Next::Unneeded => return Ok(()),
                Next::Received(received) => {
                    let received = received?;
                    link.answer(&received).await?;
                    let is_large =
                        matches!(&received, Received::Packet(text, _) if text.len() > MUCH);
                    self.received(link, received, &asked).await?;
                    passed += 1;
                    if passed % AT_ONCE == 0 || is_large {
                        future::yield_now().await;
                    }
                }
            }
        }
    }

    async fn next(&self, client: &Client, link: &mut Link) -> Next {
        let filled = async {
            client.filled().await;
            Next::Filled
        };
        let unneeded = async {
            let unused = async {
                Timer::at(client.used() + UNUSED).await;
            };
            future::or(client.ended(), unused).await;
            Next::Unneeded
        };
        let received = async { Next::Received(link.next().await) };
        future::or(filled, future::or(unneeded, received)).await
    }

    async fn received(
        &self,
        link: &mut Link,
        received: Received,
        asked: &Rc<Asked>,
    ) -> Result<(), SocketError> {
        let (hub, sid) = (&self.core.hub, asked.sid);
        match received {
            Received::Nothing => return Ok(()),
            // Without Redis Open WebUI alone knows that this session lives, and reaps who sends no heartbeat.
            Received::Ping if self.core.peers.is_alone() => {
                let alive = Outgoing::event("heartbeat", &Args::from_json("{}"), None);
                return link.send(alive.text, Vec::new()).await;
            }
            Received::Ping => return Ok(()),
            Received::Packet(text, attachments) => match read(&text, attachments)? {
                Said::Ack(id, args) => hub.ack(sid, id, &args),
                Said::Event(name, args, _) if self.core.peers.has_heard(sid, &name, &args) => {}
                Said::Event(name, args, None) => {
                    hub.emit(&Target::sid(sid), &name, &args);
                }
                Said::Event(name, args, Some(id)) => asked.ask(&name, &args, id),
            },
        }
        asked.client.is_used();
        // Who reads slowly is told slowly.
        hub.drained(sid).await;
        Ok(())
    }
}

/// What Open WebUI asks the client over one connection: when that ends, nobody waits for the answers any more.
struct Asked {
    core: &'static Core,
    sid: Sid,
    client: Rc<Client>,
    /// By Open WebUI's ids: those of the acks that the hub waits for.
    acks: RefCell<BTreeMap<u64, u64>>,
}

impl Asked {
    /// Asks the client; its answer goes back under this id.
    fn ask(self: &Rc<Self>, name: &str, args: &Args<'_>, id: u64) {
        if self.acks.borrow().len() >= MOST_ASKED {
            return metrics::refused("questions of a relay");
        }
        let asked = Rc::downgrade(self);
        let done = Box::new(move |answer: Option<Args<'static>>| {
            if let (Some(asked), Some(answer)) = (asked.upgrade(), answer) {
                asked.answer(id, &answer);
            }
        });
        if let Some(ack) = self
            .core
            .hub
            .emit_with_ack(self.sid, name, args, false, done)
        {
            self.acks.borrow_mut().insert(id, ack);
        }
    }

    fn answer(&self, id: u64, answer: &Args<'_>) {
        self.acks.borrow_mut().remove(&id);
        match self.client.waiting() < WAITING {
            true => self.client.put(Outgoing::ack(id, answer)),
            false => metrics::refused("answers of a relay"),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        for ack in self.acks.borrow().values() {
            self.core.hub.forget(self.sid, *ack);
        }
    }
}

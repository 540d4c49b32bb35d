//! What siskin does not know goes to Open WebUI: events with unknown names are handed over a connection of their client's
//! own, a relay, and what Open WebUI answers and sends to that connection reaches the client.
//!
//! - [`client`]: one client's relay: what waits for it, and who needs it
//! - [`exchange`]: opening it, and what goes over it
//!
//! With a shared Redis a relay is set apart at the start: it leaves the room of its user there, whose sockets are here and
//! hear what is for the room over Redis, and is in the pool of sessions no more. From then on what comes over it was sent
//! to it alone, or to rooms that only Open WebUI knows. Without Redis nothing comes in another way, so everything passes.

mod client;
mod exchange;

use super::core::{Core, Fault, Sender};
use crate::ground::tasks::{Bell, Tasks};
use crate::socket::{Args, Sid};
use client::{Client, Outgoing};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Relays at a time, and those of one user: as many as pages that one has open.
const MOST: usize = 1000;
const MOST_OF_USER: usize = 16;
/// Bytes that wait for one relay, more while few wait for all, and for all of them, until their clients' next unknown events
/// wait. What one event is larger is not counted against it.
const WAITING: usize = 1 << 20;
const WAITING_WHILE_FEW: usize = 4 << 20;
const FEW_WAITING: usize = 16 << 20;
const ALL_WAITING: usize = 32 << 20;
/// How long a relay that nothing goes over stays open: longer than pages are silent that have something open there.
const UNUSED: Duration = Duration::from_secs(600);
/// The same when another client needs its place.
const UNUSED_WHEN_FULL: Duration = Duration::from_secs(60);
/// How long nobody tries after a relay could not be opened.
const PAUSE: Duration = Duration::from_secs(3);

/// What a client is told whose events come to nothing.
pub const LOST: &str = "What siskin does not know can't be handed to Open WebUI at the moment";

/// What the client's next event that goes over its relay has to wait for.
pub type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// The relays of this instance's clients.
pub struct Relays {
    core: &'static Core,
    tasks: Tasks,
    clients: RefCell<HashMap<Sid, Rc<Client>>>,
    /// Bytes that wait for all relays,
    waiting: Rc<Cell<usize>>,
    /// and rung when there are less, or a relay is no more.
    taken: Bell,
    /// When one could not be opened last.
    failed: Cell<Option<Instant>>,
}

impl Relays {
    pub fn new(core: &'static Core) -> Self {
        Self {
            core,
            tasks: Tasks::new(core.executor),
            clients: RefCell::default(),
            waiting: Rc::default(),
            taken: Bell::default(),
            failed: Cell::default(),
        }
    }

    /// Hands an event to Open WebUI, which answers it if `ack` asks for that. The events of a client arrive in order. What
    /// is returned is to be waited for before the client's next one that goes this way.
    ///
    /// # Errors
    /// There is no Open WebUI that could know it, it can't be reached now, or there are too many relays.
    pub fn hand_over(
        &'static self,
        from: &Sender,
        name: &str,
        args: &Args<'_>,
        ack: Option<u64>,
    ) -> Result<Option<Wait>, Fault> {
        if self.core.directory.open_webui().is_none() {
            return Err(Fault::Denied("no such event"));
        }
        let sid = from.sid;
        let client = self.client(from).inspect_err(|_| {
            self.core.send_error(sid, LOST);
        })?;
        let had_room = self.has_room(&client);
        client.put(Outgoing::event(name, args, ack));
        if had_room {
            return Ok(None);
        }
        Ok(Some(Box::pin(async move {
            let room = || (client.has_ended() || self.has_room(&client)).then_some(());
            self.taken.until(room).await;
        })))
    }

    /// The socket is gone.
    pub fn forget(&self, sid: Sid) {
        let client = self.clients.borrow_mut().remove(&sid);
        if let Some(client) = client {
            client.end();
            self.taken.ring();
        }
    }

    fn has_room(&self, client: &Client) -> bool {
        let (waiting, all) = (client.waiting(), self.waiting.get());
        let few = all < FEW_WAITING && waiting < WAITING_WHILE_FEW;
        few || waiting < WAITING && (all < ALL_WAITING || waiting == 0)
    }

    /// The client's relay, which is opened if there is none.
    fn client(&'static self, from: &Sender) -> Result<Rc<Client>, Fault> {
        let Sender { sid, who } = from;
        if let Some(client) = self.clients.borrow().get(sid) {
            client.is_now(who);
            return Ok(client.clone());
        }
        let now = Instant::now();
        if self.failed.get().is_some_and(|at| now < at + PAUSE) {
            return Err(Fault::Unavailable("Open WebUI's socket can't be reached"));
        }
        self.make_room(&who.user.id, now)?;
        let client = Client::new(who.clone(), self.waiting.clone());
        self.clients.borrow_mut().insert(*sid, client.clone());
        let (sid, its) = (*sid, client.clone());
        let run = async move { self.run(sid, its).await };
        self.tasks.spawn("relays what is unknown here", run);
        Ok(client)
    }

    /// Sees to it that there may be one more of this user.
    fn make_room(&self, user_id: &str, now: Instant) -> Result<(), Fault> {
        let clients = self.clients.borrow();
        let theirs = clients.values().filter(|client| client.is_of(user_id));
        if theirs.count() >= MOST_OF_USER {
            return Err(Fault::Full("relays of a user"));
        }
        if clients.len() < MOST {
            return Ok(());
        }
        let unused = clients.iter().min_by_key(|(_, client)| client.used());
        let unused = unused.filter(|(_, client)| now > client.used() + UNUSED_WHEN_FULL);
        let Some((sid, _)) = unused.map(|(sid, client)| (*sid, client.clone())) else {
            return Err(Fault::Full("relays"));
        };
        drop(clients);
        self.forget(sid);
        Ok(())
    }

    /// A relay is no more, if it is still this one.
    fn remove(&self, sid: Sid, client: &Rc<Client>) {
        let mut clients = self.clients.borrow_mut();
        if clients.get(&sid).is_some_and(|now| Rc::ptr_eq(now, client)) {
            clients.remove(&sid);
        }
        drop(clients);
        client.end();
        self.taken.ring();
    }
}

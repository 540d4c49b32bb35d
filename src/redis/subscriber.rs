//! The one subscriber: a connection of its own to where commands go (of a Cluster, to one node), which only listens.
//!
//! It has no read timeout, since silence is its normal state. What tells a silent one from a deaf one (Redis drops
//! a subscriber that is too slow without its noticing, a failover leaves it at the old master) is a nonce: published
//! over another connection, on each of its connects, every 30 s, and within a second of whatever else this instance
//! publishes. When it is not seen, and nothing else came, for 5 s, the connection is given up; so it is when a
//! subscription is not confirmed.

use super::dial::{self, answer_within};
use super::left::Left;
use super::reader::{Reader, Reply};
use super::rounds::{commands, log_in, send};
use super::stream::Stream;
use super::{Bell, Redis};
use crate::ground::tasks::within;
use futures_lite::future::{or, yield_now};
use futures_lite::io::{AsyncReadExt as _, ReadHalf, WriteHalf, split};
use smol::net::TcpStream;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Between two looks whether it hears,
const CHECK: Duration = Duration::from_secs(30);
/// and while this instance publishes.
const BUSY: Duration = Duration::from_secs(1);
/// How long a nonce may take, and how long a join waits for its subscription.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long either may take while other messages come: a large one holds up what is behind it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the end waits for what was published before it, twice.
const LEAVING: Duration = Duration::from_secs(2);
/// Between two attempts to connect: first, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After a loss, until it is known whether Redis went as a whole.
const SETTLE: Duration = Duration::from_millis(100);

/// Takes a message: its channel and what was published.
type RoomListener = Box<dyn Fn(&[u8], &[u8]) -> Step>;
/// Takes what was published on one channel.
type Listener = Rc<dyn Fn(&[u8]) -> Step>;
/// What remains to be done for a message; the next one waits for it.
type Step = Option<Pin<Box<dyn Future<Output = ()>>>>;
/// Names all channels that come and go, as they are wanted now.
type Wanted = Box<dyn Fn() -> Vec<String>>;
/// Is told that something may have been missed.
type Missed = Box<dyn Fn()>;

/// The subscriptions. Made once, by [`Redis::start`].
pub struct Subscriber {
    /// Whose nonce is its own: the channel that only this instance listens to.
    own_channel: String,
    /// Channels that stay, with who listens to each.
    listeners: RefCell<BTreeMap<String, Listener>>,
    /// Those that come and go.
    rooms: RefCell<Option<(Wanted, RoomListener)>>,
    missed: RefCell<Option<Missed>>,
    /// What is to be subscribed (`true`) or unsubscribed next.
    pending: RefCell<BTreeMap<String, bool>>,
    /// The number that the next command will carry, and the last that was answered.
    round: Cell<u64>,
    confirmed: Cell<u64>,
    /// The nonce that was seen last.
    seen: Cell<u64>,
    /// When something came last, whatever it was.
    came: Cell<Instant>,
    /// Whether something was published since the last look.
    published: Cell<bool>,
    /// Connected, subscribed, and hears.
    hears: Cell<bool>,
    /// How many connections heard so far.
    heard: Cell<u64>,
    why: RefCell<String>,
    /// The connection that another process has left, until it is taken; or this one's, once it is left.
    left: RefCell<Option<Left>>,
    /// It is not known yet whether all has come that was published since then.
    unsure: Cell<bool>,
    /// Once this round is confirmed nothing is read any more.
    leaves_after: Cell<Option<u64>>,
    pub(super) changed: Bell,
}

impl Subscriber {
    pub(super) fn new(own_channel: String) -> Self {
        Self {
            own_channel,
            listeners: RefCell::default(),
            rooms: RefCell::default(),
            missed: RefCell::default(),
            pending: RefCell::default(),
            round: Cell::new(1),
            confirmed: Cell::new(0),
            seen: Cell::new(0),
            came: Cell::new(Instant::now()),
            published: Cell::new(false),
            hears: Cell::new(false),
            heard: Cell::new(0),
            why: RefCell::new("it is not connected yet".into()),
            left: RefCell::default(),
            unsure: Cell::default(),
            leaves_after: Cell::default(),
            changed: Bell::default(),
        }
    }

    /// Listens to a channel from now on.
    pub fn listen(&self, channel: &str, listener: impl Fn(&[u8]) -> Step + 'static) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.insert(channel.to_owned(), Rc::new(listener));
        drop(listeners);
        self.change(channel.to_owned(), true);
    }

    /// Who names the channels that come and go, and takes their messages. Set once.
    pub fn set_rooms(
        &self,
        wanted: impl Fn() -> Vec<String> + 'static,
        message: impl Fn(&[u8], &[u8]) -> Step + 'static,
    ) {
        *self.rooms.borrow_mut() = Some((Box::new(wanted), Box::new(message)));
    }

    /// Who is told that something may have been missed: when a connection has ended, and when the next one hears. Set once.
    pub fn set_missed(&self, missed: impl Fn() + 'static) {
        *self.missed.borrow_mut() = Some(Box::new(missed));
    }

    fn may_have_missed(&self) {
        if let Some(missed) = &*self.missed.borrow() {
            missed();
        }
    }

    /// A channel has come or gone.
    pub fn change(&self, channel: String, wanted: bool) {
        self.pending.borrow_mut().insert(channel, wanted);
        self.changed.ring();
    }

    /// This instance has published something: it is looked soon whether what is published arrives.
    pub fn published(&self) {
        if !self.published.replace(true) {
            self.changed.ring();
        }
    }

    /// Waits until all changes so far are confirmed; not while Redis is away, and no longer than 5 s.
    pub async fn confirmed(&self, redis: &Redis) {
        let waits = !self.pending.borrow().is_empty();
        let round = self.round.get() - u64::from(!waits);
        if self.confirmed.get() >= round || redis.is_away() {
            return;
        }
        let confirmed = self
            .changed
            .until(|| (self.confirmed.get() >= round).then_some(()));
        within(DEADLINE, or(confirmed, redis.away())).await;
    }

    /// The number of the connection that hears now.
    pub(super) fn heard(&self) -> Option<u64> {
        self.hears.get().then_some(self.heard.get())
    }

    /// What `/ready` says about it while Redis itself is connected.
    pub fn degraded(&self) -> Option<String> {
        (!self.hears.get())
            .then(|| format!("the subscriber of Redis is deaf: {}", self.why.borrow()))
    }

    /// Goes on with the connection that another process has left, before the first message is read.
    pub fn take_over(&self, left: Left) {
        *self.left.borrow_mut() = Some(left);
        self.unsure.set(true);
    }

    /// Waits until all has come that was published since another process left its connection, or it is known that something is
    /// missing, which is told. `false`: neither within 5 s.
    pub async fn is_sure(&self) -> bool {
        within(DEADLINE, self.sure()).await.is_some()
    }

    fn sure(&self) -> impl Future<Output = ()> {
        self.changed.until(|| (!self.unsure.get()).then_some(()))
    }

    /// The end: leaves the connection to another process. What was published before this has come. One that has just been taken
    /// over may not have heard yet.
    pub async fn hand_over(&self) -> Option<Left> {
        within(LEAVING, self.sure()).await?;
        if !self.hears.get() {
            return None;
        }
        self.leaves_after.set(Some(self.round.get()));
        self.change(self.own_channel.clone(), false);
        let left = self.changed.until(|| self.left.take());
        within(LEAVING, left).await
    }

    /// Runs as long as the server does.
    pub(super) async fn run(self: Rc<Self>, redis: Redis) {
        let mut pause = PAUSE;
        loop {
            redis.connected(0).await;
            let why = self.session(&redis).await;
            if self.leaves_after.get().is_some() {
                return;
            }
            let heard = self.hears.replace(false);
            self.may_have_missed();
            self.unsure.set(false);
            self.changed.ring();
            // When Redis is away, or a part of it, that is said elsewhere.
            smol::Timer::after(SETTLE).await;
            if redis.is_whole() && self.why.borrow().is_empty() {
                log::warn!("the subscriber of Redis hears nothing ({why}) and connects again");
            }
            *self.why.borrow_mut() = why;
            pause = if heard {
                PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            if !heard {
                smol::Timer::after(pause / 2).await;
            }
        }
    }

    /// One connection, from the login to the reason for its end.
    async fn session(&self, redis: &Redis) -> String {
        let left = self.left.take().map(Left::begin);
        let opened = match left {
            Some(begun) => Ok(begun),
            None => self.open(redis).await,
        };
        let (stream, reader) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                redis.is_deaf();
                return why;
            }
        };
        self.want_all();
        let first = self.round.get();
        let same = stream.same();
        let (input, output) = split(stream);
        let work = or(self.read(input, reader, same), self.write(output));
        let checks = async {
            let why = or(self.check_rounds(first), self.check(redis, first)).await;
            redis.is_deaf();
            why
        };
        or(work, checks).await
    }

    async fn open(&self, redis: &Redis) -> Result<(Stream, Reader), String> {
        let address = redis.address().ok_or("Redis is away")?;
        let target = redis.target();
        let mut stream = dial::dial(target, &address, target.tls).await?;
        let mut reader = Reader::default();
        answer_within(DEADLINE, log_in(target, &mut stream, &mut reader)).await?;
        Ok((stream, reader))
    }

    /// A new connection knows nothing of what others had subscribed.
    fn want_all(&self) {
        let mut pending = self.pending.borrow_mut();
        pending.clear();
        pending.insert(self.own_channel.clone(), true);
        pending.extend(self.listeners.borrow().keys().map(|c| (c.clone(), true)));
        if let Some((wanted, _)) = &*self.rooms.borrow() {
            pending.extend(wanted().into_iter().map(|c| (c, true)));
        }
    }

    async fn read(
        &self,
        mut input: ReadHalf<Stream>,
        mut reader: Reader,
        same: Option<TcpStream>,
    ) -> String {
        loop {
            match input.read(reader.space()).await {
                Ok(0) => return "the connection was closed".into(),
                Ok(bytes) => reader.came(bytes),
                Err(e) => return e.to_string(),
            }
            self.came.set(Instant::now());
            loop {
                match reader.next() {
                    Ok(Some(reply)) => match self.take(&reply) {
                        Ok(None) => {}
                        Ok(Some(step)) => step.await,
                        Err(why) => return why,
                    },
                    Ok(None) => break,
                    Err(_) => return "it sent what is no reply".into(),
                }
            }
            let leaves = |round| self.confirmed.get() >= round;
            if self.leaves_after.get().is_some_and(leaves) {
                let unread = reader.rest().to_vec();
                *self.left.borrow_mut() = same.map(|stream| Left { stream, unread });
                self.changed.ring();
                return "it is left to the next process".into();
            }
            // A stream that never dries up must not keep the others from their turn.
            yield_now().await;
        }
    }

    fn take(&self, reply: &Reply<'_>) -> Result<Step, String> {
        match reply.part(0) {
            b"message" => return Ok(self.message(reply.part(1), reply.part(2))),
            b"pong" => {
                let round = std::str::from_utf8(reply.part(1))
                    .ok()
                    .and_then(|n| n.parse().ok());
                self.confirmed
                    .set(self.confirmed.get().max(round.unwrap_or(0)));
                self.changed.ring();
            }
            error if error.starts_with(b"-") => {
                return Err(String::from_utf8_lossy(&error[1..]).into_owned());
            }
            _ => {}
        }
        Ok(None)
    }

    fn message(&self, channel: &[u8], published: &[u8]) -> Step {
        if channel == self.own_channel.as_bytes() {
            let nonce = std::str::from_utf8(published)
                .ok()
                .and_then(|n| n.parse().ok());
            self.seen.set(nonce.unwrap_or(0));
            self.changed.ring();
            return None;
        }
        let name = std::str::from_utf8(channel).unwrap_or_default();
        let listener = self.listeners.borrow().get(name).cloned();
        match (listener, &*self.rooms.borrow()) {
            (Some(listener), _) => listener(published),
            (None, Some((_, message))) => message(channel, published),
            (None, None) => None,
        }
    }

    /// Subscribes and unsubscribes what changed, then asks for a PONG: it comes when Redis has done all of it.
    async fn write(&self, mut output: WriteHalf<Stream>) -> String {
        loop {
            let some = || (!self.pending.borrow().is_empty()).then_some(());
            self.changed.until(some).await;
            // Others may add to it before it is on its way.
            yield_now().await;
            let changes = self.pending.take();
            let round = self.round.replace(self.round.get() + 1);
            self.changed.ring();
            if let Err(e) = send(&mut output, &commands(&changes, round)).await {
                return e.to_string();
            }
        }
    }

    /// Looks whether each round from this one on is confirmed. Returns when one isn't.
    async fn check_rounds(&self, first: u64) -> String {
        loop {
            let last = || self.round.get() - 1;
            let asked = || Some(last()).filter(|r| *r >= first && *r > self.confirmed.get());
            let round = self.changed.until(asked).await;
            if !self.comes(|| self.confirmed.get() >= round).await {
                return "it did not subscribe within 5 s".into();
            }
        }
    }

    /// Looks whether what is published arrives. Returns when it doesn't.
    async fn check(&self, redis: &Redis, first: u64) -> String {
        let subscribed = || (self.confirmed.get() >= first).then_some(());
        self.changed.until(subscribed).await;
        let mut connections = redis.connections();
        loop {
            self.published.set(false);
            let nonce = self.seen.get() + 1;
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&self.own_channel).arg(nonce);
            // Without the other connection nothing can be told.
            if redis.publish_apart(&publish).await.is_ok() {
                if !self.comes(|| self.seen.get() >= nonce).await {
                    return "a message did not arrive within 5 s".into();
                }
                if !self.hears.replace(true) {
                    if !self.unsure.replace(false) {
                        self.may_have_missed();
                    }
                    self.heard.set(self.heard.get() + 1);
                    self.changed.ring();
                }
                self.why.borrow_mut().clear();
            }
            let reconnected = async {
                connections = redis.connected(connections).await;
            };
            or(self.pause(), reconnected).await;
        }
    }

    /// Waits until it is time for another look.
    async fn pause(&self) {
        let looked = Instant::now();
        let busy = async {
            let published = || self.published.get().then_some(());
            self.changed.until(published).await;
            smol::Timer::at(looked + BUSY).await;
        };
        let idle = async {
            smol::Timer::at(looked + CHECK).await;
        };
        or(busy, idle).await;
    }

    /// Waits for something to come. `false` once nothing at all has come for 5 s.
    async fn comes(&self, has: impl Fn() -> bool) -> bool {
        let asked = Instant::now();
        let came = async {
            self.changed.until(|| has().then_some(())).await;
            true
        };
        let silence = async {
            loop {
                let end = self.came.get().max(asked) + DEADLINE;
                if end <= Instant::now() || asked.elapsed() >= PATIENCE {
                    return false;
                }
                smol::Timer::at(end).await;
            }
        };
        or(came, silence).await
    }
}

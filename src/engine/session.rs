//! One Engine.IO session: its transport, its outbox, its end.

use super::beat::Beat;
use super::packet::{CLOSE, NOOP};
use super::stream::{Input, Wire};
use super::{Allowance, Engine, Peer, Sid, frame, trace};
use crate::ground::net::input::Unfinished;
use crate::ground::net::{Reactor, Serve, tell};
use crate::metrics::{self, Counter, Gauge};
use crate::outbox::{Frame, Outbox};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

/// Packets of one polling payload at most: python-engineio's clients refuse more than 16, and a close packet may follow.
const POLLED: u64 = 15;

/// Bytes that may wait between two polls before volatile news are left out.
const POLL_BEHIND: usize = 16 * 1024;

/// What carries a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Polling,
    /// Polling, while a websocket that has said nothing yet may be probed.
    Probing,
    /// Polling, while a websocket whose probe was answered takes over: polls don't wait for anything to say.
    Upgrading,
    Websocket,
}

/// Why a session ended, each with its own sentence in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// A close packet or a websocket close frame from the client, with its code.
    ByClient(u16),
    /// The layer above asked for it, and says why.
    ByServer(&'static str),
    /// The layer above asked the client to connect anew.
    Renewed,
    /// The connection ended or failed.
    Transport,
    /// No pong within pingTimeout.
    PingTimeout,
    /// The outbox reached its bound: a reader that is too slow.
    Overflow,
    /// A message that it began has come too slowly.
    Late,
    /// There was no room for what it began.
    Crowded,
    /// Something that breaks the protocol; the websocket close code that says what (RFC 6455, 7.4.1).
    Protocol(u16),
    /// The server is going down.
    Shutdown,
}

impl Closed {
    /// The websocket close code; `None` where nobody would read it.
    pub(super) fn code(self) -> Option<u16> {
        match self {
            Self::ByServer(_) => Some(frame::NORMAL),
            Self::Shutdown => Some(frame::GOES_AWAY),
            Self::ByClient(code) | Self::Protocol(code) => Some(code),
            Self::Late | Self::PingTimeout => Some(1008),
            Self::Renewed => Some(1012),
            Self::Crowded => Some(1013),
            Self::Transport | Self::Overflow => None,
        }
    }

    /// The sentence for the log, for the client (so it is short), and for who asks later.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ByClient(_) => "closed by the client",
            Self::ByServer(why) => why,
            Self::Renewed => "to be connected anew: Open WebUI was restarted or changed",
            Self::Transport => "the connection ended",
            Self::PingTimeout => "no pong in time",
            Self::Overflow => "the outbox is full: the reader is too slow",
            Self::Late => "a message that it began came too slowly",
            Self::Crowded => "there was no room for what it began",
            Self::Protocol(1007) => "text that is not UTF-8",
            Self::Protocol(1009) => "a message over maxPayload",
            Self::Protocol(_) => "a breach of the protocol",
            Self::Shutdown => "the server is going down",
        }
    }
}

/// A session. Shared as `Rc`; all state is in cells, since everything runs on one thread.
pub struct Session {
    pub sid: Sid,
    pub peer: Peer,
    pub(super) engine: Rc<Engine>,
    /// Place in the engine's table, and a number that no later session in that place has.
    pub(super) key: Cell<(u32, u32)>,
    pub(super) transport: Cell<Transport>,
    /// Why it has ended, or does with the next flush: set where no handler may be called.
    pub(super) end: Cell<Option<Closed>>,
    has_ended: Cell<bool>,
    pub(super) outbox: RefCell<Outbox>,
    /// The websocket, until its last words.
    pub(super) wire: RefCell<Option<Wire>>,
    /// What the websocket's turns left unfinished, while there is any.
    pub(super) input: Cell<Option<Box<Input>>>,
    /// Its part of the budget for what has begun, while there is any, and bytes of that which the layer above holds.
    pub(super) unfinished: Cell<Option<Unfinished>>,
    pub(super) gathered: Cell<u32>,
    pub(super) signed_in: Cell<bool>,
    /// How often something was read.
    pub(super) reads: Cell<u32>,
    /// A post's packets are being handled.
    pub(super) handling: Cell<bool>,
    /// The poll that waits for something to happen here.
    waker: Cell<Option<Waker>>,
    /// Among those who are flushed at the end of the round.
    dirty: Cell<bool>,
    /// The kernel took no more of what the websocket has to say.
    pub(super) blocked: Cell<bool>,
    /// The last flush left something that the others' turn comes before.
    pub(super) unfinished_write: Cell<bool>,
    /// How much it may send, and how many microseconds the next message has to wait for that: in few bytes,
    /// since each connection has a session.
    pub(super) allowance: Allowance,
    pub(super) pause: Cell<u32>,
    /// It has been told that it is slowed down.
    pub(super) slowed: Cell<bool>,
    /// A poll waits; a post is being handled.
    pub(super) polling: Cell<bool>,
    pub(super) posting: Cell<bool>,
    pub(super) beat: Beat,
}

impl Session {
    pub(super) fn new(engine: Rc<Engine>, peer: Peer, transport: Transport) -> Rc<Self> {
        shift_gauge(transport, 1);
        let rate = engine.settings.messages_per_second.unwrap_or_default();
        let now = Reactor::with(|reactor| reactor.turns().began());
        Rc::new(Self {
            allowance: Allowance::new(rate as f32, now),
            pause: Cell::default(),
            slowed: Cell::default(),
            sid: Sid::random(),
            peer,
            engine,
            key: Cell::default(),
            transport: Cell::new(transport),
            end: Cell::default(),
            has_ended: Cell::default(),
            outbox: RefCell::default(),
            wire: RefCell::default(),
            input: Cell::default(),
            unfinished: Cell::default(),
            gathered: Cell::default(),
            signed_in: Cell::default(),
            reads: Cell::default(),
            handling: Cell::default(),
            waker: Cell::default(),
            dirty: Cell::default(),
            blocked: Cell::default(),
            unfinished_write: Cell::default(),
            polling: Cell::default(),
            posting: Cell::default(),
            beat: Beat::default(),
        })
    }

    /// What carries the session now.
    pub fn transport(&self) -> Transport {
        self.transport.get()
    }

    /// Why it ended; `None` while it lives.
    pub fn ended(&self) -> Option<Closed> {
        self.end.get().filter(|_| self.has_ended.get())
    }

    /// Whether it has ended, or is about to: then nothing more is handled.
    pub fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    pub(super) fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    /// From one heartbeat to the next.
    pub(super) fn interval(&self) -> Duration {
        self.engine.settings.ping_interval
    }

    /// Bytes of one message at most: few until somebody has signed in.
    pub fn max_message(&self) -> usize {
        let settings = &self.engine.settings;
        match self.signed_in.get() {
            true => settings.max_payload,
            false => settings.max_payload.min(settings.strangers_payload),
        }
    }

    /// Whether a frame still waits in the outbox.
    pub fn holds(&self, frame: &Frame) -> bool {
        self.outbox.borrow().holds(frame)
    }

    /// How often something was read of its client: what comes with the same count had come by then.
    pub fn reads(&self) -> u32 {
        self.reads.get()
    }

    /// Something was read of its client.
    pub(super) fn was_read(&self) {
        self.beat.heard.set(true);
        self.reads.set(self.reads.get().wrapping_add(1));
    }

    /// Bytes that wait in its outbox.
    pub fn waiting_bytes(&self) -> usize {
        self.outbox.borrow().bytes()
    }

    /// Queues a frame; it is written with all else that waits at the end of this turn.
    /// Calls no handler: a full outbox ends the session at the next flush.
    pub fn send(self: &Rc<Self>, frame: &Frame) -> bool {
        if self.is_over() {
            return false;
        }
        let bounds = self.engine.settings.outbox;
        let now = Reactor::with(|reactor| reactor.turns().began());
        let mut outbox = self.outbox.borrow_mut();
        let taken = outbox.push(frame.clone(), bounds, now);
        let early = outbox.fills_a_write();
        drop(outbox);
        if !taken {
            metrics::add(Counter::OutboxOverflows, 1);
            self.doom(Closed::Overflow);
            return false;
        }
        if self.is_slow() {
            self.engine.more_waits(frame.len());
        }
        trace::sent(&self.sid, frame);
        metrics::add(Counter::PacketsOut, u64::from(!frame::is_ending(frame)));
        self.mark_dirty();
        if early && self.transport.get() == Transport::Websocket {
            self.write_early();
        }
        true
    }

    /// Whether what is sent now waits for longer than this round.
    fn is_slow(&self) -> bool {
        self.blocked.get() || self.transport.get() != Transport::Websocket
    }

    /// Bytes that wait, of a frame that others wait for, too, its part.
    pub(super) fn share(&self) -> usize {
        self.outbox.borrow().share()
    }

    /// Whether something waits that the client is slow to take: then volatile news are left out.
    pub fn is_behind(&self) -> bool {
        match self.transport.get() {
            Transport::Websocket => self.blocked.get() || self.unfinished_write.get(),
            _ => self.outbox.borrow().bytes() > POLL_BEHIND,
        }
    }

    /// Keeps the last news of a sender until the client has taken what waits.
    pub fn keep_last(&self, sender: u64, frame: &Frame) {
        if self.ended().is_none() {
            self.outbox.borrow_mut().keep_last(sender, frame.clone());
        }
    }

    /// Whether more waits than the bound: then nothing more is handled until it has been taken.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.borrow().bytes() > self.engine.settings.outbox.stalled
    }

    /// Waits until so much was taken that no more than the bound is left, or the end, the server's too.
    pub fn drained(&self) -> impl Future<Output = ()> {
        let over = || self.ended().is_some() || self.engine.is_going.get();
        let drained = move || (over() || !self.is_full()).then_some(());
        self.engine.taken.until(drained)
    }

    /// Ends the session at the next flush, after what waits is written.
    pub fn doom(self: &Rc<Self>, why: Closed) {
        if !self.has_ended.get() {
            self.end.set(Some(why));
        }
        self.mark_dirty();
    }

    /// Ends the session now: `Handler::closed` is called before this returns.
    pub fn close(self: &Rc<Self>, why: Closed) {
        if self.has_ended.replace(true) {
            return;
        }
        self.end.set(Some(why));
        shift_gauge(self.transport.get(), -1);
        let address = self.peer.address;
        let sentence = why.sentence();
        log::debug!("session {} of {address}: {sentence}", self.sid);
        if let Closed::Protocol(_) = why {
            tell(
                address,
                "a bad client",
                format_args!("{} is ended: {sentence}", self.sid),
            );
        }
        self.engine.handler().closed(self, why);
        drop((self.input.take(), self.unfinished.take()));
        if self.transport.get() == Transport::Websocket {
            self.end_websocket(why);
        } else if matches!(why, Closed::ByServer(_))
            || (why == Closed::Shutdown && !self.polling.get())
        {
            // The last words wait for the next polls, no longer than a pong would be waited for.
            self.engine
                .heartbeats
                .schedule(self, self.engine.settings.ping_timeout);
        } else {
            self.engine.forget(self);
        }
        self.wake();
    }

    /// Writes what waits, at the end of a round.
    pub(super) fn flush_turn(self: &Rc<Self>) {
        self.dirty.set(false);
        match self.end.get() {
            Some(why) if !self.has_ended.get() => self.close(why),
            _ if self.transport.get() == Transport::Websocket => self.flush(),
            _ => self.wake(),
        }
        if self.engine.is_going.get() {
            self.take_last_turn();
        }
    }

    /// The server is going down: the session ends once what has come of it is handled, whatever else would keep it from
    /// being read. What comes later would be lost, but nobody was told that it came.
    pub(super) fn go(self: &Rc<Self>) {
        match self.transport.get() {
            Transport::Websocket => self.mark_dirty(),
            _ => self.take_last_turn(),
        }
    }

    fn take_last_turn(self: &Rc<Self>) {
        match self.transport.get() {
            _ if self.is_over() => {}
            Transport::Websocket if self.waits() => {}
            Transport::Websocket => Serve::turn(self.clone()),
            _ if self.handling.get() => {}
            _ => self.close(Closed::Shutdown),
        }
    }

    /// Nothing waits to be written.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.borrow().is_empty()
    }

    /// A poll: what waits for its payload, or `None` and a wake-up when there is something. What waits is the websocket's, if one
    /// took over meanwhile.
    pub(super) fn poll_frames(&self, cx: &Context<'_>) -> Option<Vec<Frame>> {
        let most = self.engine.settings.max_payload;
        let frames = match self.transport.get() {
            Transport::Websocket => Vec::new(),
            _ => self.take_for_poll(most),
        };
        if !frames.iter().any(|frame| frame::has_packets(frame))
            && self.ended().is_none()
            && matches!(
                self.transport.get(),
                Transport::Polling | Transport::Probing
            )
        {
            self.waker.set(Some(cx.waker().clone()));
            return None;
        }
        Some(frames)
    }

    pub(super) fn take_for_poll(&self, most: usize) -> Vec<Frame> {
        let now = Reactor::with(|reactor| reactor.turns().began());
        let bounds = self.engine.settings.outbox;
        let mut outbox = self.outbox.borrow_mut();
        let frames = outbox.take(most, POLLED, bounds.stalled, frame::packets);
        outbox.was_taken(now);
        if outbox.bytes() <= POLL_BEHIND {
            outbox.add_late(bounds, now);
        }
        drop(outbox);
        self.engine.taken.ring();
        frames
    }

    /// Adds the packet that tells a poller to go, or to come again.
    ///
    /// Where the layer above has ended its session, this packet waits for the poll that follows: socket.io-client
    /// handles a close packet before what came with it, so it would never learn that the end was meant.
    pub(super) fn finish_payload(&self, mut payload: Vec<u8>) -> Vec<u8> {
        let last = match self.ended() {
            Some(Closed::ByServer(_) | Closed::Protocol(_)) => CLOSE,
            // A client that didn't cause its end, and is not meant to stay away, sees it as a failed poll next:
            // python-socketio would not come back after a close packet.
            _ => NOOP,
        };
        let waits = matches!(self.ended(), Some(Closed::ByServer(_)));
        if payload.is_empty() {
            payload.push(last);
        } else if last == CLOSE && !waits && self.outbox.borrow().is_empty() {
            payload.extend_from_slice(&[frame::SEPARATOR, last]);
        }
        payload
    }

    /// A probe begins; `false` when this session can't be upgraded.
    pub(super) fn begin_probe(&self) -> bool {
        if self.ended().is_some() || self.transport.get() != Transport::Polling {
            return false;
        }
        self.transport.set(Transport::Probing);
        true
    }

    /// Whether a websocket that is being probed may still take over.
    pub(super) fn is_probed(&self) -> bool {
        matches!(
            self.transport.get(),
            Transport::Probing | Transport::Upgrading
        )
    }

    /// The probe was answered: a waiting poll is let go.
    pub(super) fn release_poll(&self) {
        self.transport.set(Transport::Upgrading);
        self.wake();
    }

    /// The probe came to nothing.
    pub(super) fn end_probe(&self) {
        if self.is_probed() {
            self.transport.set(Transport::Polling);
        }
    }

    pub(super) fn mark_dirty(self: &Rc<Self>) {
        if !self.dirty.replace(true) {
            Reactor::with(|reactor| reactor.flush_later(self.clone()));
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        self.engine.taken.ring();
    }
}

pub(super) fn shift_gauge(transport: Transport, by: i64) {
    let gauge = match transport {
        Transport::Websocket => Gauge::Websockets,
        Transport::Polling | Transport::Probing | Transport::Upgrading => Gauge::Pollings,
    };
    metrics::shift(gauge, by);
}

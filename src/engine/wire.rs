//! A session's websocket: what is read and written, and why it is not read for a while.

use super::session::{Closed, Session, Transport, shift_gauge};
use super::stream::{Input, Wire};
use super::turn::try_step;
use crate::ground::net::input::Room;
use crate::ground::net::{Hold, Reactor, Socket};
use crate::metrics::{self, Counter};
use crate::outbox::Written;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// Bytes that are written to one websocket before the others have their turn: about as long as a turn handles messages.
const AT_ONCE: usize = 512 << 10;

/// How long a turn may have lasted when frames are written in its middle.
const EARLY: Duration = Duration::from_millis(2);

impl Session {
    /// The websocket takes over; what waits goes there.
    pub(super) fn take_over(self: &Rc<Self>, wire: Wire, input: Input) {
        if self.transport.get() != Transport::Websocket {
            shift_gauge(self.transport.get(), -1);
            shift_gauge(Transport::Websocket, 1);
        }
        self.transport.set(Transport::Websocket);
        self.wake();
        self.attach(wire, input);
        self.mark_dirty();
    }

    /// From now on this is its websocket; `input` has come of it already.
    pub(super) fn attach(self: &Rc<Self>, wire: Wire, mut input: Input) {
        wire.socket.serve(self.clone());
        *self.wire.borrow_mut() = Some(wire);
        input.more = !input.bytes.is_empty();
        self.keep_input(input, false);
    }

    /// Writes what waits to the websocket, as far as the kernel takes it.
    pub(super) fn flush(self: &Rc<Self>) {
        match self.write_some() {
            Ok(Written::All) if self.add_late() => self.flush(),
            Ok(Written::All) => {
                if self.unfinished_write.replace(false) {
                    self.let_go(Hold::Full);
                }
                self.engine.taken.ring();
            }
            // The others have their turn before the rest; meanwhile it is not read.
            Ok(Written::Some) => {
                self.unfinished_write.set(true);
                self.hold(Hold::Full);
                self.mark_dirty();
            }
            Ok(Written::Blocked) => {}
            Err(_) => self.close(Closed::Transport),
        }
    }

    /// The same in the middle of a round, when there is enough for a write: a long row of frames is not kept in memory to
    /// its end, if the turn is not long already. Calls no handler.
    pub(super) fn write_early(self: &Rc<Self>) {
        let began = Reactor::with(|reactor| reactor.turns().began());
        if began.elapsed() > EARLY {
            return;
        }
        if self.write_some().is_err() {
            self.doom(Closed::Transport);
        }
    }

    /// Writes, unless the kernel took no more the last time. What it does not take it is asked for once it does.
    fn write_some(&self) -> io::Result<Written> {
        if self.blocked.get() {
            return Ok(Written::Blocked);
        }
        let written = match &*self.wire.borrow() {
            Some(wire) => self.write(&wire.socket, AT_ONCE)?,
            None => return Ok(Written::Blocked),
        };
        if written == Written::Blocked {
            self.blocked.set(true);
            self.hold(Hold::Full);
            self.engine.more_waits(self.waiting_bytes());
        }
        Ok(written)
    }

    /// Adds the news that were kept while it was behind; whether there were any.
    fn add_late(&self) -> bool {
        let now = Reactor::with(|reactor| reactor.turns().began());
        let bounds = self.engine.settings.outbox;
        self.outbox.borrow_mut().add_late(bounds, now)
    }

    fn write(&self, socket: &Socket, most: usize) -> io::Result<Written> {
        let mut written = 0;
        let mut outbox = self.outbox.borrow_mut();
        let bound = self.engine.settings.outbox.stalled;
        let result = outbox.write_to(&mut socket.get_ref(), &mut written, bound, most);
        if written > 0 && !outbox.is_empty() {
            outbox.was_taken(Reactor::with(|reactor| reactor.turns().began()));
        }
        metrics::add(Counter::BytesOut, written);
        Reactor::with(|reactor| reactor.wrote(written as usize));
        result
    }

    /// Writes all that waits; `WouldBlock` when the kernel does not take it.
    pub(super) fn write_rest(&self, socket: &Socket) -> io::Result<()> {
        match self.write(socket, usize::MAX)? {
            Written::All => Ok(()),
            Written::Some | Written::Blocked => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The websocket is writable again. Who reads what waits is alive, however long it takes.
    pub(super) fn unblock(self: &Rc<Self>) {
        if self.blocked.replace(false) {
            self.beat.heard.set(true);
            // Not at once: thousands may be writable at the same time. What follows waits for it.
            self.unfinished_write.set(true);
            self.mark_dirty();
        }
    }

    /// Reads from the websocket.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &*self.wire.borrow() {
            Some(wire) => wire.socket.read(buffer),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether this has to be waited for; then the websocket is not read meanwhile. It may hold the `bytes` of its message.
    pub(super) fn waits_for(
        self: &Rc<Self>,
        step: Pin<Box<dyn Future<Output = ()>>>,
        bytes: usize,
    ) -> bool {
        let Some(step) = try_step(step) else {
            return false;
        };
        self.hold(Hold::Waits);
        let (session, was_over) = (self.clone(), self.is_over());
        let held = self.hand_over(bytes);
        if !was_over && self.is_over() {
            // There is no room to wait in.
            return true;
        }
        self.engine.steps.spawn("a message", async move {
            step.await;
            session.handled(held, Self::count_input);
            session.let_go(Hold::Waits);
            if session.engine.is_going.get() {
                session.go();
            }
        });
        true
    }

    fn hold(&self, why: Hold) {
        if let Some(wire) = &*self.wire.borrow() {
            wire.socket.hold(why);
        }
    }

    pub(super) fn let_go(&self, why: Hold) {
        if let Some(wire) = &*self.wire.borrow() {
            wire.socket.let_go(why);
        }
    }

    /// Whether a message is being waited for.
    pub(super) fn waits(&self) -> bool {
        let wire = self.wire.borrow();
        wire.as_ref().is_some_and(|wire| wire.socket.waits())
    }

    /// What earlier turns left unfinished.
    pub(super) fn take_input(&self) -> Input {
        self.input
            .take()
            .map_or_else(Input::default, |input| *input)
    }

    /// Keeps what a turn left unfinished; with `more`, and whether it was so before, it has another turn.
    pub(super) fn keep_input(self: &Rc<Self>, input: Input, before: bool) {
        let room = self.hold_input(input.held());
        if let Some(wire) = &*self.wire.borrow() {
            if input.more != before {
                wire.socket.set_more(input.more);
            }
            match room {
                // What is whole is handled, which makes room.
                Room::None if !input.more => wire.socket.hold(Hold::Crowded),
                Room::Ended(_) => return,
                Room::Some | Room::None => {}
            }
            self.input.set((!input.is_empty()).then(|| Box::new(input)));
        }
    }

    /// Counts anew what is unfinished.
    fn count_input(self: &Rc<Self>) {
        let input = self.take_input();
        let before = input.more;
        self.keep_input(input, before);
    }

    /// How long the next message has to wait.
    pub(super) fn take_pause(&self) -> Option<Duration> {
        let micros = self.pause.take();
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Does not read the websocket for so long.
    pub(super) fn pause_for(self: &Rc<Self>, time: Duration) {
        self.hold(Hold::Paused);
        let (engine, session) = (self.engine.clone(), Rc::downgrade(self));
        self.engine.tasks.spawn("a pause", async move {
            engine.pause(time).await;
            if let Some(session) = session.upgrade() {
                session.let_go(Hold::Paused);
            }
        });
    }
}

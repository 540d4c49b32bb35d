//! A websocket's turn: it reads once, and handles a share of what came.
//!
//! All connections read into one shared buffer; each keeps only what is unfinished.

use super::decoder::{Decoder, Done, Fault, Item, Large};
use super::session::{Closed, Session};
use super::stream::Input;
use super::{Step, frame};
use crate::ground::net::input::grow;
use crate::ground::net::{Reactor, Serve};
use crate::metrics::{self, Counter};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Bytes of the buffer that all connections read into: what one turn reads at most.
pub(super) const READ_BUFFER: usize = 16 * 1024;

/// Messages that one turn handles at most, and how long it goes on to a next one.
const MESSAGES: usize = 64;
const TIME: Duration = Duration::from_millis(1);

/// Why a turn handles no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There is no whole frame any more.
    Hungry,
    /// Nothing has come.
    Nothing,
    /// It has had its share, or a handler waits.
    Later,
    /// A large message is to be read beside our thread.
    Large(Large),
    Ended,
}

impl Serve for Session {
    fn turn(self: Rc<Self>) {
        if self.ended().is_some() {
            return;
        }
        let mut input = self.take_input();
        let before = input.more;
        let stop = match input.more {
            true => input.handle_held(&self),
            false => input.read(&self),
        };
        input.more = stop == Stop::Later && !input.bytes.is_empty();
        self.keep_input(input, before);
        if self.engine().is_going.get() {
            match stop {
                Stop::Nothing => self.close(Closed::Shutdown),
                _ => self.go(),
            }
        }
    }

    fn writable(self: Rc<Self>) {
        self.unblock();
    }

    fn flush(self: Rc<Self>) {
        self.flush_turn();
    }
}

impl Input {
    fn read(&mut self, session: &Rc<Session>) -> Stop {
        let engine = session.engine();
        let mut buffer = engine.read_buffer.take();
        buffer.resize(READ_BUFFER, 0);
        let stop = match session.read(&mut buffer) {
            Ok(n @ 1..) => self.received(session, &mut buffer[..n]),
            Err(e) if is_passing(&e) => Stop::Nothing,
            Ok(_) | Err(_) => {
                session.close(Closed::Transport);
                Stop::Ended
            }
        };
        engine.read_buffer.set(buffer);
        stop
    }

    fn received(&mut self, session: &Rc<Session>, bytes: &mut [u8]) -> Stop {
        metrics::add(Counter::BytesIn, bytes.len() as u64);
        session.was_read();
        if !self.bytes.is_empty() {
            grow(&mut self.bytes, bytes.len());
            self.bytes.extend_from_slice(bytes);
            return self.handle_held(session);
        }
        let (used, stop) = handle(session, &mut self.decoder, bytes);
        grow(&mut self.bytes, bytes.len() - used);
        self.bytes.extend_from_slice(&bytes[used..]);
        self.read_large(session, stop, Vec::new())
    }

    fn handle_held(&mut self, session: &Rc<Session>) -> Stop {
        let (used, stop) = handle(session, &mut self.decoder, &mut self.bytes);
        let mut handled = Vec::new();
        if used > 0 {
            // A fresh buffer, so that one large message does not leave its size behind.
            let rest = self.bytes.split_off(used);
            handled = std::mem::replace(&mut self.bytes, rest);
        }
        self.read_large(session, stop, handled)
    }

    /// If a turn stopped at a large message, which ends `handled` or lies in fragments: the session waits for it.
    fn read_large(&mut self, session: &Rc<Session>, stop: Stop, handled: Vec<u8>) -> Stop {
        let Stop::Large(large) = stop else {
            return stop;
        };
        let bytes = match large.is_fragmented() {
            true => self.decoder.take_fragments(),
            false => handled,
        };
        session.message_done();
        let held = bytes.capacity();
        let read = session.clone().receive_large(large, bytes);
        session.waits_for(Box::pin(read), held);
        Stop::Later
    }
}

/// Handles frames until they end, a handler has to wait, or the turn has had its share; returns how many bytes were used.
fn handle(session: &Rc<Session>, decoder: &mut Decoder, bytes: &mut [u8]) -> (usize, Stop) {
    let began = Reactor::with(|reactor| reactor.turns().began());
    let mut used = 0;
    for handled in 0..MESSAGES {
        // Mostly there is one message, and nothing to compare the time with.
        if handled > 0 && used < bytes.len() && Instant::now() - began > TIME {
            break;
        }
        // Each time anew: somebody may have signed in.
        match decoder.next(&mut bytes[used..], session.max_message()) {
            Ok(Some((n, Item::Large(large)))) => {
                return (used + n, Stop::Large(large.behind(used)));
            }
            Ok(Some((n, item))) => {
                used += n;
                let done = item.done();
                // Attachments that came before it are of the same message.
                let gathered = session.gathered();
                let step = receive(session, &item);
                decoder.item_done(done);
                if done == Done::Message {
                    session.message_done();
                }
                let waits = step.is_some_and(|step| session.waits_for(step, n + gathered));
                let pause = session.take_pause();
                pause.into_iter().for_each(|time| session.pause_for(time));
                if waits || pause.is_some() || session.is_full() {
                    return (used, Stop::Later);
                }
            }
            Ok(None) => return (used, Stop::Hungry),
            Err(Fault(code)) => {
                metrics::refused("frame");
                session.close(Closed::Protocol(code));
            }
        }
        if session.is_over() {
            // What follows the end is nobody's.
            return (bytes.len(), Stop::Ended);
        }
    }
    (used, Stop::Later)
}

fn receive(session: &Rc<Session>, item: &Item<'_>) -> Step {
    match item {
        Item::Text(text) => session.receive_text(text),
        Item::Binary(data) => session.receive_binary(data),
        Item::Ping(data) => {
            session.send(&frame::pong(data));
            None
        }
        Item::Close(code) => {
            session.close(Closed::ByClient(*code));
            None
        }
        Item::Large(_) | Item::Nothing => None,
    }
}

/// Tries a step at once: most of them need not wait. `None`: it is done.
pub fn try_step(mut step: Pin<Box<dyn Future<Output = ()>>>) -> Step {
    let mut cx = Context::from_waker(Waker::noop());
    match step.as_mut().poll(&mut cx).is_ready() {
        true => None,
        false => Some(step),
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

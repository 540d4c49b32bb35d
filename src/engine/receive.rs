//! What a session receives: packets, each of which is paid for.

use super::decoder::{Fault, Large};
use super::session::{Closed, Session};
use super::{Allowance, Message, Packet, Step, frame, trace};
use crate::ground::net::Reactor;
use crate::ground::tasks::aside;
use crate::metrics::{self, Counter};
use std::rc::Rc;
use std::time::Duration;

impl Session {
    /// Handles a text packet from the current transport.
    pub(super) fn receive_text(self: &Rc<Self>, text: &str) -> Step {
        metrics::add(Counter::PacketsIn, 1);
        trace::packet(&self.sid, "received", text.as_bytes());
        match Packet::decode(text) {
            Some(Packet::Message(data)) => {
                self.pay(data.len());
                self.engine.handler().message(self, Message::Text(data))
            }
            Some(Packet::Pong) => {
                self.engine.heartbeats.pong(self);
                None
            }
            Some(Packet::Noop) => None,
            Some(Packet::Close) => {
                self.close(Closed::ByClient(frame::NORMAL));
                None
            }
            Some(Packet::Ping(_) | Packet::Upgrade) | None => {
                self.breach("packet");
                None
            }
        }
    }

    /// Handles a binary message from the current transport.
    pub(super) fn receive_binary(self: &Rc<Self>, data: &[u8]) -> Step {
        metrics::add(Counter::PacketsIn, 1);
        trace::binary(&self.sid, "received", data.len());
        self.pay(data.len());
        self.engine.handler().message(self, Message::Binary(data))
    }

    /// Handles a large message from the current transport.
    pub(super) fn receive_owned(self: &Rc<Self>, message: Message<'static>) -> Step {
        let message = match message {
            Message::LargeText(text, 0) if text.starts_with('4') => Message::LargeText(text, 1),
            Message::LargeText(text, _) => return self.receive_text(&text),
            message => message,
        };
        metrics::add(Counter::PacketsIn, 1);
        match &message {
            Message::LargeText(text, _) => trace::packet(&self.sid, "received", text.as_bytes()),
            message => trace::binary(&self.sid, "received", message.bytes()),
        }
        self.pay(message.bytes());
        self.engine.handler().message(self, message)
    }

    /// The same from a websocket, still as it came: it is read beside our thread first.
    pub(super) async fn receive_large(self: Rc<Self>, large: Large, bytes: Vec<u8>) {
        let read = aside(move || large.read(bytes)).await;
        if self.is_over() {
            return;
        }
        match read {
            Ok(message) => {
                let gathered = self.gathered();
                if let Some(step) = self.receive_owned(message) {
                    let _held = self.hand_over(gathered);
                    step.await;
                }
            }
            Err(Fault(code)) => {
                metrics::refused("frame");
                self.close(Closed::Protocol(code));
            }
        }
        if let Some(pause) = self.take_pause() {
            self.pause_for(pause);
        }
    }

    /// Pays for a message.
    fn pay(self: &Rc<Self>, bytes: usize) {
        let Some(rate) = self.engine.settings.messages_per_second else {
            return;
        };
        let now = Reactor::with(|reactor| reactor.turns().began());
        let cost = Allowance::cost(bytes);
        let pause = self.allowance.pay(cost, rate as f32, now);
        if let Some(pause) = pause {
            self.slow(pause);
        }
    }

    /// The next message has to wait for so long.
    pub fn slow(self: &Rc<Self>, pause: Duration) {
        let micros = u32::try_from(pause.as_micros()).unwrap_or(u32::MAX);
        self.pause.set(self.pause.get().max(micros));
        metrics::refused("event rate");
        if !self.slowed.replace(true) {
            self.engine.handler().slowed(self);
        }
    }

    /// Ends the session since the client broke the protocol.
    pub fn breach(self: &Rc<Self>, what: &'static str) {
        metrics::refused(what);
        self.close(Closed::Protocol(1002));
    }
}

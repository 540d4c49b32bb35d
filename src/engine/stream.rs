//! What a session holds of its websocket: the stream, and what has come of it and is not handled yet.

use super::Engine;
use super::decoder::Decoder;
use crate::ground::net::Socket;
use std::rc::Rc;

/// A session's websocket.
pub(super) struct Wire {
    pub socket: Socket,
    pub counted: Counted,
}

/// One more stream of the engine while it lives.
pub(super) struct Counted(pub Rc<Engine>);

impl Counted {
    pub(super) fn new(engine: Rc<Engine>) -> Self {
        engine.streams.set(engine.streams.get() + 1);
        Self(engine)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        if self.0.streams.get() == 0 {
            self.0.streams_closed.ring();
        }
    }
}

/// What has come of a client and is not handled yet.
#[derive(Default)]
pub(super) struct Input {
    pub decoder: Decoder,
    /// The start of a frame whose rest is not here yet, or what a turn had no time for.
    pub bytes: Vec<u8>,
    /// There may be whole frames in `bytes`.
    pub more: bool,
}

impl Input {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.decoder.is_unfinished()
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        match self.is_empty() {
            true => 0,
            false => self.bytes.capacity() + self.decoder.held(),
        }
    }
}

//! The websocket transport: handshake, probe, and the task that reads (and writes when the kernel made us wait).
//!
//! All connections read into one shared buffer; each keeps only an unfinished frame.

use super::decoder::{Decoder, Fault, Item};
use super::session::{Closed, Session, Transport};
use super::{Engine, Step, frame};
use crate::metrics::{self, Counter};
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use futures_lite::{FutureExt as _, future};
use hyper::header::{CONNECTION, HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use smol::{Async, Timer};
use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Bytes of the buffer that all connections read into.
pub const READ_BUFFER: usize = 64 * 1024;

/// How long a probed websocket may take to take over.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Frames of a probe at most: two words, and a ping or two.
const PROBE_FRAMES: usize = 16;

/// How long a closed websocket may take to read the last words, and to close its side.
const LINGER: Duration = Duration::from_secs(2);

/// The `Sec-WebSocket-Accept` for a client's handshake (RFC 6455, 4.2.1); `None` when it isn't one.
pub(super) fn accept_key(headers: &HeaderMap) -> Option<String> {
    let has = |name, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        values
            .flat_map(|v| v.split(','))
            .any(|v| v.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY)?.as_bytes();
    let valid = data_encoding::BASE64
        .decode(key)
        .is_ok_and(|k| k.len() == 16);
    let asked =
        has(UPGRADE, "websocket") && has(CONNECTION, "upgrade") && has(SEC_WEBSOCKET_VERSION, "13");
    (asked && valid).then(|| derive_accept_key(key))
}

/// Serves a websocket until it ends: a session of its own, or the upgrade of `upgraded`.
/// `early`: bytes that came with the handshake.
pub(super) async fn serve(
    counted: Counted,
    upgraded: Option<Rc<Session>>,
    peer: IpAddr,
    stream: Async<TcpStream>,
    early: Vec<u8>,
) {
    let stream = Rc::new(stream);
    match upgraded {
        Some(session) => probe(Connection::new(session, stream, early)).await,
        None => {
            let session = counted.0.open(peer, Transport::Websocket);
            session.attach(stream.clone());
            Connection::new(session, stream, early).run().await;
        }
    }
}

/// One more stream of the engine while it lives.
pub(super) struct Counted(Rc<Engine>);

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

/// Closes a websocket that no session waits for.
pub(super) fn turn_away(stream: &Async<TcpStream>) {
    // A new connection's buffer takes these few bytes; if not, it sees the end all the same.
    let _ = stream.get_ref().write(&frame::close(1002));
}

/// Probes a websocket for a polling session; after `5` it serves the session until it ends.
async fn probe(mut connection: Connection) {
    let late = async {
        Timer::after(UPGRADE_TIMEOUT).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    // Boxed, so that the waiting connection's task stays small.
    let upgraded = Box::pin(connection.probe().or(late)).await;
    match upgraded {
        Ok(()) => connection.run().await,
        Err(_) => connection.session.end_probe(),
    }
}

struct Connection {
    session: Rc<Session>,
    stream: Rc<Async<TcpStream>>,
    decoder: Decoder,
    /// The start of a frame whose rest is not here yet, or what follows a message that is being handled.
    unfinished: Vec<u8>,
    /// The handler of the last message, while it waits for something.
    step: Step,
}

/// What a connection's task woke up for.
enum Woken {
    Read(usize),
    Writable,
    Stepped,
    Ended,
    Failed,
}

impl Connection {
    fn new(session: Rc<Session>, stream: Rc<Async<TcpStream>>, unfinished: Vec<u8>) -> Self {
        Self {
            session,
            stream,
            decoder: Decoder::default(),
            unfinished,
            step: None,
        }
    }

    async fn run(mut self) {
        if !self.unfinished.is_empty() {
            self.handle_unfinished();
        }
        loop {
            let mut buffer = Vec::new();
            match poll_fn(|cx| self.poll(cx, &mut buffer)).await {
                Woken::Read(n) => self.handle_read(buffer, n),
                Woken::Writable => self.session.unblock(),
                Woken::Stepped => self.handle_unfinished(),
                Woken::Failed => self.session.close(Closed::Transport),
                Woken::Ended => break,
            }
        }
        if let Some(step) = self.step.take() {
            step.await;
        }
        Box::pin(self.linger()).await;
        self.session.detach();
    }

    /// Waits for the first thing to do. A read fills the shared buffer and hands it over in `buffer`.
    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<Woken> {
        let blocked = self.session.is_blocked(cx);
        if self.session.ended().is_some() {
            return Poll::Ready(Woken::Ended);
        }
        if blocked && self.stream.poll_writable(cx).is_ready() {
            return Poll::Ready(Woken::Writable);
        }
        if let Some(step) = &mut self.step {
            return step.as_mut().poll(cx).map(|()| {
                self.step = None;
                Woken::Stepped
            });
        }
        self.poll_read(cx, buffer)
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<Woken> {
        if std::task::ready!(self.stream.poll_readable(cx)).is_err() {
            return Poll::Ready(Woken::Failed);
        }
        let mut shared = self.session.engine().read_buffer.take();
        shared.resize(READ_BUFFER, 0);
        let read = self.stream.get_ref().read(&mut shared);
        if let Ok(n @ 1..) = read {
            *buffer = shared;
            return Poll::Ready(Woken::Read(n));
        }
        self.session.engine().read_buffer.set(shared);
        match read {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(_) | Err(_) => Poll::Ready(Woken::Failed),
        }
    }

    /// Handles what was read, and gives the shared buffer back.
    fn handle_read(&mut self, mut buffer: Vec<u8>, n: usize) {
        metrics::add(Counter::BytesIn, n as u64);
        self.session.beat.heard.set(true);
        if self.unfinished.is_empty() {
            let used = self.handle(&mut buffer[..n]);
            self.unfinished.extend_from_slice(&buffer[used..n]);
        } else {
            self.unfinished.extend_from_slice(&buffer[..n]);
        }
        let grown = !self.unfinished.is_empty();
        self.session.engine().read_buffer.set(buffer);
        if grown && self.step.is_none() {
            self.handle_unfinished();
        }
    }

    fn handle_unfinished(&mut self) {
        let mut bytes = std::mem::take(&mut self.unfinished);
        let used = self.handle(&mut bytes);
        if used == 0 {
            self.unfinished = bytes;
        } else {
            // A fresh buffer, so that one large message does not leave its size behind.
            self.unfinished = bytes.split_off(used);
        }
    }

    /// Handles the frames in `bytes` until they end or a handler has to wait; returns how many bytes were used.
    fn handle(&mut self, bytes: &mut [u8]) -> usize {
        let limit = self.session.engine().settings.max_payload;
        let mut used = 0;
        while self.step.is_none() && self.session.ended().is_none() {
            match self.decoder.next(&mut bytes[used..], limit) {
                Ok(Some((n, item))) => {
                    used += n;
                    let done = item.done();
                    self.step = receive(&self.session, &item);
                    self.decoder.item_done(done);
                }
                Ok(None) => return used,
                Err(Fault(code)) => {
                    metrics::refused("frame");
                    self.session.close(Closed::Protocol(code));
                }
            }
        }
        // What follows the end is nobody's.
        if self.session.ended().is_some() {
            bytes.len()
        } else {
            used
        }
    }

    /// `2probe` is answered with `3probe`; `5` hands the session over.
    async fn probe(&mut self) -> io::Result<()> {
        let mut frames = PROBE_FRAMES;
        loop {
            let word = self.probe_word(&mut frames).await?;
            match word.as_str() {
                "2probe" if self.session.is_probed() => {
                    self.stream
                        .get_ref()
                        .write_all(&frame::packet(&["3probe"], &[]))?;
                    self.session.release_poll();
                }
                "5" if self.session.ended().is_none() => {
                    self.session.take_over(self.stream.clone());
                    return Ok(());
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// The next text frame of a probe, of which so many `frames` may still come: whoever floods us would be read for ever.
    async fn probe_word(&mut self, frames: &mut usize) -> io::Result<String> {
        loop {
            let next = self.decoder.next(&mut self.unfinished, 64);
            let bad = |_| io::Error::from(io::ErrorKind::InvalidData);
            if let Some((used, item)) = next.map_err(bad)? {
                *frames = frames.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
                let word = match item {
                    Item::Text(text) => Some(text.to_owned()),
                    Item::Nothing | Item::Ping(_) => None,
                    Item::Binary(_) | Item::Close => return Err(io::ErrorKind::InvalidData.into()),
                };
                self.unfinished.drain(..used);
                if let Some(word) = word {
                    self.decoder = Decoder::default();
                    return Ok(word);
                }
                continue;
            }
            let mut some = [0; 512];
            let n = self.stream.read_with(|mut s| s.read(&mut some)).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unfinished.extend_from_slice(&some[..n]);
        }
    }

    /// Last words: what waits is written, our side is closed, and the client gets a moment to close its own.
    async fn linger(&self) {
        if matches!(
            self.session.ended(),
            Some(Closed::Transport | Closed::Overflow | Closed::PingTimeout)
        ) {
            return;
        }
        let farewell = async {
            while !self.session.is_flushed() {
                self.stream.writable().await?;
                self.session.unblock();
            }
            self.stream.get_ref().shutdown(Shutdown::Write)?;
            let mut rest = [0; 4096];
            while self.stream.read_with(|mut s| s.read(&mut rest)).await? > 0 {
                // There may always be more: the others get their turn, and the clock.
                future::yield_now().await;
            }
            Ok(())
        };
        let late = async {
            Timer::after(LINGER).await;
            Ok::<(), io::Error>(())
        };
        // Whether the client heard it is its own affair.
        let _ = future::or(farewell, late).await;
    }
}

fn receive(session: &Rc<Session>, item: &Item<'_>) -> Step {
    match item {
        Item::Text(text) => session.receive_text(text),
        Item::Binary(data) => session.receive_binary(data),
        Item::Ping(data) => {
            session.send(&frame::pong(data));
            None
        }
        Item::Close => {
            session.close(Closed::ByClient);
            None
        }
        Item::Nothing => None,
    }
}

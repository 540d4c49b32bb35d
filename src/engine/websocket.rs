//! The websocket transport: handshake, probe, and the last words.

use super::Peer;
use super::decoder::{Decoder, Item};
use super::session::{Closed, Session, Transport};
use super::stream::{Counted, Input, Wire};
use super::{frame, trace};
use crate::ground::net::Socket;
use crate::ground::tasks::within;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use futures_lite::future;
use hyper::header::{CONNECTION, HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

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

/// Makes a websocket a session's: of its own, or of `upgraded` after a probe. From then on it is served in turns.
/// `early`: bytes that came with the handshake.
pub(super) async fn serve(
    counted: Counted,
    upgraded: Option<Rc<Session>>,
    peer: Peer,
    socket: Socket,
    early: Vec<u8>,
) {
    let mut input = Input {
        bytes: early,
        ..Input::default()
    };
    let wire = Wire { socket, counted };
    match upgraded {
        Some(session) => {
            let probe = probe(&session, &wire.socket, &mut input);
            // Boxed, so that this task stays small.
            match Box::pin(within(UPGRADE_TIMEOUT, probe)).await {
                Some(Ok(())) => session.take_over(wire, input),
                Some(Err(_)) | None => session.end_probe(),
            }
        }
        None => {
            let session = wire.counted.0.open(peer, Transport::Websocket);
            session.attach(wire, input);
        }
    }
}

/// Closes a websocket that no session waits for.
pub(super) fn turn_away(stream: &Socket) {
    // A new connection's buffer takes these few bytes; if not, it sees the end all the same.
    let _ = stream
        .get_ref()
        .write(&frame::close(1002, "the session has a websocket"));
}

/// `2probe` is answered with `3probe`; `5` hands the session over.
async fn probe(session: &Rc<Session>, socket: &Socket, input: &mut Input) -> io::Result<()> {
    let mut frames = PROBE_FRAMES;
    loop {
        let word = probe_word(socket, input, &mut frames).await?;
        trace::packet(&session.sid, "received", word.as_bytes());
        match word.as_str() {
            "2probe" if session.is_probed() => {
                socket
                    .get_ref()
                    .write_all(&frame::packet(&["3probe"], &[]))?;
                trace::packet(&session.sid, "sent", b"3probe");
                session.release_poll();
            }
            "5" if session.ended().is_none() => return Ok(()),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The next text frame of a probe, of which so many `frames` may still come: whoever floods us would be read for ever.
async fn probe_word(socket: &Socket, input: &mut Input, frames: &mut usize) -> io::Result<String> {
    loop {
        let next = input.decoder.next(&mut input.bytes, 64);
        let bad = |_| io::Error::from(io::ErrorKind::InvalidData);
        if let Some((used, item)) = next.map_err(bad)? {
            *frames = frames.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
            let word = match item {
                Item::Text(text) => Some(text.to_owned()),
                Item::Nothing | Item::Ping(_) => None,
                Item::Large(_) | Item::Binary(_) | Item::Close(_) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            };
            input.bytes.drain(..used);
            if let Some(word) = word {
                input.decoder = Decoder::default();
                return Ok(word);
            }
            continue;
        }
        let mut some = [0; 512];
        let n = poll_fn(|cx| socket.poll_receive(cx, &mut some)).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        input.bytes.extend_from_slice(&some[..n]);
    }
}

impl Session {
    /// Writes the last words, and gives the websocket up.
    pub(super) fn end_websocket(self: &Rc<Self>, why: Closed) {
        self.engine.forget(self);
        if let Some(code) = why.code() {
            let reason = match why {
                Closed::ByClient(_) => "",
                _ => why.sentence(),
            };
            self.outbox
                .borrow_mut()
                .push_last(frame::close(code, reason));
        }
        self.flush();
        let wire = self.wire.take();
        match (wire, why) {
            (None, _) | (_, Closed::Transport | Closed::Overflow | Closed::PingTimeout) => {}
            (Some(wire), _) => {
                wire.socket.release();
                let farewell = say_farewell(self.clone(), wire);
                self.engine.tasks.spawn("a farewell", farewell);
            }
        }
    }
}

/// Last words: what waits is written, our side is closed, and the client gets a moment to close its own.
async fn say_farewell(session: Rc<Session>, wire: Wire) {
    let farewell = async {
        let socket = &wire.socket;
        poll_fn(|cx| socket.poll_send(cx, || session.write_rest(socket))).await?;
        socket.get_ref().shutdown(Shutdown::Write)?;
        let mut rest = [0; 4096];
        while poll_fn(|cx| socket.poll_receive(cx, &mut rest)).await? > 0 {
            // There may always be more: the others get their turn, and the clock.
            future::yield_now().await;
        }
        Ok::<(), io::Error>(())
    };
    // Whether the client heard it is its own affair.
    let _ = within(LINGER, farewell).await;
}

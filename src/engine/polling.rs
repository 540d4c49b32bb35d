//! The HTTP long-polling transport (Engine.IO protocol, "HTTP long-polling").

use super::frame::SEPARATOR;
use super::packet::{CLOSE, NOOP};
use super::turn::try_step;
use super::{Engine, Failure, Message, Session, Step, Transport, frame};
use crate::ground::net::input::{Ended, Unfinished};
use crate::ground::net::{BodyFault, read_body};
use crate::ground::tasks::{Aside, LARGE, aside, within};
use crate::metrics::{self, Counter};
use data_encoding::{BASE64, BASE64_NOPAD};
use futures_lite::future;
use hyper::body::{Bytes, Incoming};
use smol::Timer;
use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Packets of a payload that are handled before the others have their turn, and how long that may take.
const HANDLED: usize = 64;
const TIME: Duration = Duration::from_millis(1);

/// Packets of a payload at most; no client gathers as many between two posts.
const PACKETS: usize = 10_000;

/// Between two polls that are answered while a websocket takes over, however fast they come.
const WHILE_UPGRADING: Duration = Duration::from_millis(100);

/// How long a post waits for what its session has not taken.
const UNTAKEN: Duration = Duration::from_secs(1);

/// Bytes a second that a poll's answer is taken with, at least: half of what 1 Mbit/s are.
const SLOWEST: usize = 64 << 10;

/// Answers a poll: waits until there is something to say.
pub(super) async fn get(engine: &Rc<Engine>, session: &Rc<Session>) -> Result<Bytes, Failure> {
    let Some(_waiting) = Turn::take(session, |session| &session.polling) else {
        session.breach("second poll");
        return Err(Failure::BadRequest);
    };
    if session.transport() == Transport::Upgrading {
        Timer::after(WHILE_UPGRADING).await;
    }
    let frames = poll_fn(|cx| match session.poll_frames(cx) {
        Some(frames) => Poll::Ready(frames),
        None => Poll::Pending,
    })
    .await;
    let payload = session.finish_payload(frame::to_payload(&frames).await);
    let parted = matches!(payload[..], [CLOSE | NOOP] | [.., SEPARATOR, CLOSE]);
    if parted && session.ended().is_some() && session.is_flushed() {
        engine.forget(session);
    }
    metrics::add(Counter::BytesOut, payload.len() as u64);
    session.takes_time(payload.len());
    Ok(payload.into())
}

impl Session {
    /// An answer of so many bytes is on its way: until the next poll the client knows of no ping, and then it has the time
    /// that it always has.
    fn takes_time(&self, bytes: usize) {
        let timeout = self.engine.settings.ping_timeout.as_millis().max(1);
        let time = (bytes / SLOWEST * 1000) as u128;
        let late = (time / timeout).try_into().unwrap_or(u8::MAX);
        self.beat.late.set(late.max(self.beat.late.get().min(1)));
    }
}

/// Takes a payload from a client; its packets are handled in order before it is answered.
pub(super) async fn post(
    engine: &Rc<Engine>,
    session: &Rc<Session>,
    body: Incoming,
) -> Result<Bytes, Failure> {
    let Some(busy) = Turn::take(session, |session| &session.posting).map(Rc::new) else {
        session.breach("second post");
        return Err(Failure::BadRequest);
    };
    // Given back also when the client leaves in the middle.
    let _held = Held(session);
    let body = read_body(body, session.max_message(), |bytes, cx| {
        session.poll_hold_input(bytes, cx)
    });
    let body = body.await.map_err(|fault| refuse_body(session, fault))?;
    // What has come is held until all of it is handled; its clock stands.
    let _handling = Turn::take(session, |session| &session.handling);
    session.hold_input(body.capacity());
    metrics::add(Counter::BytesIn, body.len() as u64);
    session.was_read();
    let Some(mut pieces) = read_pieces(body).await else {
        session.breach("payload");
        return Err(Failure::BadRequest);
    };
    let (mut handled, mut began) = (0, Instant::now());
    while let Some(piece) = pieces.pop() {
        if session.is_over() {
            break;
        }
        let left = pieces.iter().map(String::capacity).sum();
        session.hold_input(left + piece.capacity());
        if is_large(&piece) {
            handled += 1;
            let gathered = session.gathered();
            // From here on it is its handler's, or an attachment's packet keeps it.
            let mut held = session.hand_over(piece.capacity());
            let step = receive_large(session, piece).await;
            if step.is_none() {
                session.handled(held.take(), |session| _ = session.hold_input(left));
            }
            finish(engine, &busy, step, held, gathered).await?;
            continue;
        }
        for packet in piece.split(SEPARATOR as char) {
            if session.is_over() {
                break;
            }
            if handled == PACKETS {
                session.breach("payload");
                return Err(Failure::TooLarge);
            }
            if handled > 0 && (handled % HANDLED == 0 || began.elapsed() > TIME) {
                future::yield_now().await;
                began = Instant::now();
            }
            handled += 1;
            let gathered = session.gathered();
            let step = receive(session, packet);
            let held = Unfinished::hand_over(None, packet.len());
            finish(engine, &busy, step, held, gathered).await?;
        }
    }
    Ok(Bytes::from_static(b"ok"))
}

/// A body that is none ends its session, unless that has ended for it already.
fn refuse_body(session: &Rc<Session>, fault: BodyFault) -> Failure {
    match fault {
        BodyFault::Ended(Ended::Crowded) => Failure::NoRoom,
        BodyFault::Ended(Ended::Late) => Failure::BadRequest,
        BodyFault::TooLarge => {
            session.breach("payload");
            Failure::TooLarge
        }
        BodyFault::Broken => {
            session.breach("payload");
            Failure::BadRequest
        }
    }
}

fn receive(session: &Rc<Session>, packet: &str) -> Step {
    match packet.strip_prefix('b').map(unpack) {
        Some(Some(data)) => session.receive_binary(&data),
        Some(None) => {
            session.breach("packet");
            None
        }
        None => session.receive_text(packet),
    }
}

/// The same for a packet that takes longer to look at than a turn may.
async fn receive_large(session: &Rc<Session>, packet: String) -> Step {
    let message = match packet.starts_with('b') {
        true => aside(move || unpack(&packet[1..]).map(Message::LargeBinary)).await,
        false => Some(Message::LargeText(packet, 0)),
    };
    match message {
        _ if session.is_over() => None,
        Some(message) => session.receive_owned(message),
        None => {
            session.breach("packet");
            None
        }
    }
}

/// Waits until a packet has been handled, whose handler holds what is `held`, and what was gathered before it.
async fn finish(
    engine: &Engine,
    busy: &Rc<Turn>,
    step: Step,
    held: Option<Unfinished>,
    gathered: usize,
) -> Result<(), Failure> {
    let session = &busy.session;
    if let Some(step) = step.and_then(try_step) {
        // Should the client hang up it goes on, as over a websocket, so that nothing stays half done; the session takes
        // no other POST before its end.
        let all = (busy.clone(), held, session.hand_over(gathered));
        let work = async move {
            step.await;
            drop(all);
        };
        engine.steps.run_to_end("a payload", work).await;
    }
    if let Some(super::Closed::Protocol(_)) = session.ended() {
        return Err(Failure::BadRequest);
    }
    // Who sends more than it may, or does not take its answers, waits for the answer to this: a moment, since it may poll over
    // the same connection.
    if let Some(time) = session.take_pause() {
        engine.pause(time).await;
    }
    within(UNTAKEN, session.drained()).await;
    Ok(())
}

/// The text of a body in pieces, the last one first; `None` when it is none, or empty.
fn read_pieces(body: Vec<u8>) -> Aside<Option<Vec<String>>> {
    let text = |body| String::from_utf8(body).ok().filter(|text| !text.is_empty());
    match body.len() > LARGE {
        true => aside(move || text(body).map(into_pieces)),
        false => Aside::done(text(body).map(|text| vec![text])),
    }
}

/// Each packet that is large alone, the others together: what is handled is not kept until all is.
fn into_pieces(mut text: String) -> Vec<String> {
    let (mut cuts, mut at, mut was_large) = (Vec::new(), 0, false);
    for packet in text.split(SEPARATOR as char) {
        let large = packet.len() > LARGE;
        if at > 0 && (large || was_large) {
            cuts.push(at);
        }
        at += packet.len() + 1;
        was_large = large;
    }
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    for cut in cuts.into_iter().rev() {
        pieces.push(text.split_off(cut));
        // What separated them.
        text.pop();
    }
    text.shrink_to_fit();
    pieces.push(text);
    pieces
}

/// Whether a piece is one large packet.
fn is_large(piece: &str) -> bool {
    piece.len() > LARGE && memchr::memchr(SEPARATOR, piece.as_bytes()).is_none()
}

/// Reads base64 as encoders write it: in lines (RFC 2045), or without the padding (RFC 4648, 3.2), too.
fn unpack(encoded: &str) -> Option<Vec<u8>> {
    let is_break = |byte: u8| matches!(byte, b'\r' | b'\n' | b'\t' | b' ');
    let mut bytes = Cow::Borrowed(encoded.as_bytes());
    if bytes.iter().any(|byte| is_break(*byte)) {
        bytes.to_mut().retain(|byte| !is_break(*byte));
    }
    let decoded = match bytes.len() % 4 {
        0 => BASE64.decode(&bytes),
        _ => BASE64_NOPAD.decode(&bytes),
    };
    decoded.ok()
}

/// A body that is being read or handled.
struct Held<'a>(&'a Rc<Session>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.hold_input(0);
    }
}

/// A request of a session that no second one of its kind may stand beside. Ends when dropped.
struct Turn {
    session: Rc<Session>,
    taken: fn(&Session) -> &Cell<bool>,
}

impl Turn {
    /// `None` while another one stands.
    fn take(session: &Rc<Session>, taken: fn(&Session) -> &Cell<bool>) -> Option<Self> {
        let session = session.clone();
        (!taken(&session).replace(true)).then(|| Self { session, taken })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        (self.taken)(&self.session).set(false);
        if self.session.engine().is_going.get() {
            self.session.mark_dirty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_packet_is_a_piece_of_its_own() {
        let (large, half) = ("x".repeat(LARGE + 1), "y".repeat(LARGE / 2 + 1));
        for packets in [
            vec!["a"],
            vec![&*large],
            vec![&*half, &*half, &*half],
            vec!["a", "b", &*large, &*large, "c", "", &*large],
            vec![&*large, ""],
            vec!["", &*large, &*half, "", ""],
        ] {
            let mut pieces = into_pieces(packets.join("\x1e"));
            pieces.reverse();
            assert_eq!(pieces.join("\x1e"), packets.join("\x1e"));
            for piece in &pieces {
                let large = piece.split('\x1e').any(|packet| packet.len() > LARGE);
                assert_eq!(is_large(piece), large);
            }
        }
    }

    #[test]
    fn base64_is_read_as_encoders_write_it() {
        let long = BASE64.encode(&[7; 100]);
        let lines = |end: &str| {
            long.as_bytes().chunks(76).fold(String::new(), |all, line| {
                all + std::str::from_utf8(line).unwrap() + end
            })
        };
        for text in [long.clone(), lines("\n"), lines("\r\n"), lines(" ")] {
            assert_eq!(unpack(&text), Some(vec![7; 100]), "{text:?}");
        }
        let short = ["AQ==", "AQ", " AQ == ", "\nAQ=\n=\n"];
        assert!(short.iter().all(|text| unpack(text) == Some(vec![1])));
        assert_eq!(unpack(""), Some(Vec::new()));
        for wrong in ["!", "A", "AQ=", "A-_A", "=AQ="] {
            assert_eq!(unpack(wrong), None, "{wrong}");
        }
    }
}

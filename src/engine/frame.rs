//! Packets to frames: the websocket form, made once, and the polling form, made from it when a poller needs it.

use crate::outbox::{self, Frame};
use data_encoding::BASE64;
use futures_lite::future::yield_now;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
/// A text message that another frame ends (RFC 6455, 5.4), and that other frame.
const BEGINS: u8 = 0x01;
const ENDS: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8A;

/// The close codes of who is done, and of who goes away: a page that is closed, a server that goes down (RFC 6455, 7.4.1).
pub const NORMAL: u16 = 1000;
pub const GOES_AWAY: u16 = 1001;

/// Between two packets of a payload (Engine.IO protocol, "HTTP long-polling").
pub const SEPARATOR: u8 = 0x1e;

/// A text packet, joined from `parts` (the type digit first), followed by binary messages.
pub fn packet(parts: &[&str], attachments: &[Vec<u8>]) -> Frame {
    let length = parts.iter().map(|p| p.len()).sum();
    let binary: usize = attachments.iter().map(|a| a.len() + 10).sum();
    outbox::frame(length + binary + 10, |bytes| {
        header(bytes, TEXT, length);
        // Many of them are empty.
        for part in parts.iter().filter(|part| !part.is_empty()) {
            bytes.extend_from_slice(part.as_bytes());
        }
        for attachment in attachments {
            header(bytes, BINARY, attachment.len());
            bytes.extend_from_slice(attachment);
        }
    })
}

/// A text packet, joined from `parts`, made beside our thread.
pub fn text(parts: &[&str]) -> Vec<u8> {
    joined(TEXT, parts)
}

/// The beginning of a text packet: several may have it in common. What ends it follows at once.
pub fn beginning(parts: &[&str]) -> Vec<u8> {
    joined(BEGINS, parts)
}

/// The end of a text packet.
pub fn ending(parts: &[&str]) -> Vec<u8> {
    joined(ENDS, parts)
}

/// Whether this frame ends what the one before it began.
pub fn is_ending(frame: &[u8]) -> bool {
    frame.first() == Some(&ENDS)
}

fn joined(kind: u8, parts: &[&str]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length + 10);
    header(&mut bytes, kind, length);
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// A binary message on its own.
pub fn binary(data: &[u8]) -> Frame {
    whole(BINARY, data)
}

/// A websocket close frame with its code and a reason of at most 123 bytes (RFC 6455, 7.4.1). No Engine.IO packet: pollers
/// don't see it.
pub fn close(code: u16, reason: &str) -> Frame {
    debug_assert!(reason.len() <= 123);
    whole(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A websocket pong to a websocket ping. No Engine.IO packet: pollers don't see it.
pub fn pong(data: &[u8]) -> Frame {
    whole(PONG, data)
}

/// One websocket frame.
fn whole(kind: u8, data: &[u8]) -> Frame {
    outbox::frame(data.len() + 10, |bytes| {
        header(bytes, kind, data.len());
        bytes.extend_from_slice(data);
    })
}

/// Bytes of a payload that are written before the others have their turn; a multiple of three, as base64 wants them.
const PIECE: usize = 768 << 10;

/// The packets of frames as a polling payload, binary ones as `b` and base64.
pub async fn to_payload(frames: &[Frame]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(frames.iter().map(|frame| frame.len()).sum());
    let mut written = 0;
    for frame in frames {
        let mut rest = &frame[..];
        while let Some((kind, body, after)) = split(rest) {
            rest = after;
            if !matches!(kind, TEXT | BINARY | BEGINS | ENDS) {
                continue;
            }
            if !payload.is_empty() && kind != ENDS {
                payload.push(SEPARATOR);
            }
            if kind == BINARY {
                payload.push(b'b');
            }
            for piece in body.chunks(PIECE) {
                if kind != BINARY {
                    payload.extend_from_slice(piece);
                } else {
                    payload.extend_from_slice(BASE64.encode(piece).as_bytes());
                }
                written += piece.len();
                if written >= PIECE {
                    written = 0;
                    yield_now().await;
                }
            }
        }
    }
    payload
}

/// The same of a frame, at once.
#[cfg(test)]
pub fn as_payload(frame: &[u8]) -> Vec<u8> {
    futures_lite::future::block_on(to_payload(&[frame.to_vec().into()]))
}

/// Whether there is something for a poller in a frame.
pub fn has_packets(frame: &[u8]) -> bool {
    let mut found = false;
    each(frame, |_, _| found = true);
    found
}

/// How many packets a frame holds: none if it ends one.
pub fn packets(frame: &[u8]) -> u64 {
    let mut rest = frame;
    let mut count = 0;
    while let Some((kind, _, after)) = split(rest) {
        rest = after;
        count += u64::from(kind != ENDS);
    }
    count
}

/// The texts (`true`), of which it may be the beginning, and binary messages of a frame.
pub fn each(frame: &[u8], mut one: impl FnMut(bool, &[u8])) {
    let mut rest = frame;
    while let Some((kind, body, after)) = split(rest) {
        rest = after;
        if matches!(kind, TEXT | BINARY | BEGINS) {
            one(kind != BINARY, body);
        }
    }
}

/// Whether these bytes are a frame of ours: whole packets, their texts in UTF-8.
pub fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((kind, body, after)) = split(rest) {
        let good = kind == BINARY || kind == TEXT && std::str::from_utf8(body).is_ok();
        if !good || after.is_empty() {
            return good;
        }
        rest = after;
    }
    false
}

/// Where the text ends that a frame begins with.
pub fn text_end(bytes: &[u8]) -> Option<usize> {
    let (kind, _, after) = split(bytes)?;
    (kind == TEXT).then_some(bytes.len() - after.len())
}

/// Unmasked header of a frame (RFC 6455, 5.2).
fn header(bytes: &mut Vec<u8>, kind: u8, length: usize) {
    bytes.push(kind);
    match length {
        0..=125 => bytes.push(length as u8),
        126..=0xffff => {
            bytes.push(126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// The first of our own frames: its kind, its body and what follows.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = length(short, rest)?;
    let (body, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((kind, body, after))
}

/// The length of a frame's body, from a header's second byte without the highest bit, and what follows it (RFC 6455, 5.2).
pub fn length(short: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    match short {
        126 => {
            let (long, rest) = rest.split_first_chunk::<2>()?;
            Some((u16::from_be_bytes(*long).into(), rest))
        }
        127 => {
            let (long, rest) = rest.split_first_chunk::<8>()?;
            Some((u64::from_be_bytes(*long), rest))
        }
        short => Some((short.into(), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(frames: &[Frame]) -> Vec<u8> {
        futures_lite::future::block_on(to_payload(frames))
    }

    #[test]
    fn headers_grow_with_the_length() {
        assert_eq!(&packet(&["4", "hi"], &[])[..], b"\x81\x034hi");
        assert_eq!(
            &packet(&["4", &"x".repeat(199)], &[])[..4],
            &[0x81, 126, 0, 200]
        );
        let long = packet(&["4", &"x".repeat(65_535)], &[]);
        assert_eq!(&long[..10], &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn the_polling_form_follows_from_the_websocket_form() {
        let frames = [
            packet(&["4", "hello"], &[vec![1, 2, 3, 4]]),
            packet(&["2"], &[]),
        ];
        assert_eq!(payload(&frames), b"4hello\x1ebAQIDBA==\x1e2");
        assert_eq!(packets(&frames[0]), 2);
        for size in [0, 125, 126, 127, 65_535, 65_536, PIECE, 3 * PIECE + 1] {
            let text = "x".repeat(size);
            let bytes = vec![7; size];
            let frame = packet(&["4", &text], std::slice::from_ref(&bytes));
            assert_eq!(
                payload(&[frame]),
                format!("4{text}\x1eb{}", BASE64.encode(&bytes)).as_bytes()
            );
        }
    }

    #[test]
    fn a_packet_in_two_frames_is_one_packet() {
        let begins = Frame::from(beginning(&["42[", "1"]));
        let ends = Frame::from(ending(&[",2]"]));
        assert_eq!(
            (&begins[..], &ends[..]),
            (&b"\x01\x0442[1"[..], &b"\x80\x03,2]"[..])
        );
        assert!(is_ending(&ends) && !is_ending(&begins));
        assert_eq!((packets(&begins), packets(&ends)), (1, 0));
        let pong = pong(b"x");
        let other = packet(&["6"], &[]);
        let frames = [other.clone(), begins, pong, ends, other];
        assert_eq!(payload(&frames), b"6\x1e42[1,2]\x1e6");
    }

    #[test]
    fn control_frames_are_for_websockets_only() {
        assert_eq!(
            payload(&[close(1000, "bye"), packet(&["6"], &[]), pong(b"x")]),
            b"6"
        );
    }
}

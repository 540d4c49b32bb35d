//! Lines about Engine.IO packets, when `WEBSOCKET_SERVER_ENGINEIO_LOGGING` asks for them: kind and size, never what is in them.

use super::{Sid, frame};
use crate::log::ENGINEIO;
use log::Level::Debug;

const KINDS: [&str; 7] = [
    "open", "close", "ping", "pong", "message", "upgrade", "noop",
];

/// A packet of a client came, or was sent to it.
pub fn packet(sid: &Sid, way: &str, packet: &[u8]) {
    if log::log_enabled!(target: ENGINEIO, Debug) {
        let digit = packet
            .first()
            .map_or(usize::MAX, |byte| byte.wrapping_sub(b'0').into());
        let kind = KINDS.get(digit).unwrap_or(&"unknown");
        let bytes = packet.len();
        log::debug!(target: ENGINEIO, "Engine.IO {sid} {way} {kind}, {bytes} bytes");
    }
}

/// A binary message of a client came, or was sent to it.
pub fn binary(sid: &Sid, way: &str, bytes: usize) {
    log::debug!(target: ENGINEIO, "Engine.IO {sid} {way} binary message, {bytes} bytes");
}

/// A frame is to be sent.
pub fn sent(sid: &Sid, sent: &[u8]) {
    if log::log_enabled!(target: ENGINEIO, Debug) {
        frame::each(sent, |text, body| match text {
            true => packet(sid, "sent", body),
            false => binary(sid, "sent", body.len()),
        });
    }
}

//! Lines about Socket.IO packets, when `WEBSOCKET_SERVER_LOGGING` asks for them: kind, event and size, never what is in them.

use super::packet::{Kind, Packet};
use super::{Args, Sid, Target, To};
use crate::log::SOCKETIO;
use log::Level::Debug;
use std::fmt::{self, Display, Formatter};

/// Characters of a name that somebody else chose.
const MOST: usize = 64;

/// A namespace, as a client wrote it: bounded, and on one line.
struct Named<'a>(&'a str);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.char_indices();
        let cut = rest.nth(MOST).map_or(self.0, |(end, _)| &self.0[..end]);
        write!(f, "{}", cut.escape_debug())?;
        f.write_str(if cut.len() < self.0.len() { "…" } else { "" })
    }
}

/// A packet of a client came.
pub fn received(from: &dyn Display, packet: &Packet<'_>) {
    if !log::log_enabled!(target: SOCKETIO, Debug) {
        return;
    }
    let (nsp, bytes) = (Named(packet.nsp), packet.data.len());
    let id = packet.id.map_or_else(String::new, |id| format!(" {id}"));
    let what = match packet.kind {
        Kind::Connect => "CONNECT".to_owned(),
        Kind::Disconnect => "DISCONNECT".to_owned(),
        Kind::Ack => format!("ACK{id}"),
        Kind::Event => match Packet::event(packet.data) {
            Ok((name, _)) => format!("EVENT{id} \"{}\"", Named(&name)),
            Err(_) => "EVENT".to_owned(),
        },
    };
    let attached = attached(packet.attachments);
    log::debug!(target: SOCKETIO, "Socket.IO {from} received {what} in {nsp}, {bytes} bytes{attached}");
}

/// A large packet of a client was read.
pub fn received_large(from: Sid, event: &str, bytes: usize) {
    log::debug!(target: SOCKETIO, "Socket.IO {from} received {event:?}, {bytes} bytes");
}

/// An event is sent to so many sockets.
pub fn emitted(target: &Target<'_>, event: &str, args: &Args<'_>, sockets: usize) {
    encoded(
        target,
        event,
        args.json().len(),
        args.attachments().len(),
        sockets,
    );
}

/// The same by its bytes and the number of its attachments.
pub fn encoded(target: &Target<'_>, event: &str, bytes: usize, attached: usize, sockets: usize) {
    if log::log_enabled!(target: SOCKETIO, Debug) {
        let to = match target.to {
            To::All => "all".to_owned(),
            To::Room(room) => format!("{room:?}"),
            To::Rooms(rooms) => format!("{rooms:?}"),
            To::Sid(sid) => sid.to_string(),
        };
        let (nsp, attached) = (Named(target.nsp), self::attached(attached));
        log::debug!(target: SOCKETIO, "Socket.IO sent EVENT {event:?} to {to} in {nsp}: {sockets} sockets, {bytes} bytes{attached}");
    }
}

/// Another packet is sent to one socket.
pub fn sent(sid: Sid, nsp: &str, what: &str, bytes: usize) {
    let nsp = Named(nsp);
    log::debug!(target: SOCKETIO, "Socket.IO {sid} sent {what} in {nsp}, {bytes} bytes");
}

fn attached(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" and {count} attachments"),
    }
}

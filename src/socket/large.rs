//! Large packets: each of their bytes is looked at beside our thread, while the client waits.

use super::packet::{Kind, Malformed, Packet, check_placeholders, is_too_deep};
use super::partial::Partial;
use super::{Args, Event, Hub, Sid, trace};
use crate::engine::{Session, Step};
use crate::ground::tasks::aside;
use std::rc::Rc;

/// What came before the data.
struct Head {
    kind: Kind,
    sid: Sid,
    nsp: String,
    id: Option<u64>,
}

/// An event's name, or none for an ack, and the arguments.
type Read = (String, String);

impl Hub {
    /// A packet that begins at this byte of a text.
    pub(super) fn large_text(
        &self,
        session: &Rc<Session>,
        text: String,
        start: usize,
    ) -> Result<Step, Malformed> {
        let packet = Packet::decode(text.get(start..).unwrap_or_default())?;
        let missing = packet.attachments;
        if missing == 0 {
            return self.large(session, text, start, Vec::new());
        }
        let partial = Partial {
            packet: text,
            start,
            missing,
            attachments: Vec::new(),
        };
        self.begin_partial(session, partial)?;
        Ok(None)
    }

    /// A packet with all its attachments.
    pub(super) fn large(
        &self,
        session: &Rc<Session>,
        text: String,
        start: usize,
        attachments: Vec<Vec<u8>>,
    ) -> Result<Step, Malformed> {
        let packet = Packet::decode(text.get(start..).unwrap_or_default())?;
        if !matches!(packet.kind, Kind::Event | Kind::Ack) {
            return Err(Malformed("CONNECT data"));
        }
        let sid = self.sid_of(session, packet.nsp);
        let head = Head {
            kind: packet.kind,
            sid: sid.ok_or(Malformed("a namespace without CONNECT"))?,
            nsp: packet.nsp.to_owned(),
            id: packet.id,
        };
        let data = text.len() - packet.data.len();
        let attached: usize = attachments.iter().map(Vec::len).sum();
        self.pay(session, sid, packet.data.len() + attached);
        let (hub, session) = (self.me(), session.clone());
        Ok(Some(Box::pin(async move {
            let (kind, placeholders) = (head.kind, attachments.len());
            let read = aside(move || read(kind, text, data, placeholders)).await;
            let Some(hub) = hub.upgrade().filter(|_| session.ended().is_none()) else {
                return;
            };
            match read {
                Ok(Some(read)) => hub.large_read(head, read, attachments).await,
                Ok(None) => hub.handler().too_deep(head.sid),
                Err(Malformed(what)) => session.breach(what),
            }
        })))
    }

    async fn large_read(&self, head: Head, (name, args): Read, attachments: Vec<Vec<u8>>) {
        trace::received_large(head.sid, &name, args.len());
        let args = Args::from_json(args).with_attachments(attachments);
        if head.kind == Kind::Ack {
            return self.acked(head.sid, head.id, args);
        }
        let step = self.handler().event(Event {
            sid: head.sid,
            nsp: &head.nsp,
            name: name.into(),
            args,
            ack: head.id,
        });
        if let Some(step) = step {
            step.await;
        }
    }
}

/// Looks at the data of a text, which begins at this byte; `None` when it nests too deep.
fn read(
    kind: Kind,
    mut text: String,
    data: usize,
    placeholders: usize,
) -> Result<Option<Read>, Malformed> {
    let inside = text.get(data..).unwrap_or_default();
    check_placeholders(inside, placeholders)?;
    if is_too_deep(inside) {
        return Ok(None);
    }
    let (name, args) = match kind {
        Kind::Ack => (String::new(), Packet::ack(inside)?),
        _ => {
            let (name, args) = Packet::event(inside)?;
            (name.into_owned(), args)
        }
    };
    let start = args.as_ptr().addr() - text.as_ptr().addr();
    let end = start + args.len();
    text.truncate(end);
    text.drain(..start);
    Ok(Some((name, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_a_small_one() {
        let read = |kind, text: &str, data| read(kind, text.to_owned(), data, 0);
        let event = read(Kind::Event, "42[\"na\\u006de\", {\"a\":1} , 2 ]", 2);
        assert_eq!(event, Ok(Some(("name".into(), "{\"a\":1} , 2".into()))));
        let none = read(Kind::Event, "42[\"x\"]", 2);
        assert_eq!(none, Ok(Some(("x".into(), String::new()))));
        let ack = read(Kind::Ack, "437[1]", 3);
        assert_eq!(ack, Ok(Some((String::new(), "1".into()))));
        let deep = "[".repeat(600) + &"]".repeat(600);
        assert_eq!(read(Kind::Event, &deep, 0), Ok(None));
        for wrong in ["[\"x\"", "{}", "[1", "[\"x\",]", "[\"disconnect\"]"] {
            assert!(read(Kind::Event, wrong, 0).is_err(), "{wrong}");
        }
        let placeholders = super::read(Kind::Event, "[\"x\"]".into(), 0, 1);
        assert!(placeholders.is_err());
    }
}

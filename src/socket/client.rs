//! One client: the packets of an Engine.IO session, taken apart and given to the namespaces' sockets.

use super::packet::{Kind, Malformed, Packet, check_placeholders, is_too_deep};
use super::partial::{Client, Partial};
use super::recovery::place::Place;
use super::{Args, Event, Hub, Reason, Sid, encode, trace};
use crate::engine::frame::GOES_AWAY;
use crate::engine::{self, Closed, Message, Session, Step};
use crate::ground::json::is_json;
use crate::ground::tasks::LARGE;
use std::borrow::Cow;
use std::rc::Rc;

/// Namespaces of one client at most.
const MAX_NAMESPACES: usize = 16;

impl engine::Handler for Hub {
    fn opened(&self, session: &Rc<Session>) {
        self.state
            .borrow_mut()
            .clients
            .insert(session.sid, Client::default());
    }

    fn message(&self, session: &Rc<Session>, message: Message<'_>) -> Step {
        let result = match message {
            Message::Text(text) => self.text(session, text),
            Message::Binary(data) => self.attachment(session, data.to_vec()),
            Message::LargeText(text, start) => self.large_text(session, text, start),
            Message::LargeBinary(data) => self.attachment(session, data),
        };
        result.unwrap_or_else(|Malformed(what)| {
            session.breach(what);
            None
        })
    }

    fn closed(&self, session: &Rc<Session>, why: Closed) {
        let sids: Vec<Sid> = {
            let mut state = self.state.borrow_mut();
            let client = state.clients.remove(&session.sid).unwrap_or_default();
            let sockets = client.sockets.iter();
            sockets
                .map(|key| state.sockets[*key as usize].sid)
                .collect()
        };
        // Who closes its page answers nothing more, though the page may be shown again.
        let answers = !matches!(why, Closed::ByClient(GOES_AWAY) | Closed::Shutdown);
        let lost = self.was_lost(why);
        for sid in sids {
            if !answers {
                self.end_questions(sid);
            }
            self.remove(sid, Reason::Ended(why), lost);
        }
    }

    fn slowed(&self, session: &Rc<Session>) {
        if let Some(sid) = self.sid_of(session, "/") {
            self.handler().slowed(sid);
        }
    }

    fn in_use(&self, session: &Rc<Session>) -> bool {
        self.state
            .borrow()
            .clients
            .get(&session.sid)
            .is_some_and(|c| !c.sockets.is_empty())
    }
}

impl Hub {
    fn text(&self, session: &Rc<Session>, text: &str) -> Result<Step, Malformed> {
        let packet = Packet::decode(text)?;
        let (sid, is_whole) = {
            let state = self.state.borrow();
            let client = state.clients.get(&session.sid);
            let client = client.ok_or(Malformed("closed"))?;
            (
                state.socket_of(client, packet.nsp),
                client.partial.is_none(),
            )
        };
        if packet.attachments == 0 && is_whole {
            return self.packet(session, sid, &packet, Vec::new());
        }
        check_placeholders(packet.data, packet.attachments)?;
        let partial = Partial {
            packet: text.to_owned(),
            start: 0,
            missing: packet.attachments,
            attachments: Vec::new(),
        };
        self.begin_partial(session, partial)?;
        Ok(None)
    }

    /// A packet whose attachments follow; none may be unfinished.
    pub(super) fn begin_partial(
        &self,
        session: &Session,
        partial: Partial,
    ) -> Result<(), Malformed> {
        let mut state = self.state.borrow_mut();
        let client = state.clients.get_mut(&session.sid);
        let place = &mut client.ok_or(Malformed("closed"))?.partial;
        match place {
            Some(_) => Err(Malformed("text instead of an attachment")),
            None => {
                session.set_gathered(partial.bytes());
                *place = Some(Box::new(partial));
                Ok(())
            }
        }
    }

    fn attachment(&self, session: &Rc<Session>, data: Vec<u8>) -> Result<Step, Malformed> {
        let mut state = self.state.borrow_mut();
        let client = state
            .clients
            .get_mut(&session.sid)
            .ok_or(Malformed("closed"))?;
        let partial = client
            .partial
            .as_mut()
            .ok_or(Malformed("an attachment of nothing"))?;
        if partial.bytes() + data.len() > session.max_message() {
            return Err(Malformed("attachments"));
        }
        partial.attachments.push(data);
        partial.missing -= 1;
        if partial.missing > 0 {
            session.set_gathered(partial.bytes());
            return Ok(None);
        }
        session.set_gathered(0);
        let Some(whole) = client.partial.take() else {
            return Ok(None);
        };
        drop(state);
        if whole.packet.len() > LARGE {
            return self.large(session, whole.packet, whole.start, whole.attachments);
        }
        let packet = Packet::decode(&whole.packet)?;
        let sid = self.sid_of(session, packet.nsp);
        self.packet(session, sid, &packet, whole.attachments)
    }

    fn packet(
        &self,
        session: &Rc<Session>,
        sid: Option<Sid>,
        packet: &Packet<'_>,
        attachments: Vec<Vec<u8>>,
    ) -> Result<Step, Malformed> {
        trace::received(&sid.unwrap_or(session.sid), packet);
        let attached: usize = attachments.iter().map(Vec::len).sum();
        self.pay(session, sid, packet.data.len() + attached);
        match (packet.kind, sid) {
            (Kind::Connect, None) => self.connect(session, packet),
            (Kind::Disconnect, sid) => {
                sid.into_iter()
                    .for_each(|sid| self.remove(sid, Reason::ClientDisconnect, false));
                Ok(None)
            }
            (Kind::Event | Kind::Ack, Some(sid)) if is_too_deep(packet.data) => {
                self.handler().too_deep(sid);
                Ok(None)
            }
            (Kind::Event, Some(sid)) => {
                let (name, args) = Packet::event(packet.data)?;
                let args = Args::from_json(args).with_attachments(attachments);
                Ok(self.handler().event(Event {
                    sid,
                    nsp: packet.nsp,
                    name,
                    args,
                    ack: packet.id,
                }))
            }
            (Kind::Ack, Some(sid)) => {
                let args = Args::from_json(Packet::ack(packet.data)?).with_attachments(attachments);
                self.acked(sid, packet.id, args);
                Ok(None)
            }
            (Kind::Connect, Some(_)) => Err(Malformed("second CONNECT")),
            // Written before the client knew that its connection was lost: a question is asked again.
            (Kind::Ack, None) => Ok(None),
            (Kind::Event, None) => Err(Malformed("a namespace without CONNECT")),
        }
    }

    /// Charges a socket's user for a packet.
    pub(super) fn pay(&self, session: &Rc<Session>, sid: Option<Sid>, bytes: usize) {
        if let Some(pause) = sid.and_then(|sid| self.handler().pay(sid, bytes)) {
            session.slow(pause);
        }
    }

    pub(super) fn acked(&self, sid: Sid, id: Option<u64>, args: Args<'_>) {
        if let Some(done) = id.and_then(|id| self.take_ack(sid, id)) {
            done(Some(args.into_owned()));
        }
    }

    fn connect(&self, session: &Rc<Session>, packet: &Packet<'_>) -> Result<Step, Malformed> {
        let object = packet.data.trim_start().starts_with('{') && is_json(packet.data);
        if !object && !packet.data.is_empty() {
            return Err(Malformed("CONNECT data"));
        }
        let auth = Args::from_json(packet.data);
        let place = match packet.nsp {
            "/" => match self.comes(session, &auth) {
                Ok(step) => return Ok(step),
                Err(place) => place,
            },
            _ => None,
        };
        Ok(self.welcome(session, packet.nsp, auth, place))
    }

    /// A new socket for a client.
    pub(super) fn welcome(
        &self,
        session: &Rc<Session>,
        nsp: &str,
        auth: Args<'_>,
        place: Option<Box<Place>>,
    ) -> Step {
        let sid = Sid::random();
        let crowded = self
            .state
            .borrow()
            .clients
            .get(&session.sid)
            .is_some_and(|c| c.sockets.len() >= MAX_NAMESPACES);
        let verdict = match crowded {
            true => Err(Cow::Borrowed("Too many namespaces")),
            false => self.handler().connect(sid, nsp, &auth),
        };
        if let Err(why) = verdict {
            trace::sent(session.sid, nsp, "CONNECT_ERROR", why.len());
            session.send(&encode::connect_error(nsp, &why));
            return None;
        }
        let pid = place.as_ref().map(|place| place.pid(sid));
        self.add(sid, nsp, session, place);
        trace::sent(sid, nsp, "CONNECT", 0);
        session.send(&encode::connect(nsp, sid.as_str(), pid.as_deref()));
        self.handler().connected(sid, nsp, auth)
    }

    pub(super) fn sid_of(&self, session: &Session, nsp: &str) -> Option<Sid> {
        let state = self.state.borrow();
        state.socket_of(state.clients.get(&session.sid)?, nsp)
    }
}

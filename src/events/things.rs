//! What a client's events are about while they wait: events about one thing stay in order, and a wait for one thing holds up no
//! other.

use super::payload::{DocumentId, Id};
use crate::app::documents::Document;
use crate::app::streams;
use crate::directory::type_of;
use crate::ground::rooms;
use crate::ground::tasks::{Bell, LARGE};
use crate::metrics;
use crate::socket::{Args, Sid};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Events of one socket that may wait beside others.
const MOST: usize = 8;

/// Whatever it is: what a large event is about takes long to tell.
const ANY: &str = "";

/// Where what is unknown here goes: no room's name.
const RELAY: &str = "\0";

/// A chat, a channel, a note or a document, by its room, or the relay.
pub type Thing = String;

/// The things that sockets' events wait for.
#[derive(Default)]
pub struct Things {
    busy: RefCell<HashMap<Sid, Vec<Thing>>>,
    /// Rung when one is free.
    freed: Bell,
}

/// While it is there, its socket's events about the same thing wait.
pub struct Busy {
    things: Rc<Things>,
    sid: Sid,
    thing: Thing,
}

/// What an event is about, if it is one that may wait; `None`: everything, or nothing in particular.
pub fn of(name: &str, args: &Args<'_>) -> Option<Thing> {
    #[derive(Deserialize)]
    struct Chat {
        chat_id: Id,
    }
    #[derive(Deserialize)]
    struct Channel {
        channel_id: Id,
    }
    #[derive(Deserialize)]
    struct Note {
        note_id: Id,
    }
    #[derive(Deserialize)]
    struct Named {
        document_id: DocumentId,
    }
    match name {
        "events:chat" => args
            .object()
            .map(|Chat { chat_id }| rooms::of_chat(&chat_id)),
        "events:channel" => args
            .object()
            .map(|Channel { channel_id }| rooms::of_channel(&channel_id)),
        "join-note" => args
            .object()
            .map(|Note { note_id }| rooms::of_note(&note_id)),
        name if name.starts_with("ydoc:") && metrics::event_name(name) != "other" => args
            .object()
            .map(|Named { document_id }| Document::new(&document_id).room),
        _ => of_large(name),
    }
}

/// What a large event is about, as far as its name tells.
pub fn of_large(name: &str) -> Option<Thing> {
    // A stream has a way of its own, if it is not unknown as well.
    let unknown = metrics::event_name(name) == "other" && !streams::is_name(name);
    unknown.then(|| RELAY.into())
}

/// Whether an event leaves what it is about.
pub fn leaves(name: &str, args: &Args<'_>) -> bool {
    match name {
        "ydoc:document:leave" => true,
        "events:chat" if args.json().len() <= LARGE => type_of(args).as_deref() == Some("leave"),
        _ => false,
    }
}

/// Whether an event may wait beside others. Not a change of a document: whoever goes before it is stored would have closed the
/// document first.
pub fn may_wait(name: &str) -> bool {
    matches!(
        name,
        "events:chat"
            | "events:channel"
            | "join-note"
            | "ydoc:document:join"
            | "ydoc:document:state"
            | "ydoc:document:leave"
            | "other"
    )
}

impl Things {
    /// The thing that an event would have to wait for.
    pub fn waits_for(&self, sid: Sid, name: &str, args: &Args<'_>) -> Option<Thing> {
        // Mostly nobody waits for anything.
        if !self.busy.borrow().contains_key(&sid) {
            return None;
        }
        if args.json().len() > LARGE {
            let thing = of_large(name).unwrap_or_else(|| ANY.into());
            return Some(thing).filter(|thing| self.is_busy(sid, thing));
        }
        of(name, args).filter(|thing| self.is_busy(sid, thing))
    }

    /// An event waits from now on; `None` when as many do as may.
    pub fn begin(self: &Rc<Self>, sid: Sid, thing: Thing) -> Option<Busy> {
        let mut busy = self.busy.borrow_mut();
        let things = busy.entry(sid).or_default();
        let relayed = thing == RELAY;
        if things.len() >= MOST + usize::from(relayed) || relayed && things.contains(&thing) {
            return None;
        }
        things.push(thing.clone());
        Some(Busy {
            things: self.clone(),
            sid,
            thing,
        })
    }

    /// Waits until no event of the socket waits for the thing.
    pub fn free(&self, sid: Sid, thing: &str) -> impl Future<Output = ()> {
        let look = move || (!self.is_busy(sid, thing)).then_some(());
        self.freed.until(look)
    }

    fn is_busy(&self, sid: Sid, thing: &str) -> bool {
        let busy = self.busy.borrow();
        let things = busy.get(&sid);
        let is = |busy: &Thing| busy == thing || thing == ANY && busy != RELAY;
        things.is_some_and(|things| things.iter().any(is))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut busy = self.things.busy.borrow_mut();
        if let Some(things) = busy.get_mut(&self.sid) {
            if let Some(at) = things.iter().position(|thing| *thing == self.thing) {
                things.swap_remove(at);
            }
            if things.is_empty() {
                busy.remove(&self.sid);
            }
        }
        drop(busy);
        self.things.freed.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_about_one_thing() {
        let about = |name, json: &'static str| of(name, &Args::from_json(json));
        let chat = r#"{"chat_id":"c","data":{"type":"join"}}"#;
        assert_eq!(about("events:chat", chat), Some(rooms::of_chat("c")));
        let one = about("ydoc:document:join", r#"{"document_id":"note:x"}"#);
        let other = about("ydoc:document:update", r#"{"document_id":"note_x"}"#);
        assert!(one.is_some() && one == other);
        for (name, json) in [("usage", chat), ("events:chat", "{}"), ("user-join", "{}")] {
            assert_eq!(about(name, json), None, "{name}");
        }
    }

    #[test]
    fn what_is_about_a_busy_thing_waits_and_no_more_than_so_many() {
        let (things, sid) = (Rc::new(Things::default()), Sid::random());
        let join = Args::from_json(r#"{"chat_id":"c"}"#);
        let waits = |sid| things.waits_for(sid, "events:chat", &join);
        assert_eq!(waits(sid), None);
        let busy = things.begin(sid, rooms::of_chat("c")).unwrap();
        assert_eq!(waits(sid), Some(rooms::of_chat("c")));
        assert_eq!(
            (waits(Sid::random()), things.waits_for(sid, "usage", &join)),
            (None, None)
        );
        let more: Vec<_> = (1..MOST)
            .map(|n| things.begin(sid, n.to_string()))
            .collect();
        assert!(more.iter().all(Option::is_some) && things.begin(sid, "x".into()).is_none());
        drop(busy);
        assert_eq!(waits(sid), None);
        // What goes over the relay waits for the relay alone, and nothing else does.
        let relay = things.begin(sid, RELAY.into());
        assert!(relay.is_some() && things.begin(sid, RELAY.into()).is_none());
        let waits = |name, args: &Args<'_>| things.waits_for(sid, name, args);
        let large = Args::from_json(format!("\"{}\"", "x".repeat(LARGE)));
        for args in [&join, &large] {
            assert_eq!(waits("ydoc:new", args), Some(RELAY.into()));
        }
        assert_eq!(waits("ann:s:r", &join), None);
        assert_eq!(
            (waits("usage", &join), waits("events:chat", &join)),
            (None, None)
        );
        assert_eq!(waits("usage", &large), Some(ANY.into()));
        drop(more);
        assert_eq!(waits("usage", &large), None);
        drop(relay);
        assert!(things.busy.borrow().is_empty());
    }
}

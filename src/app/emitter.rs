//! A backend writes a message of a chat, event by event: each is emitted first, then saved (contract, Emitter).

use super::core::Core;
use crate::directory::{Identity, MessageEvent, NotAnEvent, Refusal, Saved, is_saved_chat};
use crate::ground::{json, rooms};
use crate::metrics;
use crate::socket::{Args, Target};
use log::Level;
use serde_json::json;
use serde_json::value::RawValue;
use std::cell::Cell;
use std::rc::Rc;

/// What a large event leaves behind of the buffer for payloads.
const RETAINED: usize = 8192;

/// A message of a chat that a backend is writing. Cheap to use for many events.
pub struct Emitter {
    core: &'static Core,
    /// `user:{id}`.
    room: String,
    /// The payload up to the event.
    head: String,
    /// The buffer for payloads, empty between two events.
    payload: Cell<String>,
    /// Where events are saved; `None` when they are not.
    place: Option<Place>,
    /// Whether a warning that not everything is saved is logged already.
    logged: Cell<bool>,
}

struct Place {
    chat_id: String,
    message_id: String,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Sockets of this instance that got it.
    pub reached: usize,
    /// An error: it was emitted, but could not be saved.
    pub saved: Result<Saved, Refusal>,
}

impl Emitter {
    /// An emitter for this message. With `save` events are persisted, if it is a message of a saved chat.
    pub fn new(
        core: &'static Core,
        user_id: &str,
        chat_id: &str,
        message_id: Option<&str>,
        save: bool,
    ) -> Self {
        let place = message_id
            .filter(|_| save && is_saved_chat(chat_id))
            .map(|message_id| Place {
                chat_id: chat_id.into(),
                message_id: message_id.into(),
            });
        Self {
            core,
            room: rooms::of_user(user_id),
            head: head(chat_id, message_id),
            payload: Cell::default(),
            place,
            logged: Cell::new(false),
        }
    }

    /// Emits `events` to the user's sessions, then saves the event as its type says. A failed save is logged and
    /// reported, and never withholds the event from the user.
    pub async fn emit(&self, event: &RawValue) -> Result<Emitted, NotAnEvent> {
        // Saved as text can be; who is connected gets it as it came, and may put halves of a character together.
        let mended = json::mend(event.get());
        let event = MessageEvent::read(event, &mended)?;
        let mut payload = self.payload.take();
        for part in [&*self.head, event.raw.get(), "}"] {
            payload.push_str(part);
        }
        let emitted = self.emit_payload(&event, &payload).await;
        payload.clear();
        payload.shrink_to(RETAINED);
        self.payload.set(payload);
        Ok(emitted)
    }

    async fn emit_payload(&self, event: &MessageEvent<'_>, payload: &str) -> Emitted {
        let args = Args::from_json(payload);
        let Some(place) = self.place.as_ref().filter(|_| event.is_saved()) else {
            let reached = self.send(&args);
            let saved = Ok(Saved::No);
            return Emitted { reached, saved };
        };
        let author = self.author();
        // Then Open WebUI emits what it saves, over the Redis that it shares with us; when it can't save, we emit.
        let emitted_by_directory = author.is_some() && self.core.directory.emits_saved_events();
        let mut reached = match emitted_by_directory {
            true => self.core.hub.members(&self.room).len(),
            false => self.send(&args),
        };
        let saved = self.save(place, author.as_deref(), event).await;
        if emitted_by_directory && saved != Ok(Saved::Yes) {
            reached = self.send(&args);
        }
        Emitted { reached, saved }
    }

    fn send(&self, args: &Args<'_>) -> usize {
        let target = Target::room(&self.room);
        self.core.peers.emit(&target, "events", args)
    }

    /// The user, as one of their sessions here signed in, for a directory that saves with their token.
    fn author(&self) -> Option<Rc<Identity>> {
        let core = self.core;
        if !core.directory.saves_as_user() {
            return None;
        }
        let members = core.hub.members(&self.room);
        members.iter().find_map(|sid| core.pools.sessions.who(*sid))
    }

    async fn save(
        &self,
        place: &Place,
        author: Option<&Identity>,
        event: &MessageEvent<'_>,
    ) -> Result<Saved, Refusal> {
        let Place {
            chat_id,
            message_id,
        } = place;
        let directory = &self.core.directory;
        let saved = directory
            .save_event(author, chat_id, message_id, event)
            .await;
        if let Err(refusal) = saved {
            metrics::refused("event save");
            // A directory that is away has logged it: one line for the outage, not one an event.
            let level = match refusal {
                Refusal::Denied(_) if !self.logged.replace(true) => Level::Warn,
                _ => Level::Debug,
            };
            log::log!(
                level,
                "an event of message {message_id:?} in chat {chat_id:?} was emitted but not saved: {refusal}"
            );
        }
        saved
    }
}

/// `{"chat_id":...,"message_id":...,"data":`, to be followed by the event and a brace.
pub fn head(chat_id: &str, message_id: Option<&str>) -> String {
    let (chat_id, message_id) = (json!(chat_id), json!(message_id));
    format!(r#"{{"chat_id":{chat_id},"message_id":{message_id},"data":"#)
}

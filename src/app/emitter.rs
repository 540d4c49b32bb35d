//! A backend streams into a chat: emit first, then persist by type (contract, Emitter).

use super::core::Core;
use crate::directory::open_webui::OpenWebui;
use crate::directory::{Directory, List, Refusal, is_saved_chat};
use crate::ground::{json, rooms};
use crate::metrics;
use crate::socket::{Args, Object, Target};
use log::Level;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

/// Types that leave a trace in the message.
const SAVED: [&str; 7] = [
    "status", "message", "replace", "embeds", "files", "source", "citation",
];

/// What a large event leaves behind of the buffer for payloads.
const KEPT: usize = 8192;

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
    /// Whether the log knows that not everything is saved.
    told: Cell<bool>,
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
    pub saved: Saved,
}

/// Whether an event left a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Its type isn't saved, or this emitter saves nothing.
    No,
    /// Taken by the directory; on disk after [`crate::directory::Directory::durable`].
    Yes,
    /// There is no such message to save it to.
    NoMessage,
    /// It was emitted, but could not be saved.
    Failed(Refusal),
}

/// Not an object with a text `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEvent;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(borrow, default)]
    embeds: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    files: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
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
            told: Cell::new(false),
        }
    }

    /// Emits `events` to the user's sessions, then saves the event as its type says. A failed save is logged and told,
    /// and never keeps the event from the user.
    pub async fn emit(&self, event: &RawValue) -> Result<Emitted, NotAnEvent> {
        // Saved as text can be; who is connected gets it as it came, and may put halves of a character together.
        let mended = json::mend(event.get());
        let Object(parsed): Object<Event<'_>> =
            serde_json::from_str(&mended).map_err(|_| NotAnEvent)?;
        let mut payload = self.payload.take();
        for part in [&*self.head, event.get(), "}"] {
            payload.push_str(part);
        }
        let emitted = self.emit_payload(event, &parsed, &payload).await;
        payload.clear();
        payload.shrink_to(KEPT);
        self.payload.set(payload);
        Ok(emitted)
    }

    async fn emit_payload(&self, event: &RawValue, parsed: &Event<'_>, payload: &str) -> Emitted {
        let args = Args::from_json(payload);
        if let (Directory::OpenWebui(webui), Some(place)) = (&self.core.directory, &self.place)
            && SAVED.contains(&&*parsed.r#type)
        {
            return self.through(webui, place, event, &args).await;
        }
        let reached = self.send(&args);
        let saved = match &self.place {
            Some(place) => self.save(place, parsed).await,
            None => Saved::No,
        };
        Emitted { reached, saved }
    }

    fn send(&self, args: &Args<'_>) -> usize {
        let target = Target::room(&self.room);
        self.core.peers.emit(&target, "events", args)
    }

    /// Open WebUI saves as its own emitter does, in the name of the user, whose token one of their sessions brought.
    /// Over a shared Redis it is it who emits; when it can't, we do.
    async fn through(
        &self,
        webui: &Rc<OpenWebui>,
        place: &Place,
        event: &RawValue,
        args: &Args<'_>,
    ) -> Emitted {
        let core = self.core;
        let members = core.hub.members(&self.room);
        let who = members.iter().find_map(|sid| core.pools.sessions.who(*sid));
        let by_us = who.is_none() || !webui.shares_redis();
        let mut reached = if by_us {
            self.send(args)
        } else {
            members.len()
        };
        let saved = match who {
            Some(who) => {
                let Place {
                    chat_id,
                    message_id,
                } = place;
                match webui.save_event(&who, chat_id, message_id, event).await {
                    Ok(true) => Saved::Yes,
                    Ok(false) => Saved::NoMessage,
                    Err(refusal) => Saved::Failed(refusal),
                }
            }
            None => Saved::Failed(Refusal::Denied(
                "the user has no session here to save it with",
            )),
        };
        if saved != Saved::Yes {
            metrics::refused("event save");
            if !by_us {
                reached = self.send(args);
            }
        }
        Emitted { reached, saved }
    }

    async fn save(&self, place: &Place, event: &Event<'_>) -> Saved {
        match self.persist(place, event).await {
            Ok(saved) => saved,
            Err(refusal) => {
                metrics::refused("event save");
                let Place {
                    chat_id,
                    message_id,
                } = place;
                // What is away has said so in the log: one line for the outage, not one an event.
                let level = match refusal {
                    Refusal::Denied(_) if !self.told.replace(true) => Level::Warn,
                    _ => Level::Debug,
                };
                log::log!(
                    level,
                    "an event of message {message_id:?} in chat {chat_id:?} was emitted but not saved: {refusal}"
                );
                Saved::Failed(refusal)
            }
        }
    }

    /// By type; data of another shape than the type's leaves no trace.
    async fn persist(&self, place: &Place, event: &Event<'_>) -> Result<Saved, Refusal> {
        let (chat, message) = (&*place.chat_id, &*place.message_id);
        let directory = &self.core.directory;
        let data = event.data.map_or("{}", RawValue::get);
        let saved = match &*event.r#type {
            "status" => match event.data {
                Some(data) => directory.append_status(chat, message, data).await?,
                None => return Ok(Saved::No),
            },
            "message" => match serde_json::from_str(data) {
                Ok(Object(Content { content })) => {
                    directory.append_content(chat, message, &content).await?
                }
                Err(_) => return Ok(Saved::No),
            },
            "replace" => match serde_json::from_str(data) {
                Ok(Object(Content { content })) => {
                    directory.replace_content(chat, message, &content).await?
                }
                Err(_) => return Ok(Saved::No),
            },
            kind @ ("embeds" | "files") => {
                let (list, entries) = match (kind, serde_json::from_str(data)) {
                    ("embeds", Ok(Object(Lists { embeds, .. }))) => (List::Embeds, embeds),
                    (_, Ok(Object(Lists { files, .. }))) => (List::Files, files),
                    (_, Err(_)) => return Ok(Saved::No),
                };
                directory
                    .prepend_list(chat, message, list, &entries)
                    .await?
            }
            "source" | "citation" => match (serde_json::from_str(data), event.data) {
                (Ok(Object(Source { r#type: None })), Some(data)) => {
                    directory.append_source(chat, message, data).await?
                }
                _ => return Ok(Saved::No),
            },
            _ => return Ok(Saved::No),
        };
        Ok(if saved { Saved::Yes } else { Saved::NoMessage })
    }
}

/// `{"chat_id":...,"message_id":...,"data":`, to be followed by the event and a brace.
pub fn head(chat_id: &str, message_id: Option<&str>) -> String {
    let (chat_id, message_id) = (json!(chat_id), json!(message_id));
    format!(r#"{{"chat_id":{chat_id},"message_id":{message_id},"data":"#)
}

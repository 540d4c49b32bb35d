//! A backend writes a message of a chat, event by event: each is emitted first, then saved (contract, Emitter).
//!
//! - [`answers`]: what is known of answers that are being written; [`output`]: how an output is put together
//! - [`completion`]: what others who have the chat open get of an answer
//! - [`channel`]: an answer in a channel
//! - [`large`]: an event that takes longer to read than a turn may
//! - [`whose`]: what others than its user get of an event

mod answers;
mod channel;
mod completion;
mod large;
mod output;
mod whose;

pub use large::{Large, Reading};

use super::core::Core;
use crate::directory::{Change, Identity, MessageEvent, NotAnEvent, Refusal, Saved, is_saved_chat};
use crate::ground::tasks::aside;
use crate::ground::{json, rooms};
use crate::metrics;
use crate::socket::{Args, Prepared, Sid, Target};
use answers::Answers;
use log::Level;
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;
use whose::{Copy, Whose};

/// What a large event leaves behind of the buffer for payloads.
const RETAINED: usize = 8192;

/// What backends write at the moment.
pub struct Emitters {
    core: &'static Core,
    answers: Answers,
}

/// A message of a chat, and how its events are dealt with.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    pub user_id: &'a str,
    /// `channel:{id}`: it is a message of a channel.
    pub chat_id: &'a str,
    pub message_id: Option<&'a str>,
    /// The session that asked for the answer: it gets no copy as one of those who have the chat open.
    pub session_id: Option<&'a str>,
    /// Whether events are persisted, if it is a message of a saved chat.
    pub save: bool,
    /// Part of the application's own work: marked so, and for nobody but the user.
    pub internal: bool,
}

/// A message of a chat that a backend is writing. Cheap to use for many events.
pub struct Emitter {
    of: &'static Emitters,
    whose: Whose,
    session_id: Option<String>,
    /// `user:{id}`.
    room: String,
    /// The payload up to the event.
    head: String,
    /// The buffer for payloads, empty between two events.
    payload: Cell<String>,
    /// Whether events are saved.
    saves: bool,
    /// Whether a warning that not everything is saved is logged already.
    logged: Cell<bool>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Sockets of this instance that got it.
    pub reached: usize,
    /// An error: it was emitted, but could not be saved.
    pub saved: Result<Saved, Refusal>,
}

impl Emitters {
    pub fn new(core: &'static Core) -> Self {
        let answers = Answers::default();
        Self { core, answers }
    }

    /// An emitter for this message.
    pub fn of(&'static self, message: &Message<'_>) -> Emitter {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let chat_id = message.chat_id;
        let mut head = head(chat_id, message.message_id);
        if message.internal {
            head.insert_str(1, r#""internal":true,"#);
        }
        Emitter {
            of: self,
            whose: Whose {
                user_id: message.user_id.to_owned(),
                chat_id: chat_id.to_owned(),
                message_id: owned(message.message_id),
                internal: message.internal,
            },
            session_id: owned(message.session_id.filter(|sid| Sid::parse(sid).is_some())),
            room: rooms::of_user(message.user_id),
            head,
            payload: Cell::default(),
            saves: message.save && message.message_id.is_some() && is_saved_chat(chat_id),
            logged: Cell::new(false),
        }
    }
}

impl Emitter {
    /// Emits `events` to the user's sessions and what others get of it, then saves the event as its type says. A failed
    /// save is logged and reported, and never withholds the event from the user.
    pub async fn emit(&self, event: &str) -> Result<Emitted, NotAnEvent> {
        // Saved as text can be; who is connected gets it as it came, and may put halves of a character together.
        let mended = json::mend(event);
        let event = MessageEvent::read(event, &mended)?;
        let others = || self.copy(&event).map(Prepared::small);
        if let Some(emitted) = self.emit_otherwise(&event, &others) {
            return Ok(emitted);
        }
        let mut payload = self.payload.take();
        for part in [&*self.head, event.raw, "}"] {
            payload.push_str(part);
        }
        let made = Prepared::small(&*payload);
        let emitted = self.emit_payload(&event, &made, &others, None).await;
        payload.clear();
        payload.shrink_to(RETAINED);
        self.payload.set(payload);
        Ok(emitted)
    }

    /// The same of a large one.
    pub async fn emit_large(&self, mut large: Large) -> Emitted {
        let (made, change) = (large.made.take(), large.change.take());
        let made = made.map_or_else(|| Prepared::small(""), Prepared::from);
        let (large, others) = self.copy_large(large).await;
        let others = Cell::new(others);
        let emitted = {
            let (event, others) = (large.event(), || others.take());
            match self.emit_otherwise(&event, &others) {
                Some(emitted) => emitted,
                None => self.emit_payload(&event, &made, &others, change).await,
            }
        };
        // The system takes a while to take the memory back.
        aside(move || drop(large)).await;
        emitted
    }

    /// How a large event is to be read.
    pub fn reading(&self) -> Reading {
        Reading {
            head: self.head.clone(),
            numbers: self.of.core.hub.tells_numbers(),
            saves: self.saves,
        }
    }

    /// What is not for the user's sessions, as `events`.
    fn emit_otherwise(
        &self,
        event: &MessageEvent<'_>,
        others: &dyn Fn() -> Option<Prepared<'static>>,
    ) -> Option<Emitted> {
        let reached = match self.whose.channel_id() {
            Some(_) => self.send_to_others(others),
            None if self.whose.internal && event.kind == "notification" => 0,
            None => return None,
        };
        let saved = Ok(Saved::No);
        Some(Emitted { reached, saved })
    }

    async fn emit_payload(
        &self,
        event: &MessageEvent<'_>,
        made: &Prepared<'_>,
        others: &dyn Fn() -> Option<Prepared<'static>>,
        change: Option<Change<'static>>,
    ) -> Emitted {
        let message_id = self.whose.message_id.as_deref().unwrap_or_default();
        let send = || self.send(&event.kind, made, others);
        if !self.saves || !event.is_saved() {
            let (reached, saved) = (send(), Ok(Saved::No));
            return Emitted { reached, saved };
        }
        let (core, author) = (self.of.core, self.author());
        // Then Open WebUI emits what it saves, over the Redis that it shares with us; when it can't save, we emit.
        let emitted_by_directory = author.is_some() && core.directory.emits_itself();
        let mut reached = match emitted_by_directory {
            true => core.hub.members(&self.room).len(),
            false => send(),
        };
        let saved = self
            .save(message_id, author.as_deref(), event, change)
            .await;
        if emitted_by_directory && saved != Ok(Saved::Yes) {
            reached = send();
        }
        Emitted { reached, saved }
    }

    /// To the user's sessions, and what is for others to those who have the chat open. How many of the former got it.
    fn send(
        &self,
        kind: &str,
        made: &Prepared<'_>,
        others: &dyn Fn() -> Option<Prepared<'static>>,
    ) -> usize {
        let user = Target::room(&self.room);
        let reached = match kind {
            // Of messages that others wrote; the user's own pages have them.
            "chat:messages" => 0,
            _ => self.of.core.peers.emit_prepared(&user, "events", made),
        };
        self.send_to_others(others);
        reached
    }

    /// To those who have the chat open, or to everybody in the channel.
    fn send_to_others(&self, others: &dyn Fn() -> Option<Prepared<'static>>) -> usize {
        let Some(others) = others() else {
            return 0;
        };
        let (room, name) = self.whose.others();
        let asked = self.session_id.as_deref();
        let but = asked.filter(|_| self.whose.channel_id().is_none());
        let target = Target::room(&room).but(but.as_slice());
        self.of.core.peers.emit_prepared(&target, name, &others)
    }

    /// What others get of an event.
    fn copy(&self, event: &MessageEvent<'_>) -> Option<String> {
        let (whose, answers) = (&self.whose, &self.of.answers);
        if !whose.adds(&event.kind) {
            return whose.same(event);
        }
        let (key, now) = (whose.key(), Instant::now());
        let copy = answers.change(&key, now, |answer| whose.change(answer, event, now));
        if copy.is_last {
            answers.forget(&key);
        }
        copy.payload
    }

    /// The same of a large one, made beside our thread.
    async fn copy_large(&self, large: Large) -> (Large, Option<Prepared<'static>>) {
        let (whose, answers, now) = (self.whose.clone(), &self.of.answers, Instant::now());
        let key = whose.key();
        let mut answer = whose.adds(large.kind()).then(|| answers.take(&key, now));
        let its_key = key.clone();
        let (large, answer, copy) = aside(move || {
            let copy = match &mut answer {
                None => Copy::from(whose.same(&large.event())),
                Some(answer) => {
                    let copy = whose.change(answer, &large.event(), now);
                    answer.bound(&its_key);
                    copy
                }
            };
            (large, answer, copy)
        })
        .await;
        if let Some(answer) = answer.filter(|_| !copy.is_last) {
            answers.put(&key, answer);
        }
        let (_, name) = self.whose.others();
        let payload = copy.payload.map(Args::from_json);
        let numbers = self.of.core.hub.tells_numbers();
        let others = match payload {
            Some(args) => Some(Prepared::new(name, args, numbers).await),
            None => None,
        };
        (large, others)
    }

    /// The user, as one of their sessions here signed in, for a directory that saves with their token.
    fn author(&self) -> Option<Rc<Identity>> {
        let core = self.of.core;
        if !core.directory.saves_as_user() {
            return None;
        }
        let members = core.hub.members(&self.room);
        members.iter().find_map(|sid| core.pools.sessions.who(*sid))
    }

    async fn save(
        &self,
        message_id: &str,
        author: Option<&Identity>,
        event: &MessageEvent<'_>,
        change: Option<Change<'static>>,
    ) -> Result<Saved, Refusal> {
        let (chat_id, directory) = (&self.whose.chat_id, &self.of.core.directory);
        let saved = directory
            .save_event(author, chat_id, message_id, event, change)
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

//! A backend writes a message of a chat, event by event: each is emitted first, then saved (contract, Emitter).
//!
//! - [`answers`]: what is known of answers that are being written; [`output`]: how an output is put together
//! - [`completion`]: what others who have the chat open get of an answer
//! - [`channel`]: an answer in a channel
//! - [`large`]: an event that takes longer to read than a turn may

mod answers;
mod channel;
mod completion;
mod large;
mod output;

pub use large::Large;

use super::core::Core;
use crate::directory::{Identity, MessageEvent, NotAnEvent, Refusal, Saved, is_saved_chat};
use crate::ground::tasks::aside;
use crate::ground::{json, rooms};
use crate::metrics;
use crate::socket::{Args, Made, Object, Sid, Target};
use answers::Answers;
use channel::ChannelMessage;
use completion::Completion;
use log::Level;
use serde_json::json;
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// Types that others who have the chat open get as they are.
const SHARED: [&str; 10] = [
    "chat:messages",
    "chat:active",
    "status",
    "source",
    "citation",
    "files",
    "embeds",
    "chat:message:error",
    "chat:tasks:cancel",
    "chat:message:follow_ups",
];

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
    user_id: String,
    chat_id: String,
    message_id: Option<String>,
    session_id: Option<String>,
    internal: bool,
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
            user_id: message.user_id.to_owned(),
            chat_id: chat_id.to_owned(),
            message_id: owned(message.message_id),
            session_id: owned(message.session_id.filter(|sid| Sid::parse(sid).is_some())),
            internal: message.internal,
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
        if let Some(emitted) = self.emit_otherwise(&event) {
            return Ok(emitted);
        }
        let mut payload = self.payload.take();
        for part in [&*self.head, event.raw, "}"] {
            payload.push_str(part);
        }
        let args = Args::from_json(&*payload);
        let emitted = self.emit_payload(&event, &args, None).await;
        payload.clear();
        payload.shrink_to(RETAINED);
        self.payload.set(payload);
        Ok(emitted)
    }

    /// The same of a large one.
    pub async fn emit_large(&self, mut large: Large) -> Emitted {
        let made = large.written.take().map(Made::from);
        let event = large.event();
        let emitted = match self.emit_otherwise(&event) {
            Some(emitted) => emitted,
            None => self.emit_payload(&event, &large.args, made.as_ref()).await,
        };
        // The system takes a while to take the memory back.
        aside(move || drop(large)).await;
        emitted
    }

    /// Whether somebody is told an event's number.
    pub fn tells_numbers(&self) -> bool {
        self.of.core.hub.tells_numbers()
    }

    /// The payload up to the event.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// What is not for the user's sessions, as `events`.
    fn emit_otherwise(&self, event: &MessageEvent<'_>) -> Option<Emitted> {
        if let Some(channel_id) = self.chat_id.strip_prefix("channel:") {
            return Some(self.update_channel(channel_id, event));
        }
        (self.internal && event.kind == "notification").then_some(Emitted {
            reached: 0,
            saved: Ok(Saved::No),
        })
    }

    async fn emit_payload(
        &self,
        event: &MessageEvent<'_>,
        args: &Args<'_>,
        made: Option<&Made>,
    ) -> Emitted {
        let message_id = self.message_id.as_deref().unwrap_or_default();
        if !self.saves || !event.is_saved() {
            let reached = self.send(event, args, made);
            let saved = Ok(Saved::No);
            return Emitted { reached, saved };
        }
        let (core, author) = (self.of.core, self.author());
        // Then Open WebUI emits what it saves, over the Redis that it shares with us; when it can't save, we emit.
        let emitted_by_directory = author.is_some() && core.directory.emits_itself();
        let mut reached = match emitted_by_directory {
            true => core.hub.members(&self.room).len(),
            false => self.send(event, args, made),
        };
        let saved = self.save(message_id, author.as_deref(), event).await;
        if emitted_by_directory && saved != Ok(Saved::Yes) {
            reached = self.send(event, args, made);
        }
        Emitted { reached, saved }
    }

    /// To the user's sessions, and what is for others to those who have the chat open. How many of the former got it.
    fn send(&self, event: &MessageEvent<'_>, args: &Args<'_>, made: Option<&Made>) -> usize {
        let peers = &self.of.core.peers;
        let reached = match &*event.kind {
            // Of messages that others wrote; the user's own pages have them.
            "chat:messages" => 0,
            _ => peers.emit_made(&Target::room(&self.room), "events", args, made),
        };
        if !self.internal
            && is_saved_chat(&self.chat_id)
            && let Some(copy) = self.shared(event)
        {
            let (head, user_id) = (
                head(&self.chat_id, self.message_id.as_deref()),
                json!(self.user_id),
            );
            let payload = format!(
                r#"{{"shared":true,"user_id":{user_id},{}{copy}}}"#,
                &head[1..]
            );
            let room = rooms::of_chat(&self.chat_id);
            let but = self.session_id.as_deref();
            let others = Target::room(&room).but(but.as_slice());
            peers.emit(&others, "events", &Args::from_json(payload));
        }
        reached
    }

    /// The event as others get it who have the chat open.
    fn shared<'e>(&self, event: &MessageEvent<'e>) -> Option<Cow<'e, str>> {
        let kind = &*event.kind;
        if SHARED.contains(&kind) {
            return Some(event.raw.into());
        }
        if !matches!(kind, "chat:completion" | "response:completion") {
            return None;
        }
        let data = event.data.unwrap_or("{}");
        let Object(completion): Object<Completion<'_>> = json::text(data).ok()?;
        let (answers, key, now) = (&self.of.answers, self.key(), Instant::now());
        let streamed = kind == "response:completion";
        let copy = answers.change(&key, now, |answer| {
            completion::shared(answer, &completion, data, streamed, now)
        });
        if completion::is_true(completion.done) {
            answers.forget(&key);
        }
        copy.map(Cow::Owned)
    }

    /// Everybody in the channel gets its message anew. How many of this instance did.
    fn update_channel(&self, channel_id: &str, event: &MessageEvent<'_>) -> Emitted {
        let message = ChannelMessage {
            channel_id,
            message_id: self.message_id.as_deref(),
            user_id: &self.user_id,
        };
        let update = message.update(&self.of.answers, &self.key(), event, Instant::now());
        let reached = update.map_or(0, |update| {
            let room = rooms::of_channel(channel_id);
            let args = Args::from_json(update);
            self.of
                .core
                .peers
                .emit(&Target::room(&room), "events:channel", &args)
        });
        let saved = Ok(Saved::No);
        Emitted { reached, saved }
    }

    /// By what its answer is known: ids have no control characters.
    fn key(&self) -> String {
        format!(
            "{}\n{}",
            self.chat_id,
            self.message_id.as_deref().unwrap_or_default()
        )
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
    ) -> Result<Saved, Refusal> {
        let (chat_id, directory) = (&self.chat_id, &self.of.core.directory);
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

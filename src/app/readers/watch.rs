//! One message that is read, in one name.

use super::reader::Reader;
use crate::directory::{Identity, MessageEvent};
use crate::ground::{json, rooms};
use crate::socket::{Args, Hub};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Why an answer ends: it is done, or nothing came of it for long.
pub const DONE: &str = r#"{"reason":"done"}"#;
pub const SILENT: &str = r#"{"reason":"silent"}"#;

/// Which answer somebody wants to read.
pub struct Asked<'a> {
    /// Whose token was shown; nobody's: the key.
    pub who: Option<Rc<Identity>>,
    /// Whose answer it is, or who reads it.
    pub user_id: &'a str,
    pub chat_id: &'a str,
    pub message_id: &'a str,
    /// The number of the last event that came.
    pub after: Option<u64>,
}

/// An event of a message, as it is emitted to a user or, as a copy, to others who have the chat open.
#[derive(Deserialize)]
pub struct Told<'a> {
    #[serde(borrow)]
    chat_id: Cow<'a, str>,
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    #[serde(default)]
    shared: bool,
}

impl<'a> Told<'a> {
    pub fn read(args: &'a Args<'_>) -> Option<Self> {
        args.object()
    }

    fn event(&self) -> Option<MessageEvent<'_>> {
        MessageEvent::read(self.data.get(), self.data.get()).ok()
    }
}

/// What an event says of the end of its answer.
fn is_end(event: &MessageEvent<'_>) -> bool {
    #[derive(Deserialize)]
    struct Done {
        done: bool,
    }
    match &*event.kind {
        "chat:completion" | "response:completion" => event
            .data
            .and_then(|data| json::text(data).ok())
            .is_some_and(|Done { done }| done),
        "chat:tasks:cancel" | "chat:message:error" => true,
        _ => false,
    }
}

/// Whether it goes on with an answer.
fn goes_on(event: &MessageEvent<'_>) -> bool {
    matches!(
        &*event.kind,
        "message" | "replace" | "chat:completion" | "response:completion"
    )
}

/// The message and its readers.
pub struct Watch {
    /// As the hub knows it.
    number: u32,
    /// The user who reads; nobody: backends.
    user: Option<String>,
    chat_id: String,
    message_id: String,
    /// The room of the user whose answer it is, or who reads; and that of the chat, where others get copies.
    own: String,
    chat: Option<String>,
    /// The last event before it, and the last one of the message.
    since: u64,
    last: Cell<u64>,
    done: Cell<bool>,
    /// When something came last.
    heard: Cell<Instant>,
    /// Since when nobody reads.
    left: Cell<Option<Instant>>,
    readers: RefCell<Vec<Rc<Reader>>>,
}

impl Watch {
    pub fn new(hub: &Hub, number: u32, asked: &Asked<'_>) -> Self {
        let since = hub.number_of_last().unwrap_or_default();
        let now = Instant::now();
        let watch = Self {
            number,
            user: asked.who.as_ref().map(|who| who.user.id.clone()),
            chat_id: asked.chat_id.into(),
            message_id: asked.message_id.into(),
            own: rooms::of_user(asked.user_id),
            chat: asked.who.is_some().then(|| rooms::of_chat(asked.chat_id)),
            since,
            last: Cell::new(since),
            done: Cell::default(),
            heard: Cell::new(now),
            left: Cell::new(Some(now)),
            readers: RefCell::default(),
        };
        watch.rooms().for_each(|room| hub.watch(room, number));
        watch
    }

    /// It is no more.
    pub fn close(&self, hub: &Hub) {
        self.rooms().for_each(|room| hub.unwatch(room, self.number));
        self.readers.take().iter().for_each(|reader| reader.end());
    }

    fn rooms(&self) -> impl Iterator<Item = &str> {
        [Some(&*self.own), self.chat.as_deref()]
            .into_iter()
            .flatten()
    }

    pub fn message(&self) -> (&str, &str) {
        (&self.chat_id, &self.message_id)
    }

    pub fn is_of(&self, user: Option<&str>) -> bool {
        self.user.as_deref() == user
    }

    pub fn is_in(&self, chat_id: &str) -> bool {
        self.chat_id == chat_id
    }

    pub fn is_about(&self, chat_id: &str, message_id: &str) -> bool {
        self.is_in(chat_id) && self.message_id == message_id
    }

    pub fn is(&self, user: Option<&str>, asked: &Asked<'_>) -> bool {
        self.is_of(user)
            && self.is_about(asked.chat_id, asked.message_id)
            && rooms::user(&self.own) == Some(asked.user_id)
    }

    pub fn hears(&self, room: &str) -> bool {
        self.rooms().any(|name| name == room)
    }

    /// Whether what is emitted to a room is an event of the message. Of what is the reader's own, the copy for others is not.
    pub fn is_told(&self, room: &str, told: &Told<'_>) -> bool {
        self.is_about(&told.chat_id, &told.message_id)
            && match room == self.own {
                true => !told.shared,
                false => {
                    told.shared
                        && self.hears(room)
                        && told.user_id != self.user.as_deref().map(Cow::from)
                }
            }
    }

    /// An event of the message.
    pub fn tell(&self, number: Option<u64>, told: &Told<'_>) {
        let Some(event) = told.event() else { return };
        self.last.set(number.unwrap_or_default());
        self.heard.set(Instant::now());
        let readers = self.readers.borrow();
        readers
            .iter()
            .for_each(|reader| reader.add(number, "", event.raw));
        drop(readers);
        if is_end(&event) {
            self.finish(DONE);
        } else if goes_on(&event) {
            self.done.set(false);
        }
    }

    /// Nothing more comes, for this reason.
    pub fn finish(&self, why: &str) {
        self.done.set(why == DONE);
        for reader in self.readers.take() {
            reader.add(None, "end", why);
            reader.end();
        }
        self.left.set(Some(Instant::now()));
    }

    /// Whether all is there that follows the event `after`.
    pub fn goes_on(&self, hub: &Hub, after: u64) -> bool {
        let Some(last) = hub.number_of_last() else {
            return false;
        };
        (self.since..=last).contains(&after)
            && (after >= self.last.get() || hub.kept_from() <= after)
    }

    /// Sends what follows the event `after`. Whether the answer is done.
    pub fn tell_missed(&self, hub: &Hub, reader: &Reader, after: u64) -> bool {
        reader.add(None, "start", r#"{"resumed":true}"#);
        self.each_kept(hub, after, |number, event| {
            reader.add(Some(number), "", event.raw);
        });
        self.done.get()
    }

    /// What is kept of its events, with commas; those that are not saved, if it `is_saved`. Whether the answer is done.
    pub fn kept(&self, hub: &Hub, is_saved: bool) -> (String, bool) {
        let (mut events, mut done) = (String::new(), false);
        self.each_kept(hub, 0, |_, event| {
            done = is_end(event) || done && !goes_on(event);
            if !(is_saved && event.is_saved()) {
                let comma = if events.is_empty() { "" } else { "," };
                events.extend([comma, event.raw]);
            }
        });
        (events, done)
    }

    fn each_kept(&self, hub: &Hub, after: u64, mut each: impl FnMut(u64, &MessageEvent<'_>)) {
        let hears = |room: &str| self.hears(room);
        hub.each_kept(after, &hears, &mut |number, room, name, args| {
            let told = Told::read(args).filter(|told| name == "events" && self.is_told(room, told));
            if let Some(event) = told.as_ref().and_then(Told::event) {
                each(number, &event);
            }
        });
    }

    pub fn last(&self) -> u64 {
        self.last.get()
    }

    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    pub fn is_silent(&self, now: Instant, most: Duration) -> bool {
        self.readers() > 0 && now.saturating_duration_since(self.heard.get()) >= most
    }

    pub fn is_left(&self, now: Instant, most: Duration) -> bool {
        let since = self.left.get().filter(|_| self.readers() == 0);
        since.is_some_and(|since| now.saturating_duration_since(since) >= most)
    }

    pub fn readers(&self) -> usize {
        self.readers.borrow().len()
    }

    pub fn all(&self) -> Vec<Rc<Reader>> {
        self.readers.borrow().clone()
    }

    pub fn came(&self, reader: &Rc<Reader>) {
        if !reader.has_ended() {
            self.heard.set(Instant::now());
            self.readers.borrow_mut().push(reader.clone());
        }
    }

    pub fn went(&self, reader: &Rc<Reader>) {
        self.readers
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, reader));
        self.left.set(Some(Instant::now()));
    }
}

//! Events of messages: each is saved as its type says (contract, Emitter).
//!
//! A token that is streamed costs one append to the message's content, and nothing is parsed for it but the event.

use super::records::{Local, Record, denied, encode, parse};
use crate::directory::event::MessageEvent;
use crate::directory::types::{Refusal, Saved};
use crate::ground::json;
use crate::ground::names::is_id;
use crate::ground::tasks::{LARGE, aside};
use crate::socket::Object;
use crate::store::{Batch, StoreError, Table, key};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

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
    #[serde(borrow)]
    replace: Option<&'a RawValue>,
}

impl Lists<'_> {
    fn replaces(&self) -> bool {
        self.replace.is_some_and(|replace| replace.get() == "true")
    }
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
}

/// What an event changes of its message.
pub enum Change<'a> {
    AddContent(Cow<'a, str>),
    Content(Cow<'a, str>),
    /// An entry for the end of a list.
    Append(&'static str, Value),
    /// Entries for the beginning of a list, and whether those that are there stay.
    First(&'static str, Vec<Value>, bool),
    /// It can't be kept, for this reason.
    Not(&'static str),
    /// Its type is not saved, or its data has another shape than the type's.
    Nothing,
}

impl<'a> Change<'a> {
    /// Reads what an event changes.
    pub fn of(event: &MessageEvent<'a>) -> Self {
        Self::read(event).unwrap_or(Self::Nothing)
    }

    fn read(event: &MessageEvent<'a>) -> Option<Self> {
        let data = event.data.unwrap_or("{}");
        Some(match &*event.kind {
            "status" => Self::append("statusHistory", event.data?),
            "message" => Self::AddContent(read::<Content<'_>>(data)?.content),
            "replace" => Self::Content(read::<Content<'_>>(data)?.content),
            "embeds" => {
                let lists: Lists<'_> = read(data)?;
                Self::first("embeds", &lists.embeds, !lists.replaces())
            }
            "files" => Self::first("files", &read::<Lists<'_>>(data)?.files, true),
            "source" | "citation" => match read(data)? {
                Source { r#type: None } => Self::append("sources", event.data?),
                Source { .. } => return None,
            },
            _ => return None,
        })
    }

    fn append(field: &'static str, entry: &str) -> Self {
        let entry = json::owned(entry).map(|entry| Self::Append(field, entry));
        entry.unwrap_or(Self::Not("the entry is nested too deeply"))
    }

    fn first(field: &'static str, entries: &[&RawValue], keep: bool) -> Self {
        let parsed = entries.iter().map(|entry| json::owned(entry.get()));
        let all = parsed.collect::<Result<_, _>>();
        let all = all.map(|all| Self::First(field, all, keep));
        all.unwrap_or(Self::Not("an entry is nested too deeply"))
    }

    /// With text of its own.
    pub fn into_owned(self) -> Change<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::AddContent(text) => Change::AddContent(owned(text)),
            Self::Content(text) => Change::Content(owned(text)),
            Self::Append(field, entry) => Change::Append(field, entry),
            Self::First(field, entries, keep) => Change::First(field, entries, keep),
            Self::Not(why) => Change::Not(why),
            Self::Nothing => Change::Nothing,
        }
    }

    /// What is changed beside the content.
    fn apply(&self, message: &mut Record) {
        match self {
            Self::Content(_) => drop(message.remove("content")),
            Self::Append(field, entry) => match message.entry(*field).or_insert(Value::Null) {
                Value::Array(present) => present.push(entry.clone()),
                other => *other = vec![entry.clone()].into(),
            },
            Self::First(field, entries, keep) => {
                let list = message.entry(*field).or_insert(Value::Null);
                let mut all = entries.clone();
                if let Value::Array(present) = list
                    && *keep
                {
                    all.append(present);
                }
                *list = all.into();
            }
            Self::AddContent(_) | Self::Not(_) | Self::Nothing => {}
        }
    }
}

impl Local {
    /// Saves what an event changes of a message.
    pub(in crate::directory) async fn save_event(
        &self,
        chat_id: &str,
        message_id: &str,
        change: Change<'_>,
        is_large: bool,
    ) -> Result<Saved, Refusal> {
        let message = SavedMessage {
            local: self,
            chat_id,
            message_id,
        };
        match change {
            Change::Nothing => Ok(Saved::No),
            Change::Not(why) => denied(why),
            Change::AddContent(content) => message.append_content(&content),
            change => message.change(change, is_large).await,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Option<T> {
    json::text(data).ok().map(|Object(data)| data)
}

/// The message that an event is saved to.
struct SavedMessage<'a> {
    local: &'a Local,
    chat_id: &'a str,
    message_id: &'a str,
}

impl SavedMessage<'_> {
    /// Appends to the message's content, only if the message exists.
    fn append_content(&self, content: &str) -> Result<Saved, Refusal> {
        let key = self.key();
        let store = &self.local.store;
        if store.append(Table::Contents, &key, content.as_bytes())? {
            return Ok(Saved::Yes);
        }
        // The message may be there with no content yet, or with content that isn't text.
        let Some(message) = self.local.record(Table::Messages, &key)? else {
            return Ok(Saved::NoMessage);
        };
        if message.get("content").is_some_and(|c| !c.is_null()) {
            return Ok(Saved::NoMessage);
        }
        let mut batch = Batch::new();
        batch.put(Table::Contents, key, content);
        store.write(batch)?;
        Ok(Saved::Yes)
    }

    /// Changes what isn't only added to the content. What is large is read and written beside our thread.
    async fn change(&self, change: Change<'_>, is_large: bool) -> Result<Saved, Refusal> {
        let (store, key) = (&self.local.store, self.key());
        let stored = store.get(Table::Messages, &key)?;
        if stored.is_none() && !self.may_begin()? {
            return Ok(Saved::NoMessage);
        }
        let (change, message) = match is_large || stored.as_ref().is_some_and(|it| it.len() > LARGE)
        {
            true => self.changed_beside(change.into_owned(), stored).await?,
            false => {
                let message = changed(&key, self.message_id, stored.as_deref(), &change)?;
                (change, message)
            }
        };
        let mut batch = Batch::new();
        batch.put(Table::Messages, key.as_str(), message);
        if let Change::Content(content) = &change {
            batch.put(Table::Contents, key, &**content);
        }
        store.write(batch)?;
        Ok(Saved::Yes)
    }

    /// The changed message, made beside our thread from what is stored: anew, should that have changed meanwhile.
    async fn changed_beside(
        &self,
        mut change: Change<'static>,
        mut stored: Option<Vec<u8>>,
    ) -> Result<(Change<'static>, Vec<u8>), StoreError> {
        loop {
            let (key, id, before) = (self.key(), self.message_id.to_owned(), stored);
            let work = move || {
                let message = changed(&key, &id, before.as_deref(), &change);
                (change, before, message)
            };
            let (done, before, message) = aside(work).await;
            stored = self.local.store.get(Table::Messages, &self.key())?;
            if stored == before {
                return Ok((done, message?));
            }
            change = done;
        }
    }

    /// Whether there may be a message of that id: there is such a chat.
    fn may_begin(&self) -> Result<bool, StoreError> {
        Ok(is_id(self.message_id) && self.local.store.contains(Table::Chats, self.chat_id)?)
    }

    fn key(&self) -> String {
        key(self.chat_id, self.message_id)
    }
}

/// A message without its content after a change; a new one of that id if nothing is stored.
fn changed(
    key: &str,
    id: &str,
    stored: Option<&[u8]>,
    change: &Change<'_>,
) -> Result<Vec<u8>, StoreError> {
    let mut message = match stored {
        Some(bytes) => parse(Table::Messages, key, bytes)?,
        None => [("id".to_owned(), Value::from(id))].into_iter().collect(),
    };
    change.apply(&mut message);
    Ok(encode(&message))
}

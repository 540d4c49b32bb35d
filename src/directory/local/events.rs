//! Events of messages: each is saved as its type says (contract, Emitter).
//!
//! A token that is streamed costs one append to the message's content, and nothing is parsed for it but the event.

use super::records::{Local, Record, denied, encode};
use crate::directory::event::MessageEvent;
use crate::directory::types::{Refusal, Saved};
use crate::ground::json;
use crate::ground::names::is_id;
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

impl Local {
    /// Data of another shape than the type's leaves no trace.
    pub(in crate::directory) fn save_event(
        &self,
        chat_id: &str,
        message_id: &str,
        event: &MessageEvent<'_>,
    ) -> Result<Saved, Refusal> {
        let message = SavedMessage {
            local: self,
            chat_id,
            message_id,
        };
        let data = event.data.unwrap_or("{}");
        let saved = match &*event.kind {
            "status" => event
                .data
                .map(|status| message.append_entry("statusHistory", status)),
            "message" => read(data).map(|Content { content }| message.append_content(&content)),
            "replace" => read(data).map(|Content { content }| message.replace_content(&content)),
            "embeds" => read(data).map(|lists: Lists<'_>| {
                message.put_first("embeds", &lists.embeds, !lists.replaces())
            }),
            "files" => {
                read(data).map(|lists: Lists<'_>| message.put_first("files", &lists.files, true))
            }
            "source" | "citation" => match (read(data), event.data) {
                (Some(Source { r#type: None }), Some(source)) => {
                    Some(message.append_entry("sources", source))
                }
                _ => None,
            },
            _ => None,
        };
        saved.unwrap_or(Ok(Saved::No))
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

    /// Sets the message's content.
    fn replace_content(&self, content: &str) -> Result<Saved, Refusal> {
        let Some(mut message) = self.message()? else {
            return Ok(Saved::NoMessage);
        };
        message.remove("content");
        let key = self.key();
        let mut batch = Batch::new();
        batch.put(Table::Messages, key.as_str(), encode(&message));
        batch.put(Table::Contents, key, content);
        self.local.store.write(batch)?;
        Ok(Saved::Yes)
    }

    /// Sets the list `field` to the new entries, followed by the existing ones if they are to be kept.
    fn put_first(&self, field: &str, entries: &[&RawValue], keep: bool) -> Result<Saved, Refusal> {
        let parsed = entries.iter().map(|entry| json::owned(entry.get()));
        let Ok(mut all) = parsed.collect::<Result<Vec<Value>, _>>() else {
            return denied("an entry is nested too deeply");
        };
        self.change(|message| {
            let list = message.entry(field).or_insert(Value::Null);
            if let Value::Array(present) = list
                && keep
            {
                all.append(present);
            }
            *list = all.into();
        })
    }

    /// Appends to the list `field`.
    fn append_entry(&self, field: &str, entry: &str) -> Result<Saved, Refusal> {
        let Ok(entry) = json::owned::<Value>(entry) else {
            return denied("the entry is nested too deeply");
        };
        self.change(
            |message| match message.entry(field).or_insert(Value::Null) {
                Value::Array(present) => present.push(entry),
                other => *other = vec![entry].into(),
            },
        )
    }

    /// Changes what isn't content, of a message that may not be there yet.
    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<Saved, Refusal> {
        let Some(mut message) = self.message()? else {
            return Ok(Saved::NoMessage);
        };
        change(&mut message);
        let mut batch = Batch::new();
        batch.put(Table::Messages, self.key(), encode(&message));
        self.local.store.write(batch)?;
        Ok(Saved::Yes)
    }

    /// The message without its content, a new one if the chat has none of that id, `None` if there is no such
    /// chat or can be no such message.
    fn message(&self) -> Result<Option<Record>, StoreError> {
        if let Some(record) = self.local.record(Table::Messages, &self.key())? {
            return Ok(Some(record));
        }
        let chats = Table::Chats;
        if !is_id(self.message_id) || !self.local.store.contains(chats, self.chat_id)? {
            return Ok(None);
        }
        let id = ("id".to_owned(), Value::from(self.message_id));
        Ok(Some([id].into_iter().collect()))
    }

    fn key(&self) -> String {
        key(self.chat_id, self.message_id)
    }
}

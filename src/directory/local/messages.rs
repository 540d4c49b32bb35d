//! Messages of saved chats: what the emitter persists, by type.
//!
//! A message's `content`, when it is text, lies in a table of its own, so that a token costs an append and
//! no parse. All else of it is one JSON object.

use super::super::{List, Refusal};
use super::{Local, Record, Wrong, check_id, encode};
use crate::ground::json;
use crate::ground::names::is_id;
use crate::store::{Batch, Fault, Table, key};
use serde_json::Value;
use serde_json::value::RawValue;

/// What the emitter asks.
impl Local {
    pub(in super::super) fn message(
        &self,
        chat_id: &str,
        message_id: &str,
    ) -> Result<Option<Record>, Refusal> {
        Ok(self.message_record(chat_id, message_id)?)
    }

    pub(in super::super) fn append_status(
        &self,
        chat_id: &str,
        message_id: &str,
        status: &RawValue,
    ) -> Result<bool, Refusal> {
        self.append(chat_id, message_id, "statusHistory", status)
    }

    pub(in super::super) fn append_source(
        &self,
        chat_id: &str,
        message_id: &str,
        source: &RawValue,
    ) -> Result<bool, Refusal> {
        self.append(chat_id, message_id, "sources", source)
    }

    pub(in super::super) fn append_content(
        &self,
        chat_id: &str,
        message_id: &str,
        content: &str,
    ) -> Result<bool, Refusal> {
        let key = key(chat_id, message_id);
        if self
            .store
            .append(Table::Contents, &key, content.as_bytes())?
        {
            return Ok(true);
        }
        // The message may be there with no content yet, or with content that isn't text.
        let Some(message) = self.record(Table::Messages, &key)? else {
            return Ok(false);
        };
        if message
            .get("content")
            .is_some_and(|content| !content.is_null())
        {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.put(Table::Contents, key, content);
        self.store.write(batch)?;
        Ok(true)
    }

    pub(in super::super) fn replace_content(
        &self,
        chat_id: &str,
        message_id: &str,
        content: &str,
    ) -> Result<bool, Refusal> {
        let Some(mut message) = self.message_to_change(chat_id, message_id)? else {
            return Ok(false);
        };
        message.remove("content");
        let key = key(chat_id, message_id);
        let mut batch = Batch::new();
        batch.put(Table::Messages, key.as_str(), encode(&message));
        batch.put(Table::Contents, key, content);
        self.store.write(batch)?;
        Ok(true)
    }

    pub(in super::super) fn prepend_list(
        &self,
        chat_id: &str,
        message_id: &str,
        list: List,
        entries: &[&RawValue],
    ) -> Result<bool, Refusal> {
        let field = match list {
            List::Embeds => "embeds",
            List::Files => "files",
        };
        let parsed = entries.iter().map(|entry| json::owned(entry.get()));
        let Ok(mut all) = parsed.collect::<Result<Vec<Value>, _>>() else {
            return super::denied("an entry is nested too deeply");
        };
        self.change(chat_id, message_id, |message| {
            let field = message.entry(field).or_insert(Value::Null);
            if let Value::Array(present) = field {
                all.append(present);
            }
            *field = all.into();
        })
    }

    fn append(
        &self,
        chat_id: &str,
        message_id: &str,
        field: &str,
        entry: &RawValue,
    ) -> Result<bool, Refusal> {
        let Ok(entry) = json::owned::<Value>(entry.get()) else {
            return super::denied("the entry is nested too deeply");
        };
        self.change(chat_id, message_id, |message| {
            match message.entry(field).or_insert(Value::Null) {
                Value::Array(present) => present.push(entry),
                other => *other = vec![entry].into(),
            }
        })
    }

    /// Changes what isn't content, of a message that may not be there yet.
    fn change(
        &self,
        chat_id: &str,
        message_id: &str,
        change: impl FnOnce(&mut Record),
    ) -> Result<bool, Refusal> {
        let Some(mut message) = self.message_to_change(chat_id, message_id)? else {
            return Ok(false);
        };
        change(&mut message);
        let mut batch = Batch::new();
        batch.put(Table::Messages, key(chat_id, message_id), encode(&message));
        self.store.write(batch)?;
        Ok(true)
    }

    /// The message without its content, a new one if the chat has none of that id, `None` if there is no such
    /// chat or can be no such message.
    fn message_to_change(&self, chat: &str, message: &str) -> Result<Option<Record>, Fault> {
        if let Some(record) = self.record(Table::Messages, &key(chat, message))? {
            return Ok(Some(record));
        }
        if !is_id(message) || !self.store.contains(Table::Chats, chat)? {
            return Ok(None);
        }
        let id = ("id".to_owned(), Value::from(message));
        Ok(Some([id].into_iter().collect()))
    }
}

/// What backends do.
impl Local {
    /// A message, whole.
    pub fn message_record(&self, chat_id: &str, id: &str) -> Result<Option<Record>, Fault> {
        let key = key(chat_id, id);
        match self.record(Table::Messages, &key)? {
            Some(message) => self.with_content(&key, message).map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` messages of a chat by id, those after `after`; `None` if there is no such chat.
    pub fn messages(
        &self,
        chat_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Option<Vec<Record>>, Fault> {
        if !self.store.contains(Table::Chats, chat_id)? {
            return Ok(None);
        }
        let after = match after {
            "" => String::new(),
            after => key(chat_id, after),
        };
        let found = self.records(Table::Messages, &key(chat_id, ""), &after, limit)?;
        let whole = found
            .into_iter()
            .map(|(key, message)| self.with_content(&key, message));
        whole.collect::<Result<_, _>>().map(Some)
    }

    fn with_content(&self, key: &str, mut message: Record) -> Result<Record, Fault> {
        if let Some(content) = self.store.get(Table::Contents, key)? {
            let content = String::from_utf8_lossy(&content).into_owned();
            message.insert("content".to_owned(), content.into());
        }
        Ok(message)
    }

    /// Makes the message or replaces it; whether it was made, and the message.
    pub fn put_message(
        &self,
        chat_id: &str,
        id: &str,
        mut message: Record,
    ) -> Result<(bool, Record), Wrong> {
        check_id("a message's id", id)?;
        if !self.store.contains(Table::Chats, chat_id)? {
            return Err(Wrong::Missing("no such chat"));
        }
        let key = key(chat_id, id);
        let created = !self.store.contains(Table::Messages, &key)?;
        message.insert("id".to_owned(), id.into());
        let answer = message.clone();
        let mut batch = Batch::new();
        match message.remove("content") {
            Some(Value::String(content)) => batch.put(Table::Contents, key.as_str(), content),
            other => {
                batch.delete(Table::Contents, key.as_str());
                message.extend(other.map(|content| ("content".to_owned(), content)));
            }
        }
        batch.put(Table::Messages, key, encode(&message));
        self.store.write(batch)?;
        Ok((created, answer))
    }

    /// Removes a message.
    pub fn delete_message(&self, chat_id: &str, id: &str) -> Result<(), Wrong> {
        let key = key(chat_id, id);
        if !self.store.contains(Table::Messages, &key)? {
            return Err(Wrong::Missing("no such message"));
        }
        let mut batch = Batch::new();
        batch.delete(Table::Messages, key.as_str());
        batch.delete(Table::Contents, key);
        Ok(self.store.write(batch)?)
    }
}

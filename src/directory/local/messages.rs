//! Messages of saved chats, as backends read and write them.
//!
//! A message's `content`, when it is text, lies in a table of its own, so that a token costs an append and
//! no parse. All else of it is one JSON object.

use super::records::{Local, Record, RecordError, check_id, encode};
use crate::store::{Batch, StoreError, Table, key};
use serde_json::Value;

impl Local {
    /// A message, whole.
    pub fn message_record(&self, chat_id: &str, id: &str) -> Result<Option<Record>, StoreError> {
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
    ) -> Result<Option<Vec<Record>>, StoreError> {
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

    fn with_content(&self, key: &str, mut message: Record) -> Result<Record, StoreError> {
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
    ) -> Result<(bool, Record), RecordError> {
        check_id("a message's id", id)?;
        if !self.store.contains(Table::Chats, chat_id)? {
            return Err(RecordError::Missing("no such chat"));
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
    pub fn delete_message(&self, chat_id: &str, id: &str) -> Result<(), RecordError> {
        let key = key(chat_id, id);
        if !self.store.contains(Table::Messages, &key)? {
            return Err(RecordError::Missing("no such message"));
        }
        let mut batch = Batch::new();
        batch.delete(Table::Messages, key.as_str());
        batch.delete(Table::Contents, key);
        Ok(self.store.write(batch)?)
    }
}

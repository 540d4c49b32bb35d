//! Chats: who may read and write them, and who has read them.

use super::grants;
use super::records::{Local, Record, RecordError, check_id, denied, encode, owner, second, text};
use crate::directory::types::{Access, Identity, Refusal, is_saved_chat};
use crate::ground::clock::now;
use crate::store::{Batch, StoreError, Table, key};
use serde_json::{Value, json};

/// What events of clients need.
impl Local {
    pub(in crate::directory) fn chat_access(
        &self,
        who: &Identity,
        chat_id: &str,
    ) -> Result<Access, Refusal> {
        let Some(chat) = self.record(Table::Chats, chat_id)? else {
            return Ok(Access::None);
        };
        if owner(&chat) == who.user.id {
            return Ok(Access::Write);
        }
        // As the reference: administrators may look, not write.
        let by_role = match who.user.role.as_str() {
            "admin" => Access::Read,
            _ => Access::None,
        };
        Ok(by_role.max(grants::granted(&chat, &who.user.id)))
    }

    pub(in crate::directory) fn mark_chat_read(
        &self,
        who: &Identity,
        chat_id: &str,
    ) -> Result<i64, Refusal> {
        if self.chat_access(who, chat_id)? < Access::Read {
            return denied("no access to the chat");
        }
        let now = now();
        let mut batch = Batch::new();
        batch.put(Table::Reads, key(chat_id, &who.user.id), now.to_string());
        self.store.write(batch)?;
        Ok(now)
    }
}

/// What backends do.
impl Local {
    /// A chat without its messages.
    pub fn chat(&self, id: &str) -> Result<Option<Record>, StoreError> {
        let Some(chat) = self.record(Table::Chats, id)? else {
            return Ok(None);
        };
        self.with_read(id, chat).map(Some)
    }

    /// Up to `limit` chats by id, those after `after`; only those of `user_id`, if given.
    pub fn chats(
        &self,
        user_id: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let Some(user_id) = user_id else {
            let found = self.records(Table::Chats, "", after, limit)?.into_iter();
            return found.map(|(id, chat)| self.with_read(&id, chat)).collect();
        };
        let after = match after {
            "" => String::new(),
            after => key(user_id, after),
        };
        let owned = self
            .store
            .scan(Table::Owned, &key(user_id, ""), &after, limit)?;
        let mut chats = Vec::new();
        for (owned, _) in owned {
            if let Some(id) = second(&owned) {
                chats.extend(self.chat(&id)?);
            }
        }
        Ok(chats)
    }

    /// Adds when the owner read the chat last.
    fn with_read(&self, id: &str, mut chat: Record) -> Result<Record, StoreError> {
        let read = self.store.get(Table::Reads, &key(id, owner(&chat)))?;
        let read = read.and_then(|at| crate::ground::json::read::<Value>(&at).ok());
        chat.insert("last_read_at".to_owned(), read.unwrap_or(Value::Null));
        Ok(chat)
    }

    /// Makes the chat or replaces it, not its messages; whether it was made, and the chat.
    pub fn put_chat(&self, id: &str, mut chat: Record) -> Result<(bool, Record), RecordError> {
        check_id("a chat's id", id)?;
        if !is_saved_chat(id) {
            let why = "chats whose ids begin with temporary:, local: or channel: are not saved";
            return Err(RecordError::Invalid(why.to_owned()));
        }
        let user_id = text(&chat, "user_id")?.unwrap_or("").to_owned();
        check_id("user_id", &user_id)?;
        let title = text(&chat, "title")?.unwrap_or("").to_owned();
        grants::check(&chat)?;
        let before = self.record(Table::Chats, id)?;
        let created_at = before.as_ref().and_then(|b| b.get("created_at").cloned());
        chat.remove("last_read_at");
        chat.insert("id".to_owned(), id.into());
        chat.insert("title".to_owned(), title.into());
        chat.insert("created_at".to_owned(), created_at.unwrap_or(now().into()));
        chat.insert("updated_at".to_owned(), now().into());
        if chat.get("access_grants").is_none_or(Value::is_null) {
            chat.insert("access_grants".to_owned(), json!([]));
        }
        let mut batch = Batch::new();
        if let Some(before) = &before {
            batch.delete(Table::Owned, key(owner(before), id));
        }
        batch.put(Table::Owned, key(&user_id, id), "");
        batch.put(Table::Chats, id, encode(&chat));
        self.store.write(batch)?;
        Ok((before.is_none(), self.with_read(id, chat)?))
    }

    /// Removes the chat and its messages.
    pub fn delete_chat(&self, id: &str) -> Result<(), RecordError> {
        let Some(chat) = self.record(Table::Chats, id)? else {
            return Err(RecordError::Missing("no such chat"));
        };
        let mut batch = Batch::new();
        batch.delete(Table::Chats, id);
        batch.delete(Table::Owned, key(owner(&chat), id));
        for table in [Table::Messages, Table::Contents, Table::Reads] {
            for second in self.seconds(table, id)? {
                batch.delete(table, key(id, &second));
            }
        }
        Ok(self.store.write(batch)?)
    }
}

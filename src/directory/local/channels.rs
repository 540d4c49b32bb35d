//! Channels and their members.

use super::records::{Local, Record, RecordError, check_id, denied, encode, text};
use crate::directory::types::{Identity, Refusal};
use crate::ground::clock::now;
use crate::store::{Batch, StoreError, Table, key};
use serde_json::Value;

/// What putting a channel changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelChange {
    pub created: bool,
    pub channel: Record,
    /// Users that became members, and that are members no more.
    pub added: Vec<String>,
    pub removed: Vec<String>,
}

/// What events of clients need.
impl Local {
    pub(in crate::directory) fn channels(&self, who: &Identity) -> Result<Vec<String>, Refusal> {
        Ok(self.seconds(Table::Memberships, &who.user.id)?)
    }

    pub(in crate::directory) fn mark_channel_read(
        &self,
        who: &Identity,
        channel_id: &str,
    ) -> Result<(), Refusal> {
        let member = key(channel_id, &who.user.id);
        let Some(mut record) = self.record(Table::Members, &member)? else {
            return denied("not a member of the channel");
        };
        record.insert("last_read_at".to_owned(), now().into());
        let mut batch = Batch::new();
        batch.put(Table::Members, member, encode(&record));
        Ok(self.store.write(batch)?)
    }
}

/// What backends do.
impl Local {
    /// A channel.
    pub fn channel(&self, id: &str) -> Result<Option<Record>, StoreError> {
        self.record(Table::Channels, id)
    }

    /// Up to `limit` channels by id, those after `after`.
    pub fn all_channels(&self, after: &str, limit: usize) -> Result<Vec<Record>, StoreError> {
        let found = self.records(Table::Channels, "", after, limit)?;
        Ok(found.into_iter().map(|(_, record)| record).collect())
    }

    /// The members of a channel by user id; `None` if there is no such channel.
    pub fn members(
        &self,
        id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Option<Vec<Record>>, StoreError> {
        if self.channel(id)?.is_none() {
            return Ok(None);
        }
        let after = match after {
            "" => String::new(),
            after => key(id, after),
        };
        let found = self.records(Table::Members, &key(id, ""), &after, limit)?;
        Ok(Some(found.into_iter().map(|(_, record)| record).collect()))
    }

    /// Makes the channel or replaces it. `members`, if given, becomes the whole list of members.
    pub fn put_channel(
        &self,
        id: &str,
        mut channel: Record,
        members: Option<Vec<String>>,
    ) -> Result<ChannelChange, RecordError> {
        check_id("a channel's id", id)?;
        let name = text(&channel, "name")?.unwrap_or(id).to_owned();
        let before = self.channel(id)?;
        let created_at = before.as_ref().and_then(|b| b.get("created_at").cloned());
        channel.insert("id".to_owned(), id.into());
        channel.insert("name".to_owned(), name.into());
        channel.insert("created_at".to_owned(), created_at.unwrap_or(now().into()));
        channel.insert("updated_at".to_owned(), now().into());
        let mut change = ChannelChange {
            created: before.is_none(),
            ..ChannelChange::default()
        };
        let mut batch = Batch::new();
        if let Some(mut wanted) = members {
            wanted.sort_unstable();
            wanted.dedup();
            let present = self.seconds(Table::Members, id)?;
            let less = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|id| !b.contains(id)).cloned().collect()
            };
            change.added = less(&wanted, &present);
            change.removed = less(&present, &wanted);
            for user in &change.added {
                check_id("a user's id", user)?;
                put_member(&mut batch, id, user);
            }
            for user in &change.removed {
                delete_member(&mut batch, id, user);
            }
        }
        batch.put(Table::Channels, id, encode(&channel));
        self.store.write(batch)?;
        change.channel = channel;
        Ok(change)
    }

    /// Removes the channel; returns who was in it.
    pub fn delete_channel(&self, id: &str) -> Result<Vec<String>, RecordError> {
        if self.channel(id)?.is_none() {
            return Err(RecordError::Missing("no such channel"));
        }
        let members = self.seconds(Table::Members, id)?;
        let mut batch = Batch::new();
        batch.delete(Table::Channels, id);
        for user in &members {
            delete_member(&mut batch, id, user);
        }
        self.store.write(batch)?;
        Ok(members)
    }

    /// Lets a user into a channel; `false` if they are in it.
    pub fn put_member(&self, id: &str, user_id: &str) -> Result<bool, RecordError> {
        check_id("a user's id", user_id)?;
        if self.channel(id)?.is_none() {
            return Err(RecordError::Missing("no such channel"));
        }
        if self.record(Table::Members, &key(id, user_id))?.is_some() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        put_member(&mut batch, id, user_id);
        self.store.write(batch)?;
        Ok(true)
    }

    /// Removes a user from a channel.
    pub fn delete_member(&self, id: &str, user_id: &str) -> Result<(), RecordError> {
        if self.record(Table::Members, &key(id, user_id))?.is_none() {
            return Err(RecordError::Missing("no such member"));
        }
        let mut batch = Batch::new();
        delete_member(&mut batch, id, user_id);
        Ok(self.store.write(batch)?)
    }
}

fn put_member(batch: &mut Batch, channel: &str, user: &str) {
    let fields: [(&str, Value); 4] = [
        ("channel_id", channel.into()),
        ("user_id", user.into()),
        ("joined_at", now().into()),
        ("last_read_at", Value::Null),
    ];
    let fields = fields.map(|(field, value)| (field.to_owned(), value));
    let record = fields.into_iter().collect();
    batch.put(Table::Members, key(channel, user), encode(&record));
    batch.put(Table::Memberships, key(user, channel), "");
}

fn delete_member(batch: &mut Batch, channel: &str, user: &str) {
    batch.delete(Table::Members, key(channel, user));
    batch.delete(Table::Memberships, key(user, channel));
}

//! Users: who a token's bearer is, and when they were here last.

use super::records::{Local, Record, RecordError, check_id, denied, encode, text};
use crate::directory::types::{Identity, Refusal, User};
use crate::ground::clock::now;
use crate::store::{Batch, StoreError, Table, key};
use crate::token::Claims;
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Fields of a user that no session entry and no other user sees (contract, Identity).
const PRIVATE: [&str; 5] = [
    "profile_image_url",
    "profile_banner_image_url",
    "date_of_birth",
    "bio",
    "gender",
];

/// How long `last_active_at` may stay in memory: all users seen meanwhile cost one commit.
const SEEN_DELAY: Duration = Duration::from_secs(60);

/// What putting a user changed.
#[derive(Clone, Debug, PartialEq)]
pub struct UserChange {
    pub created: bool,
    /// The user may now do other things than before: open sessions rest on what is no longer true.
    pub access_changed: bool,
    pub user: Record,
}

/// What events of clients need.
impl Local {
    pub(in crate::directory) fn identify(
        &self,
        token: &str,
        claims: &Claims,
    ) -> Result<Identity, Refusal> {
        let user = match self.record(Table::Users, &claims.id)? {
            Some(record) => user_of(&claims.id, &record)?,
            None if self.trust_claims => user_of_claims(claims)?,
            None => return denied("no such user"),
        };
        Ok(Identity {
            user,
            token: token.into(),
            claims: claims.clone(),
            as_of: Cell::new(self.changes.get()),
        })
    }

    /// Whether nothing was changed since that could change the answer.
    pub(in crate::directory) fn is_same(&self, known: &Identity) -> bool {
        known.as_of.get() == self.changes.get()
    }

    pub(in crate::directory) fn recheck(&self, who: &Identity) -> Result<(), Refusal> {
        let role = match self.record(Table::Users, &who.user.id)? {
            Some(record) => user_of(&who.user.id, &record)?.role,
            None if self.trust_claims => user_of_claims(&who.claims)?.role,
            None => return denied("the user is gone"),
        };
        if role == who.user.role {
            return Ok(());
        }
        denied("the user's role has changed")
    }

    pub(in crate::directory) fn seen(self: &Rc<Self>, who: &Identity, now: i64) {
        let mut seen = self.seen.borrow_mut();
        match seen.get_mut(&who.user.id) {
            Some(at) => *at = now,
            None => drop(seen.insert(who.user.id.clone(), now)),
        }
        drop(seen);
        let local = self.clone();
        let write = || async move {
            smol::Timer::after(SEEN_DELAY).await;
            // The store has logged what is wrong, and this is not worth a second line.
            let _ = local.write_seen();
        };
        self.writing_seen
            .start(&self.tasks, "writes who was active", write);
    }
}

/// What backends do.
impl Local {
    /// Writes `last_active_at` of everybody seen since the last time.
    pub(super) fn write_seen(&self) -> Result<(), StoreError> {
        let seen = self.seen.take();
        let mut batch = Batch::new();
        for (id, at) in seen {
            // Who is known by a token alone has no entry to write to.
            let Some(mut record) = self.record(Table::Users, &id)? else {
                continue;
            };
            record.insert("last_active_at".to_owned(), at.into());
            batch.put(Table::Users, id, encode(&record));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.write_users(batch)
    }

    fn write_users(&self, batch: Batch) -> Result<(), StoreError> {
        self.changes.set(self.changes.get() + 1);
        self.store.write(batch)
    }

    /// A user, whole.
    pub fn user(&self, id: &str) -> Result<Option<Record>, StoreError> {
        let record = self.record(Table::Users, id)?;
        Ok(record.map(|record| self.as_seen(id, record)))
    }

    /// Up to `limit` users by id, those after `after`.
    pub fn users(&self, after: &str, limit: usize) -> Result<Vec<Record>, StoreError> {
        let found = self.records(Table::Users, "", after, limit)?.into_iter();
        let users = found.map(|(id, record)| self.as_seen(&id, record));
        Ok(users.collect())
    }

    fn as_seen(&self, id: &str, mut record: Record) -> Record {
        if let Some(at) = self.seen.borrow().get(id) {
            record.insert("last_active_at".to_owned(), (*at).into());
        }
        record
    }

    /// Makes the user or replaces them.
    pub fn put_user(&self, id: &str, mut user: Record) -> Result<UserChange, RecordError> {
        check_id("a user's id", id)?;
        let name = text(&user, "name")?.unwrap_or(id).to_owned();
        let role = text(&user, "role")?.unwrap_or("user").to_owned();
        if !["user", "admin", "pending"].contains(&role.as_str()) {
            let why = "role is one of user, admin, pending".to_owned();
            return Err(RecordError::Invalid(why));
        }
        let before = self.user(id)?;
        let field = |record: &Record, field: &str| record.get(field).cloned();
        let created_at = before.as_ref().and_then(|b| field(b, "created_at"));
        let active_at = before.as_ref().and_then(|b| field(b, "last_active_at"));
        user.insert("id".to_owned(), id.into());
        user.insert("name".to_owned(), name.into());
        user.insert("role".to_owned(), role.as_str().into());
        user.insert("created_at".to_owned(), created_at.unwrap_or(now().into()));
        user.insert("updated_at".to_owned(), now().into());
        if let Some(at) = active_at {
            user.entry("last_active_at").or_insert(at);
        }
        let mut batch = Batch::new();
        batch.put(Table::Users, id, encode(&user));
        self.write_users(batch)?;
        Ok(UserChange {
            created: before.is_none(),
            access_changed: before.is_some_and(|b| b.get("role") != user.get("role")),
            user,
        })
    }

    /// Removes the user from the directory and from every channel; returns those channels. What the
    /// user wrote stays.
    pub fn delete_user(&self, id: &str) -> Result<Vec<String>, RecordError> {
        if self.record(Table::Users, id)?.is_none() {
            return Err(RecordError::Missing("no such user"));
        }
        self.seen.borrow_mut().remove(id);
        let channels = self.seconds(Table::Memberships, id)?;
        let mut batch = Batch::new();
        batch.delete(Table::Users, id);
        for channel in &channels {
            batch.delete(Table::Members, key(channel, id));
            batch.delete(Table::Memberships, key(id, channel));
        }
        self.write_users(batch)?;
        Ok(channels)
    }
}

/// A user with an entry.
fn user_of(id: &str, record: &Record) -> Result<User, Refusal> {
    let field = |field| record.get(field).and_then(Value::as_str);
    let role = field("role").unwrap_or("pending");
    let public = record
        .iter()
        .filter(|(name, _)| !PRIVATE.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()));
    admit(role)?;
    Ok(User {
        id: id.to_owned(),
        name: field("name").unwrap_or(id).to_owned(),
        role: role.to_owned(),
        record: json_text(&public.collect()),
    })
}

/// The user that a token describes by itself.
fn user_of_claims(claims: &Claims) -> Result<User, Refusal> {
    let role = claims.role.as_deref().unwrap_or("user");
    admit(role)?;
    let name = claims.name.as_deref().unwrap_or(&claims.id);
    let fields = [("id", claims.id.as_str()), ("name", name), ("role", role)];
    let record = fields.map(|(field, value)| (field.to_owned(), value.into()));
    Ok(User {
        id: claims.id.clone(),
        name: name.to_owned(),
        role: role.to_owned(),
        record: json_text(&record.into_iter().collect()),
    })
}

/// A session holds it as long as it lives: as text it is smallest.
fn json_text(record: &Record) -> Rc<str> {
    String::from_utf8(encode(record)).unwrap_or_default().into()
}

fn admit(role: &str) -> Result<(), Refusal> {
    match role {
        "user" | "admin" => Ok(()),
        "pending" => denied("the user is not let in yet"),
        _ => denied("the role is neither user nor admin"),
    }
}

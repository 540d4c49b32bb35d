//! The directory that the embedded store keeps.

use super::{Access, Emptying, Identity, List, NoteView, Refusal, User};
use crate::token::Claims;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// What is not yet there says so instead of lying.
const NOT_YET: Refusal = Refusal::Unavailable("the store is not there yet");

/// Users, channels, notes and chats of the embedded store.
pub struct Local {
    /// May a token's own claims make a user that has no entry?
    trust_claims: bool,
}

impl Local {
    /// A directory with no entries. With `trust_claims` the claims `id`, `name` and `role` of a valid token
    /// make the user when there is no entry.
    pub fn new(trust_claims: bool) -> Self {
        Self { trust_claims }
    }

    pub(super) fn identify(&self, token: &str, claims: &Claims) -> Result<Identity, Refusal> {
        if !self.trust_claims {
            return Err(Refusal::Denied("no such user"));
        }
        Ok(Identity {
            user: user_of(claims)?,
            token: token.into(),
            claims: claims.clone(),
        })
    }

    pub(super) fn recheck(&self, who: &Identity) -> Result<(), Refusal> {
        self.identify(&who.token, &who.claims).map(|_| ())
    }

    pub(super) fn channels(&self, _who: &Identity) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    pub(super) fn note(&self, _who: &Identity, _id: &str) -> Result<Option<NoteView>, Refusal> {
        Ok(None)
    }

    pub(super) async fn save_note(
        &self,
        _who: &Identity,
        _id: &str,
        _data: &RawValue,
        _emptying: Emptying,
    ) -> Result<Box<RawValue>, Refusal> {
        Err(NOT_YET)
    }

    pub(super) fn chat_access(&self, _who: &Identity, _id: &str) -> Result<Access, Refusal> {
        Ok(Access::None)
    }

    pub(super) fn mark_channel_read(&self, _who: &Identity, _id: &str) -> Result<(), Refusal> {
        Err(NOT_YET)
    }

    pub(super) fn mark_chat_read(&self, _who: &Identity, _id: &str) -> Result<i64, Refusal> {
        Err(NOT_YET)
    }

    pub(super) fn seen(&self, _who: &Identity) {}

    pub(super) fn message(
        &self,
        _chat: &str,
        _message: &str,
    ) -> Result<Option<Map<String, Value>>, Refusal> {
        Ok(None)
    }

    pub(super) fn append_status(
        &self,
        _chat: &str,
        _message: &str,
        _status: &RawValue,
    ) -> Result<bool, Refusal> {
        Err(NOT_YET)
    }

    pub(super) fn append_content(
        &self,
        _chat: &str,
        _message: &str,
        _content: &str,
    ) -> Result<bool, Refusal> {
        Err(NOT_YET)
    }

    pub(super) fn replace_content(
        &self,
        _chat: &str,
        _message: &str,
        _content: &str,
    ) -> Result<bool, Refusal> {
        Err(NOT_YET)
    }

    pub(super) fn prepend_list(
        &self,
        _chat: &str,
        _message: &str,
        _list: List,
        _entries: &[&RawValue],
    ) -> Result<bool, Refusal> {
        Err(NOT_YET)
    }

    pub(super) fn append_source(
        &self,
        _chat: &str,
        _message: &str,
        _source: &RawValue,
    ) -> Result<bool, Refusal> {
        Err(NOT_YET)
    }

    pub(super) async fn durable(&self) -> Result<(), Refusal> {
        Ok(())
    }

    pub(super) fn degraded(&self) -> Option<String> {
        None
    }
}

/// The user that a token describes by itself.
fn user_of(claims: &Claims) -> Result<User, Refusal> {
    let role = claims.role.as_deref().unwrap_or("user");
    if role != "user" && role != "admin" {
        return Err(Refusal::Denied("the role is neither user nor admin"));
    }
    let name = claims.name.as_deref().unwrap_or(&claims.id);
    let mut record = Map::new();
    for (key, value) in [("id", claims.id.as_str()), ("name", name), ("role", role)] {
        record.insert(key.to_owned(), Value::from(value));
    }
    Ok(User {
        id: claims.id.clone(),
        name: name.to_owned(),
        role: role.to_owned(),
        record,
    })
}

//! Saved chats: what may be done with them, and events of their messages.

use super::client::UpstreamRequest;
use super::rest::{Outcome, is_uuid};
use super::webui::{ACCESS_HOLDS, OpenWebui, access_key};
use crate::directory::types::{Access, Identity, Refusal, Saved};
use crate::metrics;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Instant;

const NO_SESSION: Refusal = Refusal::Unavailable("the user has no session here to save it with");

#[derive(Deserialize)]
struct Chat {
    id: String,
    chat: Inner,
}

#[derive(Deserialize)]
struct Inner {
    /// `continue` for whoever may write.
    share_mode: Option<String>,
}

impl OpenWebui {
    pub(in crate::directory) async fn chat_access(
        &self,
        who: &Identity,
        chat_id: &str,
    ) -> Result<Access, Refusal> {
        if !is_uuid(chat_id) {
            return Ok(Access::None);
        }
        let key = access_key(&who.user.id, "chat", chat_id);
        if let Some(access) = self.access.get(&key, ACCESS_HOLDS, Instant::now()) {
            return Ok(access);
        }
        let ask = async || Ok((self.fetch_chat_access(who, chat_id).await?, ()));
        match self.learn(&who.user.id, key.clone(), ask).await {
            Ok((access, ())) => Ok(access),
            Err(refusal) => self.access.last(&key, Instant::now()).ok_or(refusal),
        }
    }

    /// Hands an event of a message to Open WebUI's own emitter, which saves it by type and emits it to the user, whose
    /// chat it must be and with whose token it goes.
    pub(in crate::directory) async fn save_event(
        &self,
        author: Option<&Identity>,
        chat_id: &str,
        message_id: &str,
        event: &RawValue,
    ) -> Result<Saved, Refusal> {
        let author = author.ok_or(NO_SESSION)?;
        let saved = match is_uuid(chat_id) && is_uuid(message_id) {
            true => self.post_event(author, chat_id, message_id, event).await?,
            false => false,
        };
        if !saved {
            metrics::refused("event save");
            return Ok(Saved::NoMessage);
        }
        Ok(Saved::Yes)
    }

    /// `false`: there is no such chat, or it did not take the event.
    async fn post_event(
        &self,
        author: &Identity,
        chat_id: &str,
        message_id: &str,
        event: &RawValue,
    ) -> Result<bool, Refusal> {
        let path = format!("/api/v1/chats/{chat_id}/messages/{message_id}/event");
        let request = UpstreamRequest::post(&path, &author.token, event.get().to_owned());
        match self.rest.send(request).await? {
            Outcome::Success(body) => {
                let taken: Option<bool> = self.rest.parse(&path, &body)?;
                Ok(taken == Some(true))
            }
            Outcome::TooLarge | Outcome::Refused(_) => Ok(false),
        }
    }

    async fn fetch_chat_access(&self, who: &Identity, chat_id: &str) -> Result<Access, Refusal> {
        let path = format!("/api/v1/chats/{chat_id}");
        match self
            .rest
            .send(UpstreamRequest::get(&path, &who.token))
            .await?
        {
            Outcome::Success(body) => Ok(access(&self.rest.parse(&path, &body)?, chat_id)),
            // Who may not read it gets nothing; whether they may write is somewhere in a body that is too large.
            Outcome::TooLarge => Ok(Access::Read),
            Outcome::Refused(_) => Ok(Access::None),
        }
    }
}

fn access(chat: &Chat, chat_id: &str) -> Access {
    match chat.chat.share_mode.as_deref() {
        _ if !chat.id.eq_ignore_ascii_case(chat_id) => Access::None,
        Some("continue") => Access::Write,
        _ => Access::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_read_as_open_webui_answers_it() {
        let read = |json: &str| access(&serde_json::from_str(json).unwrap(), "a1");
        let write = r#"{"id":"a1","user_id":"u","chat":{"title":"T","share_mode":"continue"}}"#;
        assert_eq!(read(write), Access::Write);
        let look = r#"{"id":"a1","user_id":"u","chat":{"share_mode":null}}"#;
        assert_eq!(read(look), Access::Read);
        assert_eq!(read(r#"{"id":"a1","chat":{}}"#), Access::Read);
        assert_eq!(read(r#"{"id":"b2","chat":{}}"#), Access::None);
    }
}

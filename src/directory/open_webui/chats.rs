//! Saved chats: what may be done with them.

use super::super::{Access, Identity, Refusal};
use super::client::Question;
use super::{HOLDS, OpenWebui, Says, is_id, key};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::rc::Rc;
use std::time::Instant;

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
    pub(in super::super) async fn chat_access(
        self: &Rc<Self>,
        who: &Identity,
        chat_id: &str,
    ) -> Result<Access, Refusal> {
        if !is_id(chat_id) {
            return Ok(Access::None);
        }
        let key = key(&who.user, "chat", chat_id);
        if let Some(access) = self.access.get(&key, HOLDS, Instant::now()) {
            return Ok(access);
        }
        match self.fetch_chat_access(who, chat_id).await {
            Ok(access) => {
                self.learn(key, access);
                Ok(access)
            }
            Err(refusal) => self.access.last(&key, Instant::now()).ok_or(refusal),
        }
    }

    /// Hands an event of a message to Open WebUI's own emitter: it saves it by type, and emits it to the user, whose chat it
    /// must be. `false`: there is no such chat, or it did not take it.
    pub async fn save_event(
        self: &Rc<Self>,
        who: &Identity,
        chat_id: &str,
        message_id: &str,
        event: &RawValue,
    ) -> Result<bool, Refusal> {
        if !is_id(chat_id) || !is_id(message_id) {
            return Ok(false);
        }
        let path = format!("/api/v1/chats/{chat_id}/messages/{message_id}/event");
        let question = Question {
            // Twice would be twice in the message.
            repeatable: false,
            ..Question::post(&path, &who.token, event.get().to_owned())
        };
        match self.ask(question).await? {
            Says::Yes(body) => Ok(self.read::<Option<bool>>(&path, &body)? == Some(true)),
            Says::TooMuch | Says::No(_) => Ok(false),
        }
    }

    async fn fetch_chat_access(
        self: &Rc<Self>,
        who: &Identity,
        chat_id: &str,
    ) -> Result<Access, Refusal> {
        let path = format!("/api/v1/chats/{chat_id}");
        match self.ask(Question::get(&path, &who.token)).await? {
            Says::Yes(body) => Ok(access(&self.read(&path, &body)?, chat_id)),
            // Who may not read it gets nothing; whether they may write stands somewhere in too much.
            Says::TooMuch => Ok(Access::Read),
            Says::No(_) => Ok(Access::None),
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
    fn a_chat_is_read_as_open_webui_tells_it() {
        let read = |json: &str| access(&serde_json::from_str(json).unwrap(), "a1");
        let write = r#"{"id":"a1","user_id":"u","chat":{"title":"T","share_mode":"continue"}}"#;
        assert_eq!(read(write), Access::Write);
        let look = r#"{"id":"a1","user_id":"u","chat":{"share_mode":null}}"#;
        assert_eq!(read(look), Access::Read);
        assert_eq!(read(r#"{"id":"a1","chat":{}}"#), Access::Read);
        assert_eq!(read(r#"{"id":"b2","chat":{}}"#), Access::None);
    }
}

//! What others than its user get of an event: those who have the chat open, or everybody in the channel.

use super::answers::Answer;
use super::channel::{self, ChannelMessage};
use super::completion::{self, Completion};
use super::head;
use crate::directory::{MessageEvent, is_saved_chat};
use crate::ground::{json, rooms};
use crate::socket::Object;
use serde_json::json;
use std::time::Instant;

/// Types that others who have the chat open get as they are.
const SHARED: [&str; 10] = [
    "chat:messages",
    "chat:active",
    "status",
    "source",
    "citation",
    "files",
    "embeds",
    "chat:message:error",
    "chat:tasks:cancel",
    "chat:message:follow_ups",
];

/// Whose message it is, and where.
#[derive(Clone)]
pub struct Whose {
    pub user_id: String,
    pub chat_id: String,
    pub message_id: Option<String>,
    /// Part of the application's own work: for nobody but the user.
    pub internal: bool,
}

/// What others get, if anything, and whether the answer is complete with it.
#[derive(Default)]
pub struct Copy {
    pub payload: Option<String>,
    pub is_last: bool,
}

impl From<Option<String>> for Copy {
    fn from(payload: Option<String>) -> Self {
        Self {
            payload,
            is_last: false,
        }
    }
}

impl Whose {
    /// The channel whose message it is.
    pub fn channel_id(&self) -> Option<&str> {
        self.chat_id.strip_prefix("channel:")
    }

    /// The event of that name goes to this room.
    pub fn others(&self) -> (String, &'static str) {
        match self.channel_id() {
            Some(id) => (rooms::of_channel(id), "events:channel"),
            None => (rooms::of_chat(&self.chat_id), "events"),
        }
    }

    /// By what its answer is known: ids have no control characters.
    pub fn key(&self) -> String {
        let message_id = self.message_id.as_deref().unwrap_or_default();
        [&*self.chat_id, "\n", message_id].concat()
    }

    /// Whether what others get of it follows from what is known of the answer.
    pub fn adds(&self, kind: &str) -> bool {
        match self.channel_id() {
            Some(_) => channel::is_update(kind),
            None => self.is_shared() && matches!(kind, "chat:completion" | "response:completion"),
        }
    }

    fn is_shared(&self) -> bool {
        !self.internal && is_saved_chat(&self.chat_id)
    }

    /// What others get of an event that is shared as it is.
    pub fn same(&self, event: &MessageEvent<'_>) -> Option<String> {
        let is = self.is_shared() && SHARED.contains(&&*event.kind);
        is.then(|| self.payload(event.raw))
    }

    /// What they get of one that changes the answer.
    pub fn change(&self, answer: &mut Answer, event: &MessageEvent<'_>, now: Instant) -> Copy {
        if let Some(channel_id) = self.channel_id() {
            let message = ChannelMessage {
                channel_id,
                message_id: self.message_id.as_deref(),
                user_id: &self.user_id,
            };
            return message.update(answer, event, now).into();
        }
        let data = event.data.unwrap_or("{}");
        let Ok(Object(completion)) = json::text::<Object<Completion<'_>>>(data) else {
            return Copy::default();
        };
        let streamed = event.kind == "response:completion";
        let copy = completion::shared(answer, &completion, data, streamed, now);
        Copy {
            payload: copy.map(|copy| self.payload(&copy)),
            is_last: completion::is_true(completion.done),
        }
    }

    fn payload(&self, event: &str) -> String {
        let head = head(&self.chat_id, self.message_id.as_deref());
        let user_id = json!(self.user_id);
        format!(
            r#"{{"shared":true,"user_id":{user_id},{}{event}}}"#,
            &head[1..]
        )
    }
}

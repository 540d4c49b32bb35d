//! A backend asks one browser and waits for its ack (contract, Caller).
//!
//! Questions to a person (`input`, `confirmation`, ...) carry an `interaction_id`; they end with
//! `request:interaction:done`, however they end, and follow the person to another session when theirs is lost.

use super::chats::Chats;
use super::core::Core;
use super::emitter;
use super::sessions::Sessions;
use crate::ground::random::uuid;
use crate::ground::tasks::within;
use crate::socket::{Args, CallError, Object, Target};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// How long a question to a person waits for another session when its own is lost.
const RESUME: Duration = Duration::from_secs(60);
/// How often other instances are asked for one.
const ASK: Duration = Duration::from_millis(500);

/// Whom a backend asks, and about which message.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// On whose behalf: the session must be this user's.
    pub user_id: String,
    pub session_id: String,
    pub chat_id: String,
    pub message_id: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The event is not an object with a text `type`, or is a question to a person whose `data` is no object.
    NotAnEvent,
    /// No such session.
    Unknown,
    /// The session is another user's.
    NotTheirs,
    /// The session left before it answered.
    Gone,
    /// It did not answer in time.
    Timeout,
}

/// Asking browsers.
pub struct Calls {
    core: &'static Core,
    sessions: &'static Sessions,
    chats: &'static Chats,
}

impl Calls {
    pub fn new(core: &'static Core, sessions: &'static Sessions, chats: &'static Chats) -> Self {
        Self {
            core,
            sessions,
            chats,
        }
    }

    /// Asks, and waits at most `timeout`, and never longer than `WEBSOCKET_EVENT_CALLER_TIMEOUT`. Returns the ack's
    /// arguments.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(
        &self,
        question: &Question,
        event: &RawValue,
        timeout: Option<Duration>,
    ) -> Result<Args<'static>, NoAnswer> {
        let longest = self.core.config.caller_timeout;
        let deadline = Instant::now() + timeout.map_or(longest, |timeout| timeout.min(longest));
        let (event, interaction) = prepare(event)?;
        let owner = self.sessions.owner(&question.session_id).await;
        if owner.ok_or(NoAnswer::Unknown)? != question.user_id {
            return Err(NoAnswer::NotTheirs);
        }
        let head = emitter::head(&question.chat_id, question.message_id.as_deref());
        let args = Args::from_json(format!("{head}{event}}}"));
        let Some(interaction_id) = interaction else {
            return self.call(&question.session_id, &args, deadline).await;
        };
        let mut asked = Asked {
            calls: self,
            question,
            interaction_id,
            session_id: question.session_id.clone(),
        };
        loop {
            match self.call(&asked.session_id, &args, deadline).await {
                Err(NoAnswer::Gone) => asked.session_id = asked.resume(deadline).await?,
                answer => return answer,
            }
        }
    }

    async fn call(
        &self,
        session_id: &str,
        args: &Args<'_>,
        deadline: Instant,
    ) -> Result<Args<'static>, NoAnswer> {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.core.peers.call(session_id, "events", args, left).await;
        answer.map_err(|error| match error {
            CallError::Timeout => NoAnswer::Timeout,
            CallError::Gone => NoAnswer::Gone,
        })
    }
}

/// The event as it is sent, and its interaction id when it is a question to a person.
fn prepare(event: &RawValue) -> Result<(String, Option<String>), NoAnswer> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    let Object(kind): Object<Typed> =
        serde_json::from_str(event.get()).map_err(|_| NoAnswer::NotAnEvent)?;
    let to_a_person = matches!(
        &*kind.r#type,
        "input" | "confirmation" | "request:user_input" | "request:elicitation"
    );
    if !to_a_person {
        return Ok((event.get().into(), None));
    }
    let mut event: Map<String, Value> =
        crate::ground::json::owned(event.get()).map_err(|_| NoAnswer::NotAnEvent)?;
    let data = event.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = json!({});
    }
    let data = data.as_object_mut().ok_or(NoAnswer::NotAnEvent)?;
    let id = uuid();
    data.insert("interaction_id".into(), id.as_str().into());
    Ok((Value::Object(event).to_string(), Some(id)))
}

/// A question to a person, until its end.
struct Asked<'a> {
    calls: &'a Calls,
    question: &'a Question,
    interaction_id: String,
    /// Where it is asked now.
    session_id: String,
}

impl Asked<'_> {
    /// The session is lost: waits for another one of the user with the chat open.
    async fn resume(&self, deadline: Instant) -> Result<String, NoAnswer> {
        let Question {
            user_id, chat_id, ..
        } = self.question;
        let Calls { core, chats, .. } = self.calls;
        let until = deadline.min(Instant::now() + RESUME);
        loop {
            let lost = &self.session_id;
            if let Some(sid) = chats.open_elsewhere(user_id, chat_id, lost).await {
                return Ok(sid);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoAnswer::Gone);
            }
            let wait = match core.peers.is_alone() {
                true => left,
                false => left.min(ASK),
            };
            within(wait, chats.wait_for_open(user_id, chat_id, lost)).await;
        }
    }
}

impl Drop for Asked<'_> {
    /// Answered, late, lost or given up by the backend: the browser can put the question away.
    fn drop(&mut self) {
        let event = json!({
            "chat_id": self.question.chat_id,
            "message_id": self.question.message_id,
            "data": {
                "type": "request:interaction:done",
                "data": { "interaction_id": self.interaction_id },
            },
        });
        let target = Target::room(&self.session_id);
        let args = Args::one(&event);
        self.calls.core.peers.emit(&target, "events", &args);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    #[test]
    fn a_question_to_a_person_gets_an_interaction_id() {
        let (event, id) = prepare(&raw(r#"{"type":"input","data":{"title":"T"}}"#)).unwrap();
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["data"]["interaction_id"], id.unwrap());
        assert_eq!(event["data"]["title"], "T");
        let (_, id) = prepare(&raw(r#"{"type":"confirmation"}"#)).unwrap();
        assert!(id.is_some());
        let code = r#"{"type":"execute:python", "data": {"code":"1"}}"#;
        assert_eq!(prepare(&raw(code)).unwrap(), (code.to_string(), None));
        for bad in [
            "1",
            "[]",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"input","data":"x"}"#,
        ] {
            assert_eq!(prepare(&raw(bad)), Err(NoAnswer::NotAnEvent), "{bad}");
        }
    }
}

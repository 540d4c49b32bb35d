//! A backend asks one browser and waits for its ack (contract, Caller).
//!
//! Questions to a person (`input`, `confirmation`, ...) carry an `interaction_id`; they end with
//! `request:interaction:done`, however they end, and follow the person to another session when theirs is lost, if they are about
//! a saved chat and not about one session.

use super::chats::Chats;
use super::core::Core;
use super::emitter;
use super::sessions::Sessions;
use crate::directory::is_saved_chat;
use crate::ground::random::uuid;
use crate::ground::tasks::{Bell, within};
use crate::socket::{Args, CallError, Object, Target};
use futures_lite::future::or;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a question to a person waits for another session when its own is lost.
const RESUME: Duration = Duration::from_secs(60);
/// How often other instances are asked for one.
const ASK: Duration = Duration::from_millis(500);
/// How long a question that has its own time waits if it does not say, at least, and at most.
const OWN_TIME: Duration = Duration::from_secs(120);
const LEAST_TIME: Duration = Duration::from_secs(60);
const MOST_TIME: Duration = Duration::from_secs(240);

/// As long as there is somebody to answer.
const FOR_EVER: Duration = Duration::from_secs(366 * 86400);

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
    /// The server goes down.
    ending: Cell<bool>,
    ended: Bell,
}

impl Calls {
    pub fn new(core: &'static Core, sessions: &'static Sessions, chats: &'static Chats) -> Self {
        Self {
            core,
            sessions,
            chats,
            ending: Cell::new(false),
            ended: Bell::default(),
        }
    }

    /// No question waits for a session that may come any more; for a server that goes down.
    pub fn end(&self) {
        self.ending.set(true);
        self.core.hub.end_held();
        self.ended.ring();
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
        let Prepared {
            event,
            interaction,
            own_time,
            one_session,
        } = prepare(event)?;
        let times = [timeout, own_time, self.core.config.caller_timeout];
        let time = times.into_iter().flatten().min().unwrap_or(FOR_EVER);
        let deadline = Instant::now() + time;
        let owner = self.sessions.owner(&question.session_id).await;
        if owner.ok_or(NoAnswer::Unknown)? != question.user_id {
            return Err(NoAnswer::NotTheirs);
        }
        let head = emitter::head(&question.chat_id, question.message_id.as_deref());
        let args = Args::from_json(format!("{head}{event}}}"));
        let Some(interaction_id) = interaction else {
            let session_id = &question.session_id;
            return self.call(session_id, &args, deadline, true).await;
        };
        let may_resume = !one_session && is_saved_chat(&question.chat_id);
        let mut asked = Asked {
            calls: self,
            question,
            interaction_id,
            session_id: question.session_id.clone(),
        };
        loop {
            let answer = self.call(&asked.session_id, &args, deadline, !may_resume);
            match answer.await {
                Err(NoAnswer::Gone) if may_resume => {
                    asked.session_id = asked.resume(deadline).await?
                }
                answer => return answer,
            }
        }
    }

    async fn call(
        &self,
        session_id: &str,
        args: &Args<'_>,
        deadline: Instant,
        waits: bool,
    ) -> Result<Args<'static>, NoAnswer> {
        let left = deadline.saturating_duration_since(Instant::now());
        let peers = &self.core.peers;
        let answer = peers.call(session_id, "events", args, left, waits).await;
        answer.map_err(|error| match error {
            CallError::Timeout => NoAnswer::Timeout,
            CallError::Gone => NoAnswer::Gone,
        })
    }
}

/// An event as it is sent, and what follows from it.
#[derive(Debug, Default, PartialEq)]
struct Prepared {
    event: String,
    /// Its interaction id, when it is a question to a person.
    interaction: Option<String>,
    /// How long it waits, if that is its own to say.
    own_time: Option<Duration>,
    /// It is about one session: no other can answer.
    one_session: bool,
}

fn prepare(event: &RawValue) -> Result<Prepared, NoAnswer> {
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
        return Ok(Prepared {
            event: event.get().into(),
            ..Prepared::default()
        });
    }
    let mut event: Map<String, Value> =
        crate::ground::json::owned(event.get()).map_err(|_| NoAnswer::NotAnEvent)?;
    let data = event.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = json!({});
    }
    let data = data.as_object_mut().ok_or(NoAnswer::NotAnEvent)?;
    let own_time = own_time(&kind.r#type, data);
    let one_session = data.contains_key("session_id");
    let id = uuid();
    data.insert("interaction_id".into(), id.as_str().into());
    Ok(Prepared {
        event: Value::Object(event).to_string(),
        interaction: Some(id),
        own_time,
        one_session,
    })
}

/// How long a question waits that has its own time.
fn own_time(kind: &str, data: &Map<String, Value>) -> Option<Duration> {
    let given = |field: &str| data.get(field).is_some_and(|value| !is_nothing(value));
    if !(kind.starts_with("request:") || kind == "confirmation" && given("tool_call")) {
        return None;
    }
    let time = match data.get("timeout_ms") {
        Some(Value::Number(ms)) if ms.is_i64() => {
            Duration::from_millis(ms.as_u64().unwrap_or_default())
        }
        Some(Value::Number(ms)) if ms.is_u64() => MOST_TIME,
        _ => OWN_TIME,
    };
    Some(time.clamp(LEAST_TIME, MOST_TIME))
}

/// Null, false, zero or empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
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
    /// The session is lost: waits for another one of the user with the chat open, or for itself.
    async fn resume(&self, deadline: Instant) -> Result<String, NoAnswer> {
        let Question {
            user_id, chat_id, ..
        } = self.question;
        let Calls { core, chats, .. } = self.calls;
        let until = deadline.min(Instant::now() + RESUME);
        let mut first = true;
        loop {
            let lost = &self.session_id;
            // At first what others know of it may be old.
            if !std::mem::take(&mut first) && core.peers.owner(lost).await.as_ref() == Some(user_id)
            {
                return Ok(lost.clone());
            }
            if let Some(sid) = chats.open_elsewhere(user_id, chat_id, lost).await {
                return Ok(sid);
            }
            let until = match core.hub.is_awaited(lost) {
                true => deadline,
                false => until,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.calls.ending.get() {
                return Err(NoAnswer::Gone);
            }
            let wait = match core.peers.is_alone() {
                true => left,
                false => left.min(ASK),
            };
            let opened = chats.wait_for_open(user_id, chat_id, lost);
            let ended = self
                .calls
                .ended
                .until(|| self.calls.ending.get().then_some(()));
            within(wait, or(opened, ended)).await;
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
        let asked = prepare(&raw(r#"{"type":"input","data":{"title":"T"}}"#)).unwrap();
        let event: Value = serde_json::from_str(&asked.event).unwrap();
        assert_eq!(event["data"]["interaction_id"], asked.interaction.unwrap());
        assert_eq!(event["data"]["title"], "T");
        assert!(!asked.one_session);
        let asked = prepare(&raw(r#"{"type":"confirmation"}"#)).unwrap();
        assert!(asked.interaction.is_some() && asked.own_time.is_none());
        let asked = prepare(&raw(r#"{"type":"input","data":{"session_id":null}}"#)).unwrap();
        assert!(asked.one_session);
        let code = r#"{"type":"execute:python", "data": {"code":"1"}}"#;
        let as_it_is = Prepared {
            event: code.to_string(),
            ..Prepared::default()
        };
        assert_eq!(prepare(&raw(code)).unwrap(), as_it_is);
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
    #[test]
    fn some_questions_have_their_own_time() {
        let time = |kind: &str, data: Value| {
            let event = json!({ "type": kind, "data": data }).to_string();
            let time = prepare(&raw(&event)).unwrap().own_time;
            time.map(|time| time.as_secs())
        };
        for kind in ["request:user_input", "request:elicitation"] {
            assert_eq!(time(kind, json!({})), Some(120));
        }
        for (ms, expected) in [
            (json!(90_000), 90),
            (json!(1), 60),
            (json!(-5), 60),
            (json!(9_000_000), 240),
            (json!(u64::MAX), 240),
            (json!(90_000.0), 120),
            (json!("90000"), 120),
            (json!(true), 120),
            (json!(null), 120),
        ] {
            let data = json!({ "timeout_ms": ms });
            assert_eq!(
                time("request:elicitation", data.clone()),
                Some(expected),
                "{ms}"
            );
            assert_eq!(time("confirmation", data.clone()), None);
            assert_eq!(time("input", data), None);
            let data = json!({ "timeout_ms": ms, "tool_call": {"id": 1} });
            assert_eq!(time("confirmation", data), Some(expected), "{ms}");
        }
        let data = json!({ "timeout_ms": 1, "tool_call": {} });
        assert_eq!(time("confirmation", data), None);
    }
}

//! An answer in a channel: its events become updates of the channel's message. Nobody keeps them: the message is the backend's.

use super::answers::Answer;
use super::completion::{Completion, is_true};
use crate::directory::MessageEvent;
use crate::ground::json;
use crate::socket::Object;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Instant;

/// The message of a channel that a backend writes.
pub struct ChannelMessage<'a> {
    pub channel_id: &'a str,
    pub message_id: Option<&'a str>,
    /// Whose message it is.
    pub user_id: &'a str,
}

#[derive(Serialize)]
struct Update<'a> {
    channel_id: &'a str,
    message_id: Option<&'a str>,
    data: Typed<Message<'a>>,
}

#[derive(Serialize)]
struct Typed<T> {
    r#type: &'static str,
    data: T,
}

#[derive(Serialize)]
struct Message<'a> {
    id: Option<&'a str>,
    channel_id: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    data: Data<'a>,
    meta: Meta,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    files: &'a [Value],
}

#[derive(Serialize)]
struct Meta {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    done: bool,
}

impl ChannelMessage<'_> {
    /// The payload of `events:channel` that the event becomes; `None`: none, or not now.
    pub fn update(
        &self,
        answer: &mut Answer,
        event: &MessageEvent<'_>,
        now: Instant,
    ) -> Option<String> {
        let data = event.data?;
        let change = change_of(&event.kind)?;
        change(answer, data, now)
            .then(|| self.payload(answer))
            .flatten()
    }

    fn payload(&self, answer: &Answer) -> Option<String> {
        let update = Update {
            channel_id: self.channel_id,
            message_id: self.message_id,
            data: Typed {
                r#type: "message:update",
                data: Message {
                    id: self.message_id,
                    channel_id: self.channel_id,
                    user_id: self.user_id,
                    content: answer.content.as_deref(),
                    data: Data {
                        output: answer.output(),
                        files: &answer.files,
                    },
                    meta: Meta { done: answer.done },
                },
            },
        };
        serde_json::to_string(&update).ok()
    }
}

/// Whether an event of this type changes the message.
pub fn is_update(kind: &str) -> bool {
    change_of(kind).is_some()
}

/// Whether it changes the message, and now.
type Change = fn(&mut Answer, &str, Instant) -> bool;

fn change_of(kind: &str) -> Option<Change> {
    Some(match kind {
        "chat:completion" => complete,
        "response:completion" => stream,
        "files" | "chat:message:files" => add_files,
        "chat:message:error" => fail,
        _ => return None,
    })
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Option<T> {
    json::text(data).ok().map(|Object(data)| data)
}

fn complete(answer: &mut Answer, data: &str, now: Instant) -> bool {
    let Some(completion) = read::<Completion<'_>>(data) else {
        return false;
    };
    let (done, output) = (is_true(completion.done), completion.output_list());
    let given = completion
        .content
        .and_then(|text| json::owned::<String>(text.get()).ok());
    let given = given.unwrap_or_default();
    if given.is_empty() && !is_true(output) && !done {
        return false;
    }
    answer.take(output, None);
    let at_once = done || is_true(completion.flush);
    if !at_once && !answer.is_due(now) {
        return false;
    }
    let text = || output.map_or_else(String::new, |_| answer.text());
    let content = if given.is_empty() { text() } else { given };
    set(answer, content, done, now)
}

fn stream(answer: &mut Answer, data: &str, now: Instant) -> bool {
    let Some(completion) = read::<Completion<'_>>(data) else {
        return false;
    };
    answer.take(completion.output_list(), Some(data));
    if answer.is_lost() || !answer.is_due(now) {
        return false;
    }
    let content = answer.text();
    !content.is_empty() && set(answer, content, false, now)
}

fn add_files(answer: &mut Answer, data: &str, _: Instant) -> bool {
    #[derive(Deserialize)]
    struct Files {
        files: Vec<Value>,
    }
    let Some(Object(Files { mut files })) = json::owned(data).ok() else {
        return false;
    };
    for file in files.iter_mut().filter_map(Value::as_object_mut) {
        if let Some(id) = file.get("id").filter(|id| id.is_string()).cloned() {
            file.insert("url".into(), id);
        }
    }
    let any = !files.is_empty();
    let added = any && answer.add_files(files, data.len());
    if any && !added {
        log::warn!("a channel's message has too many files, more are not added");
    }
    added
}

fn fail(answer: &mut Answer, data: &str, now: Instant) -> bool {
    let Some(Object(data)) = json::owned::<Object<serde_json::Map<String, Value>>>(data).ok()
    else {
        return false;
    };
    let why = match data.get("error") {
        None => "An error occurred".to_owned(),
        Some(Value::Object(error)) => match error.get("content") {
            None => "An error occurred".to_owned(),
            Some(why) => words(why),
        },
        Some(why) => words(why),
    };
    set(answer, format!("Error: {why}"), true, now)
}

/// Text as it is, all else as JSON.
fn words(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn set(answer: &mut Answer, content: String, done: bool, now: Instant) -> bool {
    answer.content = Some(content);
    answer.done |= done;
    answer.updated(now);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::emitter::answers::Answers;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_message_is_updated_at_most_every_150_ms_unless_it_ends_or_is_flushed() {
        let (answers, start) = (Answers::default(), Instant::now());
        let message = ChannelMessage {
            channel_id: "c",
            message_id: Some("m"),
            user_id: "u",
        };
        let update = |ms, kind: &str, data: Value| {
            let event = json!({ "type": kind, "data": data }).to_string();
            let event = RawValue::from_string(event).unwrap();
            let event = MessageEvent::read(event.get(), event.get()).unwrap();
            let now = start + Duration::from_millis(ms);
            let update = |answer: &mut Answer| message.update(answer, &event, now);
            let payload = answers.change("k", now, update)?;
            let payload: Value = serde_json::from_str(&payload).unwrap();
            let data = &payload["data"]["data"];
            Some((
                data["content"].as_str().unwrap_or("").to_owned(),
                data["meta"] == json!({"done": true}),
            ))
        };
        let whole = |text| json!({ "content": text });
        let told = |text: &str, done| Some((text.to_owned(), done));
        assert_eq!(update(0, "chat:completion", whole("a")), told("a", false));
        assert_eq!(update(149, "chat:completion", whole("ab")), None);
        assert_eq!(
            update(150, "chat:completion", whole("abc")),
            told("abc", false)
        );
        let flushed = json!({"content": "abcd", "flush": true});
        assert_eq!(update(151, "chat:completion", flushed), told("abcd", false));
        let delta = json!({"type": "response.output_text.delta", "delta": "x"});
        assert_eq!(update(300, "response:completion", delta.clone()), None);
        assert_eq!(update(301, "response:completion", delta), told("xx", false));
        assert_eq!(
            update(302, "chat:completion", json!({"done": true})),
            told("", true)
        );
        let files = json!({"files": [{"id": "f"}]});
        assert_eq!(update(302, "files", files), told("", true));
        assert_eq!(update(302, "files", json!({"files": []})), None);
        assert_eq!(
            update(302, "chat:message:error", json!({"error": "E"})),
            told("Error: E", true)
        );
        let nothing = "Error: An error occurred";
        assert_eq!(
            update(302, "chat:message:error", json!({"error": {}})),
            told(nothing, true)
        );
        assert_eq!(update(302, "status", json!({})), None);
        // What is too long to be kept is sent no more until all of it comes.
        let delta = |text: &str| json!({"type": "response.output_text.delta", "delta": text});
        let long = "x".repeat(3 << 20);
        assert!(update(500, "response:completion", delta(&long)).is_some());
        assert_eq!(update(700, "response:completion", delta("tail")), None);
        assert_eq!(
            update(
                701,
                "chat:completion",
                json!({"content": "all", "done": true})
            ),
            told("all", true)
        );
        for bad in [json!([]), json!("x"), json!(null), json!(7)] {
            for kind in [
                "chat:completion",
                "response:completion",
                "files",
                "chat:message:error",
            ] {
                assert_eq!(update(999, kind, bad.clone()), None, "{kind} {bad}");
            }
        }
        assert_eq!(update(999, "files", json!({"files": 1})), None);
    }
}

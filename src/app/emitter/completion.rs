//! The `data` of `chat:completion` and `response:completion`, and the copy of it for others who have the chat open.

use super::answers::Answer;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::time::Instant;

/// Its fields as they came; null is there, too.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Completion<'a> {
    #[serde(borrow, deserialize_with = "present")]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    pub done: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    error: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    pub content: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    selected_model_id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    sources: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    output: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    pub flush: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Completion<'a> {
    /// The whole output, if it is there.
    pub fn output_list(&self) -> Option<&'a RawValue> {
        self.output.filter(|output| output.get().starts_with('['))
    }

    /// Does it only add to what is there?
    fn is_delta(&self) -> bool {
        self.r#type
            .is_some_and(|kind| kind.get().ends_with(".delta\""))
    }
}

/// Is it something, as JavaScript and Python understand it?
pub fn is_true(value: Option<&RawValue>) -> bool {
    let nothing = ["null", "false", "0", "\"\"", "[]", "{}"];
    value.is_some_and(|value| !nothing.contains(&value.get()))
}

/// What others who have the chat open get instead of it, as JSON; nothing if it only adds and they got something just now.
pub fn shared(
    answer: &mut Answer,
    completion: &Completion<'_>,
    data: &str,
    streamed: bool,
    now: Instant,
) -> Option<String> {
    answer.take(completion.output_list(), streamed.then_some(data));
    if completion.is_delta() && (answer.is_lost() || !answer.is_due(now)) {
        return None;
    }
    answer.updated(now);
    let output = answer.output();
    let fields = [
        ("done", completion.done),
        ("error", completion.error),
        ("usage", completion.usage),
        ("finish_reason", completion.finish_reason),
        ("content", completion.content),
        ("selected_model_id", completion.selected_model_id),
        ("sources", completion.sources),
        ("output", output.as_deref()),
    ];
    let mut copy = String::from(r#"{"type":"chat:completion","data":{"#);
    let mut comma = "";
    for (name, value) in fields {
        if let Some(value) = value {
            for part in [comma, "\"", name, "\":", value.get()] {
                copy.push_str(part);
            }
            comma = ",";
        }
    }
    copy.push_str("}}");
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::emitter::answers::Answers;
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn others_get_what_only_adds_at_most_every_150_ms() {
        let (answers, start) = (Answers::default(), Instant::now());
        let copy = |ms, data: Value| {
            let (data, now) = (data.to_string(), start + Duration::from_millis(ms));
            let completion = serde_json::from_str(&data).unwrap();
            let copy = answers.change("a", now, |answer| {
                shared(answer, &completion, &data, true, now)
            });
            copy.map(|copy| serde_json::from_str::<Value>(&copy).unwrap()["data"].take())
        };
        let delta = |text: &str| json!({"type": "response.output_text.delta", "delta": text});
        let text = |copy: Option<Value>| copy.unwrap()["output"][0]["content"][0]["text"].take();
        assert_eq!(text(copy(0, delta("a"))), "a");
        assert_eq!(copy(100, delta("b")), None);
        assert_eq!(copy(149, delta("c")), None);
        assert_eq!(text(copy(150, delta("d"))), "abcd");
        assert_eq!(copy(299, delta("e")), None);
        // What is no mere addition goes at once, with all that was added; the pause begins anew.
        let done = json!({"type": "response.output_text.done", "text": "abcde!"});
        assert_eq!(text(copy(300, done)), "abcde!");
        assert_eq!(copy(449, delta("f")), None);
        let usage = json!({"usage": {"total": 1}, "choices": [], "finish_reason": null});
        let copied = copy(449, usage).unwrap();
        assert_eq!(copied["usage"], json!({"total": 1}));
        assert_eq!(copied["finish_reason"], Value::Null);
        assert_eq!(copied.as_object().unwrap().len(), 3, "{copied}");
        // What is too long to be kept is sent no more until all of it comes.
        assert!(copy(900, delta(&"x".repeat(3 << 20))).is_some());
        assert_eq!(copy(9000, delta("tail")), None);
        let content = json!([{"text": "all"}]);
        let whole = json!({"output": [{"type": "message", "content": content}], "done": true});
        assert_eq!(text(copy(9001, whole)), "all");
    }
}

//! The output of an answer so far: a list of items, put together from the events of a model that streams responses.
//!
//! Items and their parts are found by their index, at most [`MOST`] of each; what an event says of others is ignored.

use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

/// Items of an output, and parts of an item.
const MOST: usize = 1024;

/// What an item counts that is made for a text, and a part.
const MADE_ITEM: usize = 128;
const MADE_PART: usize = 48;

/// Applies one event of the stream, of so many bytes of JSON, to the output. How many bytes it adds at most.
pub fn apply(output: &mut Vec<Value>, event: &Object, bytes: usize) -> usize {
    let kind = event.get("type").and_then(Value::as_str).unwrap_or("");
    let Some(kind) = kind.strip_prefix("response.") else {
        return 0;
    };
    match (kind, kind.split_once('.')) {
        ("output_item.added", _) => add_item(output, event),
        ("output_item.done", _) => finish_item(output, event),
        ("content_part.added", _) => add_part(output, event, "content"),
        ("reasoning_summary_part.added", _) => add_part(output, event, "summary"),
        ("content_part.done", _) => finish_part(output, event, "content", "content_index"),
        ("reasoning_summary_part.done", _) => {
            finish_part(output, event, "summary", "summary_index");
        }
        ("completed", _) => complete(output, event),
        (_, Some((field, rest))) if rest == "delta" || rest.ends_with(".delta") => {
            let made = add_delta(output, event, field);
            // Around the text there is much more that is not kept.
            let delta = event.get("delta").and_then(Value::as_str);
            let delta = delta.filter(|_| made == 0);
            return made + delta.map_or(bytes, |text| text.len() + field.len() + 8);
        }
        (_, Some((field, rest))) if rest == "done" || rest.ends_with(".done") => {
            finish_field(output, event, field);
        }
        _ => {}
    }
    bytes
}

/// The text of its messages, one a line.
pub fn text(output: &[Value]) -> String {
    let messages = output.iter().filter(|item| item["type"] == "message");
    let texts = messages.filter_map(|item| {
        let parts = item["content"].as_array()?.iter();
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        (!text.trim().is_empty()).then_some(text)
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn index(event: &Object, field: &str) -> Option<usize> {
    usize::try_from(event.get(field)?.as_u64()?).ok()
}

/// The item that an event is about: the last one if it does not say.
fn item<'a>(output: &'a mut [Value], event: &Object) -> Option<&'a mut Object> {
    let last = output.len().checked_sub(1)?;
    let at = index(event, "output_index").unwrap_or(last);
    output.get_mut(at)?.as_object_mut()
}

fn given<'a>(event: &'a Object, field: &str) -> Option<&'a Value> {
    let value = event.get(field)?;
    value
        .as_object()
        .is_some_and(|object| !object.is_empty())
        .then_some(value)
}

fn add_item(output: &mut Vec<Value>, event: &Object) {
    let Some(new) = given(event, "item") else {
        return;
    };
    let same = |field: &str, other: &Value| !new[field].is_null() && new[field] == other[field];
    let known = output.iter().position(|known| {
        same("id", known) || same("call_id", known) && new["type"] == known["type"]
    });
    let at = index(event, "output_index").unwrap_or(output.len());
    match known {
        Some(known) => output[known] = new.clone(),
        None if output.len() >= MOST => {}
        None => output.insert(at.min(output.len()), new.clone()),
    }
}

fn finish_item(output: &mut Vec<Value>, event: &Object) {
    let Some(new) = given(event, "item") else {
        return;
    };
    let at = index(event, "output_index").or(output.len().checked_sub(1));
    match at.filter(|at| *at < output.len()) {
        Some(at) => output[at] = new.clone(),
        None if output.len() >= MOST => {}
        None => output.push(new.clone()),
    }
}

/// The parts of an item.
fn parts<'a>(item: &'a mut Object, field: &str) -> Option<&'a mut Vec<Value>> {
    item.entry(field)
        .or_insert_with(|| json!([]))
        .as_array_mut()
}

fn is(item: &Object, kind: &str) -> bool {
    item.get("type").is_some_and(|is| is == kind)
}

fn add_part(output: &mut [Value], event: &Object, field: &str) {
    let Some(item) = item(output, event) else {
        return;
    };
    // The content of reasoning comes as text alone.
    let taken = field == "summary" || !is(item, "reasoning");
    if let Some(parts) = parts(item, field)
        && taken
        && parts.len() < MOST
    {
        parts.push(event.get("part").cloned().unwrap_or_else(|| json!({})));
    }
}

fn finish_part(output: &mut [Value], event: &Object, field: &str, at: &str) {
    let part = given(event, "part");
    let (Some(part), Some(item)) = (part, item(output, event)) else {
        return;
    };
    if let Some(parts) = item.get_mut(field).and_then(Value::as_array_mut) {
        let at = index(event, at).or(parts.len().checked_sub(1));
        if let Some(known) = at.and_then(|at| parts.get_mut(at)) {
            *known = part.clone();
        }
    }
}

/// The bytes of places that it makes.
fn add_delta(output: &mut Vec<Value>, event: &Object, field: &str) -> usize {
    let mut made = 0;
    let at = index(event, "output_index").unwrap_or(output.len().saturating_sub(1));
    if at >= MOST {
        return made;
    }
    // Some models begin an item with its text.
    if at >= output.len() {
        let begun = || json!({ "type": "message", "status": "in_progress", "role": "assistant", "content": [] });
        made = (at + 1 - output.len()) * MADE_ITEM;
        output.resize_with(at + 1, begun);
        let kind = match field {
            "function_call_arguments" => "function_call",
            field if field.starts_with("reasoning") => "reasoning",
            _ => "message",
        };
        let id = event.get("item_id").cloned().unwrap_or(Value::Null);
        output[at]["id"] = id;
        output[at]["type"] = kind.into();
    }
    let Some(item) = output[at].as_object_mut() else {
        return made;
    };
    let delta = event.get("delta").cloned().unwrap_or_else(|| json!(""));
    let is_text = matches!(field, "text" | "output_text");
    let of_reasoning = matches!(field, "reasoning_text" | "reasoning_summary_text");
    let key = if is_text || of_reasoning {
        "text"
    } else {
        field
    };
    match item.get("type").and_then(Value::as_str).unwrap_or("") {
        kind if field == "function_call_arguments" => {
            if kind == "function_call" {
                merge(item.entry("arguments").or_insert_with(|| json!("")), delta);
            }
        }
        "message" if !of_reasoning => made += add_to_part(item, event, "content", key, delta),
        "message" => {}
        "reasoning" if field == "reasoning_summary_text" => {
            made += add_to_part(item, event, "summary", key, delta);
        }
        "reasoning" if field == "reasoning_text" => {
            made += add_to_part(item, event, "content", key, delta);
        }
        "reasoning" => {}
        _ => merge(item.entry(key).or_insert(Value::Null), delta),
    }
    made
}

/// Adds to a field of a part, which is made if it is not there. The bytes of parts that it makes.
fn add_to_part(item: &mut Object, event: &Object, list: &str, key: &str, delta: Value) -> usize {
    let mut made = 0;
    let (kind, at) = match list {
        "summary" => ("summary_text", "summary_index"),
        _ => ("text", "content_index"),
    };
    let at = index(event, at).unwrap_or(0);
    let Some(parts) = parts(item, list) else {
        return made;
    };
    if at >= MOST {
        return made;
    }
    if at >= parts.len() {
        made = (at + 1 - parts.len()) * MADE_PART;
        parts.resize_with(at + 1, || json!({ "type": kind, "text": "" }));
    }
    if let Some(part) = parts[at].as_object_mut() {
        merge(part.entry(key).or_insert(Value::Null), delta);
    }
    made
}

/// Texts are joined, objects merged, all else is replaced.
fn merge(target: &mut Value, source: Value) {
    match (target, source) {
        (Value::String(target), Value::String(source)) => target.push_str(&source),
        (Value::Object(target), Value::Object(source)) => {
            for (key, value) in source {
                match target.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => drop(target.insert(key, value)),
                }
            }
        }
        (target, source) => *target = source,
    }
}

fn finish_field(output: &mut [Value], event: &Object, field: &str) {
    let key = match field {
        "text" | "output_text" | "reasoning_text" | "reasoning_summary_text" => "text",
        "function_call_arguments" => "arguments",
        field => field,
    };
    let (Some(value), Some(item)) = (event.get(key), item(output, event)) else {
        return;
    };
    if field == "function_call_arguments" && !is(item, "function_call") {
        return;
    }
    if is(item, "message") {
        let at = index(event, "content_index").unwrap_or(0);
        if let Some(Value::Object(part)) =
            parts(item, "content").and_then(|parts| parts.get_mut(at))
        {
            part.insert(key.into(), value.clone());
        }
    } else if is(item, "reasoning") {
        item.insert("status".into(), "completed".into());
    } else {
        item.insert(key.into(), value.clone());
    }
}

fn complete(output: &mut Vec<Value>, event: &Object) {
    // Some models send none here, though they streamed some.
    if let Some(Value::Array(last)) = event.get("response").and_then(|all| all.get("output"))
        && !last.is_empty()
    {
        output.clone_from(last);
    }
    for item in output.iter_mut().filter_map(Value::as_object_mut) {
        if is(item, "reasoning") {
            item.insert("status".into(), "completed".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(events: &[Value]) -> Vec<Value> {
        let mut output = Vec::new();
        for event in events {
            apply(&mut output, event.as_object().unwrap(), 0);
        }
        output
    }

    #[test]
    fn an_answer_is_put_together() {
        let output = play(&[
            json!({"type": "response.created"}),
            json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "r", "type": "reasoning"}}),
            json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm"}),
            json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "m"}),
            json!({"type": "response.output_item.added", "output_index": 1, "item": {"id": "m", "type": "message", "content": []}}),
            json!({"type": "response.content_part.added", "output_index": 1, "part": {"type": "output_text", "text": ""}}),
            json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Hel"}),
            json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "lo"}),
            json!({"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "f", "delta": "{\"a\":"}),
            json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "1}"}),
            json!({"type": "response.completed", "response": {"output": []}}),
        ]);
        let expected = json!([
            {"id": "r", "type": "reasoning", "status": "completed", "summary": [{"type": "summary_text", "text": "Hmm"}]},
            {"id": "m", "type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            {"id": "f", "type": "function_call", "status": "in_progress", "role": "assistant", "content": [], "arguments": "{\"a\":1}"},
        ]);
        assert_eq!(Value::from(output.clone()), expected);
        assert_eq!(text(&output), "Hello");
    }

    #[test]
    fn what_is_done_replaces_what_was_streamed() {
        let mut output = play(&[
            json!({"type": "response.output_text.delta", "item_id": "m", "delta": "Helo"}),
            json!({"type": "response.output_text.done", "text": "Hello"}),
        ]);
        assert_eq!(text(&output), "Hello");
        let part = json!({"type": "response.content_part.done", "part": {"type": "output_text", "text": "Hello!"}});
        apply(&mut output, part.as_object().unwrap(), 0);
        assert_eq!(text(&output), "Hello!");
        let item = json!({"type": "response.output_item.done", "output_index": 0, "item": {"id": "m", "type": "message",
                          "content": [{"text": "Bye"}]}});
        apply(&mut output, item.as_object().unwrap(), 0);
        assert_eq!((text(&output), output.len()), ("Bye".into(), 1));
        let all = json!({"type": "response.completed", "response": {"output": [{"type": "message", "content": [{"text": "A"}]},
                         {"type": "message", "content": [{"text": " "}]}, {"type": "message", "content": [{"text": "B"}]}]}});
        apply(&mut output, all.as_object().unwrap(), 0);
        assert_eq!(text(&output), "A\nB");
    }

    #[test]
    fn places_far_away_are_not_made() {
        for event in [
            json!({"type": "response.output_text.delta", "output_index": 1e9 as u64, "delta": "x"}),
            json!({"type": "response.output_text.delta", "output_index": u64::MAX, "delta": "x"}),
            json!({"type": "response.output_text.delta", "content_index": MOST, "delta": "x"}),
            json!({"type": "response.output_text.delta", "output_index": -1, "delta": "x"}),
        ] {
            let output = play(std::slice::from_ref(&event));
            let bytes = Value::from(output).to_string().len();
            assert!(bytes < 1000, "{event}");
        }
        let many = vec![
            json!({"type": "response.output_item.added", "item": {"type": "message"}});
            MOST + 9
        ];
        assert_eq!(play(&many).len(), MOST);
    }
}

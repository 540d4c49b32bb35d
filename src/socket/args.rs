//! Arguments of events and acks: raw JSON that passes through unparsed, and binary attachments.

use super::Object;
use crate::ground::json;
use data_encoding::BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Arguments of an event or an ack: comma-separated JSON values without the brackets, and the
/// attachments that placeholders (`{"_placeholder":true,"num":0}`) in it refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args<'a> {
    json: Cow<'a, str>,
    attachments: Vec<Vec<u8>>,
}

impl<'a> Args<'a> {
    /// No arguments.
    pub fn none() -> Self {
        Self::default()
    }

    /// One argument made of any serializable value.
    pub fn one<T: Serialize + ?Sized>(value: &T) -> Args<'static> {
        let json = serde_json::to_string(value).expect("our own values are JSON");
        Args::from_json(json)
    }

    /// Arguments that are JSON text already: values joined by commas, no brackets.
    /// The text must be valid JSON values; who takes it from outside has parsed it (`RawValue`).
    pub fn from_json(json: impl Into<Cow<'a, str>>) -> Self {
        Self {
            json: json.into(),
            attachments: Vec::new(),
        }
    }

    /// The same with attachments for the placeholders in it.
    pub fn with_attachments(mut self, attachments: Vec<Vec<u8>>) -> Self {
        self.attachments = attachments;
        self
    }

    /// The values joined by commas, without brackets. Empty when there are none.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The attachments, by placeholder number.
    pub fn attachments(&self) -> &[Vec<u8>] {
        &self.attachments
    }

    /// Whether every placeholder has its attachment. A client's parser takes one that has none for a breach of the
    /// protocol, and disconnects.
    pub fn placeholders_fit(&self) -> bool {
        let read = |value: &RawValue| json::owned::<Value>(value.get());
        let fits = |value: &RawValue| read(value).is_ok_and(|v| fit(&v, self.attachments.len()));
        self.values().into_iter().all(fits)
    }

    /// The arguments one by one, unparsed.
    pub fn values(&self) -> Vec<&RawValue> {
        let mut values = Vec::new();
        let mut rest = &*self.json;
        loop {
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
            let Some(Ok(value)) = stream.next() else {
                return values;
            };
            values.push(value);
            let after = rest[stream.byte_offset()..].trim_start();
            rest = after.strip_prefix(',').unwrap_or(after);
        }
    }

    /// The first argument with attachments in their places as base64 text: for who speaks JSON alone. `None` when there is no
    /// argument.
    pub fn first_as_json(&self) -> Option<Box<RawValue>> {
        if self.attachments.is_empty() {
            return self.first();
        }
        let first: Box<RawValue> = self.first()?;
        let mut value = json::owned(first.get()).ok()?;
        fill(&mut value, &self.attachments);
        serde_json::value::to_raw_value(&value).ok()
    }

    /// The first argument read as `T`; `None` when it is missing or of another shape.
    pub fn first<'s, T: Deserialize<'s>>(&'s self) -> Option<T> {
        let mut stream = serde_json::Deserializer::from_str(&self.json).into_iter::<T>();
        match stream.next()? {
            Ok(first) => Some(first),
            Err(_) => self.first_deep(),
        }
    }

    /// The same for one that may nest deeper than serde_json reads at once.
    fn first_deep<'s, T: Deserialize<'s>>(&'s self) -> Option<T> {
        let mut stream = serde_json::Deserializer::from_str(&self.json).into_iter::<&RawValue>();
        let first = stream.next()?.ok()?;
        json::text(first.get()).ok()
    }

    /// The first argument, an object, read as `T`; `None` when it is missing or anything else.
    pub fn object<'s, T: Deserialize<'s>>(&'s self) -> Option<T> {
        self.first().map(|Object(object)| object)
    }

    /// One field of the first argument, an object, read as `T`: as far as it stands, whatever follows. `None` when there is no
    /// such field, or no object.
    pub fn field<T: DeserializeOwned>(&self, name: &str) -> Option<serde_json::Result<T>> {
        let inside = self.json.trim_start().strip_prefix('{')?;
        let mut rest = inside;
        loop {
            let (key, after) = next_value::<Cow<'_, str>>(rest)?;
            let after = after.trim_start().strip_prefix(':')?;
            let (value, after) = next_value::<&RawValue>(after)?;
            if key == name {
                return Some(json::owned(value.get()));
            }
            rest = after.trim_start().strip_prefix(',')?;
        }
    }

    /// The first argument, an object, without the values that are larger than so many bytes, those in its objects included; no
    /// argument if it is anything else, or still large: no event has a use for thousands of fields.
    pub fn without_large(self, most: usize) -> Args<'static> {
        let first: Option<&RawValue> = self.first();
        let slim = first.and_then(|first| slim(first, most, SLIM_DEPTH));
        let slim = slim.filter(|slim| slim.len() <= most.saturating_mul(4));
        Args::from_json(slim.unwrap_or_default()).with_attachments(self.attachments)
    }

    /// The same, owning its text: what a handler keeps across an await.
    pub fn into_owned(self) -> Args<'static> {
        Args {
            json: Cow::Owned(self.json.into_owned()),
            attachments: self.attachments,
        }
    }
}

/// How deep an event's fields lie.
const SLIM_DEPTH: usize = 4;

/// The JSON of an object without its large values.
fn slim(object: &RawValue, most: usize, depth: usize) -> Option<String> {
    let fields: BTreeMap<Cow<'_, str>, &RawValue> = json::text(object.get()).ok()?;
    let mut out = String::from("{");
    for (name, value) in fields {
        let inner = match value.get().len() > most {
            false => value.get().to_owned(),
            true if depth == 0 => continue,
            true => match slim(value, most, depth - 1) {
                Some(inner) => inner,
                None => continue,
            },
        };
        if out.len() > 1 {
            out.push(',');
        }
        out += &Value::from(name).to_string();
        out.push(':');
        out += &inner;
    }
    out.push('}');
    Some(out)
}

/// The value that a text begins with, and what follows it.
fn next_value<'a, T: Deserialize<'a>>(text: &'a str) -> Option<(T, &'a str)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let value = stream.next()?.ok()?;
    Some((value, text.get(stream.byte_offset()..)?))
}

/// Puts base64 of the attachments in place of their placeholders; null where there is none.
fn fill(value: &mut Value, attachments: &[Vec<u8>]) {
    match value {
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = map.get("num").and_then(Value::as_u64);
            let bytes = number.and_then(|number| attachments.get(usize::try_from(number).ok()?));
            *value = bytes.map(|bytes| BASE64.encode(bytes)).into();
        }
        Value::Object(map) => map.values_mut().for_each(|value| fill(value, attachments)),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, attachments)),
        _ => {}
    }
}

/// Whether the placeholders in a value are numbers below `count`.
fn fit(value: &Value, count: usize) -> bool {
    match value {
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = map.get("num").and_then(Value::as_u64);
            number.is_some_and(|number| number < count as u64)
        }
        Value::Object(map) => map.values().all(|value| fit(value, count)),
        Value::Array(values) => values.iter().all(|value| fit(value, count)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_one_by_one_as_they_were_written() {
        let args = Args::from_json("1, {\"a\": [1,2]},\"x,y\" ,null");
        let values: Vec<_> = args.values().iter().map(|v| v.get()).collect();
        assert_eq!(values, ["1", "{\"a\": [1,2]}", "\"x,y\"", "null"]);
        assert!(Args::none().values().is_empty());
        assert_eq!(args.first::<u8>(), Some(1));
        assert_eq!(args.first::<String>(), None);
        assert_eq!(args.object::<(u8,)>(), None);
    }

    #[test]
    fn large_values_are_left_out_wherever_they_are() {
        let long = "x".repeat(50);
        let json =
            format!(r#"{{"a":1,"b":"{long}","c":{{"d":"{long}","e":[2]}},"f":["{long}"]}},7"#);
        let slim = Args::from_json(json).without_large(40);
        assert_eq!(slim.json(), r#"{"a":1,"c":{"e":[2]}}"#);
        let many: Vec<_> = (0..100).map(|n| format!("\"{n}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        for none in ["", "7", "[1]", "{", &many] {
            assert!(Args::from_json(none).without_large(40).json().is_empty());
        }
    }

    #[test]
    fn a_field_is_found_whatever_follows() {
        let of = |json: &str| {
            let field = Args::from_json(json).field::<String>("id");
            field.map(|read| read.ok())
        };
        assert_eq!(
            of(r#"{"x":[{}], "\u0069d" : "a" , "#),
            Some(Some("a".into()))
        );
        assert_eq!(of(r#"{"id":7}"#), Some(None));
        for none in ["{}", "[]", r#"{"x":1}"#, r#"{"x" 1,"id":"a"}"#, ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn bytes_become_base64_for_who_speaks_json_alone() {
        let json = r#"[{"_placeholder":true,"num":1},{"a":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":7},1],2"#;
        let args = Args::from_json(json).with_attachments(vec![b"\x00\xff".to_vec(), Vec::new()]);
        let filled = args.first_as_json().unwrap();
        assert_eq!(filled.get(), r#"["",{"a":"AP8="},null,1]"#);
        let plain = Args::from_json(r#"{"_placeholder": true, "num":0}"#);
        assert_eq!(plain.first_as_json().unwrap().get(), plain.json());
        assert!(Args::none().first_as_json().is_none());
    }
}

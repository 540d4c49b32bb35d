//! Arguments of events and acks: raw JSON that passes through unparsed, and binary attachments.

use super::Object;
use crate::ground::json;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

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

    /// The same, owning its text: what a handler keeps across an await.
    pub fn into_owned(self) -> Args<'static> {
        Args {
            json: Cow::Owned(self.json.into_owned()),
            attachments: self.attachments,
        }
    }
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

//! Arguments of events and acks: raw JSON that passes through unparsed, and binary attachments.

use super::Object;
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
        let read = |value: &RawValue| serde_json::from_str::<Value>(value.get());
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

    /// The first argument read as `T`; `None` when it is missing or of another shape.
    pub fn first<'s, T: Deserialize<'s>>(&'s self) -> Option<T> {
        let mut stream = serde_json::Deserializer::from_str(&self.json).into_iter::<T>();
        stream.next()?.ok()
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
}

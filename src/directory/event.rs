//! An event of a message: its type decides whether and how it is saved (contract, Emitter).

use crate::socket::{Args, Object};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The type that an `events` or `events:channel` names in its `data`, if it does.
pub fn type_of(args: &Args<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Outer {
        data: Object<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        r#type: String,
    }
    let outer: Option<Outer> = args.object();
    outer.map(|outer| outer.data.0.r#type)
}

/// Types that are saved to the message.
const SAVED: [&str; 7] = [
    "status", "message", "replace", "embeds", "files", "source", "citation",
];

/// An event as it came, with its two fields found. Borrowed, since a stream brings one for each token.
pub struct MessageEvent<'a> {
    /// The whole event, as JSON.
    pub raw: &'a str,
    /// Its `type`.
    pub kind: Cow<'a, str>,
    /// Its `data`, as JSON.
    pub data: Option<&'a str>,
}

/// Not an object with a text `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEvent;

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> MessageEvent<'a> {
    /// Finds the fields of an event in `text`: the event, with text that can be saved. One that is no JSON is no event.
    pub fn read(raw: &'a str, text: &'a str) -> Result<Self, NotAnEvent> {
        let Object(fields): Object<Fields<'a>> =
            serde_json::from_str(text).map_err(|_| NotAnEvent)?;
        Ok(Self {
            raw,
            kind: fields.r#type,
            data: fields.data.map(RawValue::get),
        })
    }

    /// Is its type one that is saved?
    pub fn is_saved(&self) -> bool {
        SAVED.contains(&&*self.kind)
    }
}

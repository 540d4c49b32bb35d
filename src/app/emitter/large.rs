//! A large event of a message: read, and written for who gets it, beside our thread.

use crate::directory::{Change, MessageEvent, NotAnEvent};
use crate::ground::json;
use crate::socket::{Args, Written};
use std::borrow::Cow;
use std::ops::Range;

/// An event with all that is made of it.
pub struct Large {
    raw: String,
    /// The same, if some of its text can't be saved as it is.
    mended: Option<String>,
    kind: String,
    /// Where its data stands.
    data: Option<Range<usize>>,
    /// What the user's sessions get, written.
    pub(super) made: Option<(Args<'static>, Written)>,
    /// What it changes of its message.
    pub(super) change: Option<Change<'static>>,
}

/// How one is read.
pub struct Reading {
    /// The payload up to the event.
    pub head: String,
    /// Somebody is told its number.
    pub numbers: bool,
    /// It is saved, if it is of a type that is.
    pub saves: bool,
}

impl Large {
    /// Reads an event.
    ///
    /// # Errors
    /// It is none.
    pub fn read(raw: String, how: &Reading) -> Result<Self, NotAnEvent> {
        let mended = json::mend(&raw);
        let event = MessageEvent::read(&raw, &mended)?;
        let change = how.saves.then(|| Change::of(&event).into_owned());
        let kind = event.kind.into_owned();
        let data = event.data.map(|data| {
            let start = data.as_ptr().addr() - mended.as_ptr().addr();
            start..start + data.len()
        });
        let args = Args::from_json([&how.head, &*raw, "}"].concat());
        let written = Written::new("events", &args, how.numbers);
        let mended = match mended {
            Cow::Owned(mended) => Some(mended),
            Cow::Borrowed(_) => None,
        };
        Ok(Self {
            raw,
            mended,
            kind,
            data,
            made: Some((args, written)),
            change,
        })
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn event(&self) -> MessageEvent<'_> {
        let text = self.mended.as_ref().unwrap_or(&self.raw);
        MessageEvent {
            raw: &self.raw,
            kind: (&*self.kind).into(),
            data: self.data.clone().and_then(|data| text.get(data)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(numbers: bool) -> Reading {
        Reading {
            head: "{\"data\":".into(),
            numbers,
            saves: true,
        }
    }

    #[test]
    fn a_large_event_is_read_as_a_small_one() {
        for raw in [
            r#"{"type":"x","data":{"a":"\ud83d"}}"#,
            r#" {"data":[1] , "type":"na\u006de"} "#,
            r#"{"type":"x"}"#,
            r#"{"type":"x","data":null}"#,
        ] {
            let large = Large::read(raw.to_owned(), &how(false)).unwrap();
            let (event, mended) = (large.event(), json::mend(raw));
            let small = MessageEvent::read(raw, &mended).unwrap();
            assert_eq!((event.raw, &event.kind), (small.raw, &small.kind));
            assert_eq!(event.data, small.data);
            let (args, _) = large.made.unwrap();
            assert_eq!(args.json(), format!("{{\"data\":{raw}}}"));
        }
        for raw in ["", "[]", "{}", "{\"type\":1}"] {
            assert!(Large::read(raw.to_owned(), &how(true)).is_err(), "{raw}");
        }
    }
}

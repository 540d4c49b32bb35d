//! A large event of a message: read, and written for who gets it, beside our thread.

use crate::directory::{MessageEvent, NotAnEvent};
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
    /// What the user's sessions get, and as frames.
    pub(super) args: Args<'static>,
    pub(super) written: Option<Written>,
}

impl Large {
    /// Reads an event; `head` is the payload up to it. `numbers`: somebody is told its number.
    ///
    /// # Errors
    /// It is none.
    pub fn read(raw: String, head: &str, numbers: bool) -> Result<Self, NotAnEvent> {
        let mended = json::mend(&raw);
        let event = MessageEvent::read(&raw, &mended)?;
        let kind = event.kind.into_owned();
        let data = event.data.map(|data| {
            let start = data.as_ptr().addr() - mended.as_ptr().addr();
            start..start + data.len()
        });
        let args = Args::from_json([head, &raw, "}"].concat());
        let written = Some(Written::new("events", &args, numbers));
        let mended = match mended {
            Cow::Owned(mended) => Some(mended),
            Cow::Borrowed(_) => None,
        };
        Ok(Self {
            raw,
            mended,
            kind,
            data,
            args,
            written,
        })
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

    #[test]
    fn a_large_event_is_read_as_a_small_one() {
        for raw in [
            r#"{"type":"x","data":{"a":"\ud83d"}}"#,
            r#" {"data":[1] , "type":"na\u006de"} "#,
            r#"{"type":"x"}"#,
            r#"{"type":"x","data":null}"#,
        ] {
            let large = Large::read(raw.to_owned(), "{\"data\":", false).unwrap();
            let (event, mended) = (large.event(), json::mend(raw));
            let small = MessageEvent::read(raw, &mended).unwrap();
            assert_eq!((event.raw, &event.kind), (small.raw, &small.kind));
            assert_eq!(event.data, small.data);
            assert_eq!(large.args.json(), format!("{{\"data\":{raw}}}"));
        }
        for raw in ["", "[]", "{}", "{\"type\":1}"] {
            assert!(Large::read(raw.to_owned(), "", true).is_err(), "{raw}");
        }
    }
}

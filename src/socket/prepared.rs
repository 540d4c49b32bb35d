//! Large events on their way out: written beside our thread, before they are sent.

use super::{Args, Frame, encode};
use crate::ground::tasks::{LARGE, aside};
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

/// An event of `/` as the bytes of a frame: for all, and for those who are told its number, if there are any.
pub struct Written {
    plain: Vec<u8>,
    numbered: Option<Vec<u8>>,
}

impl Written {
    /// Writes it, for who is beside our thread already. `numbers`: somebody is told its number.
    pub fn new(name: &str, args: &Args<'_>, numbers: bool) -> Self {
        let write = |number| Rc::unwrap_or_clone(encode::event("/", None, name, args, number));
        // Behind attachments the number would stand elsewhere.
        let numbers = numbers && args.attachments().is_empty();
        Self {
            plain: write(None),
            numbered: numbers.then(|| write(Some(NO_NUMBER))),
        }
    }
}

/// What stands for the number until it is known, and what follows it.
const NO_NUMBER: &str = "--------";
const END: &str = "\"]";

/// The same as frames.
pub struct Made {
    pub plain: Frame,
    numbered: Cell<Option<Vec<u8>>>,
}

impl From<Written> for Made {
    fn from(written: Written) -> Self {
        Self {
            plain: written.plain.into(),
            numbered: Cell::new(written.numbered),
        }
    }
}

impl Made {
    /// With its number; `None` the next time, or if nobody was told any.
    pub fn numbered(&self, number: &str) -> Option<Frame> {
        let mut bytes = self.numbered.take()?;
        let start = bytes.len() - END.len() - NO_NUMBER.len();
        bytes
            .get_mut(start..start + number.len())?
            .copy_from_slice(number.as_bytes());
        Some(bytes.into())
    }
}

/// An event of `/` with its arguments, which may be large.
pub struct Prepared<'a> {
    pub args: Args<'a>,
    /// How it is sent, if that takes longer to write than a turn may.
    pub made: Option<Made>,
}

impl From<(Args<'static>, Written)> for Prepared<'_> {
    fn from((args, written): (Args<'static>, Written)) -> Self {
        Self {
            args,
            made: Some(written.into()),
        }
    }
}

impl<'a> Prepared<'a> {
    /// One that is written when it is sent.
    pub fn small(json: impl Into<Cow<'a, str>>) -> Self {
        Self {
            args: Args::from_json(json),
            made: None,
        }
    }
}

impl Prepared<'static> {
    /// Writes it beside our thread if it is large. `numbers`: somebody is told its number.
    pub async fn new(name: &str, args: Args<'static>, numbers: bool) -> Self {
        if args.json().len() <= LARGE {
            return Self { args, made: None };
        }
        let name = name.to_owned();
        let written = aside(move || {
            let written = Written::new(&name, &args, numbers);
            (args, written)
        });
        written.await.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_put_in_once() {
        let args = Args::from_json("{\"a\":1}");
        let made = Made::from(Written::new("x", &args, true));
        let event = |number| encode::event("/", None, "x", &args, number);
        assert_eq!(made.plain, event(None));
        assert_eq!(made.numbered("AAAAAAAB"), Some(event(Some("AAAAAAAB"))));
        assert_eq!(made.numbered("AAAAAAAB"), None);
        let blob = args.with_attachments(vec![vec![1]]);
        for written in [
            Written::new("x", &blob, true),
            Written::new("x", &blob, false),
        ] {
            assert_eq!(Made::from(written).numbered("AAAAAAAB"), None);
        }
    }
}

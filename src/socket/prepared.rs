//! Large events on their way out: written beside our thread, before they are sent.

use super::{Args, Frame, encode};
use crate::ground::tasks::{LARGE, aside};
use std::rc::Rc;

/// An event of `/` as a frame's bytes, for who is beside our thread already.
pub fn event_of(name: &str, args: &Args<'_>) -> Vec<u8> {
    Rc::unwrap_or_clone(encode::event("/", None, name, args, None))
}

/// An event of `/` with its arguments, which may be large.
pub struct Prepared {
    pub args: Args<'static>,
    /// How it is sent, if that takes longer to write than a turn may.
    pub frame: Option<Frame>,
}

impl Prepared {
    /// Writes it beside our thread if it is large.
    pub async fn new(name: &str, args: Args<'static>) -> Self {
        if args.json().len() <= LARGE {
            return Self { args, frame: None };
        }
        let name = name.to_owned();
        let (args, frame) = aside(move || {
            let frame = event_of(&name, &args);
            (args, frame)
        })
        .await;
        let frame = Some(frame.into());
        Self { args, frame }
    }
}

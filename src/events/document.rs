//! `ydoc:*`: documents that several edit at once.

use super::{Fault, Sender, Work};
use crate::house::House;
use crate::socket::{Args, Sid};
use std::rc::Rc;

const MISSING: Fault = Fault::Denied("documents are not served yet");

pub fn join(_from: Sender, _args: &Args<'_>) -> Work {
    Work::refuse(MISSING)
}

pub fn state(_from: Sender, _args: &Args<'_>) -> Work {
    Work::refuse(MISSING)
}

pub fn update(_from: Sender, _args: &Args<'_>) -> Work {
    Work::refuse(MISSING)
}

pub fn leave(_from: Sender, _args: &Args<'_>) -> Work {
    Work::refuse(MISSING)
}

pub fn awareness(_from: Sender, _args: &Args<'_>) -> Work {
    Work::refuse(MISSING)
}

/// The socket is gone; `rooms` are those it was in.
pub fn gone(_house: &Rc<House>, _sid: Sid, _rooms: &[Rc<str>]) {}

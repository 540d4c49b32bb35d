//! `join-note`: hearing of a note's saves.

use super::{Fault, Sender, Work};
use crate::socket::Args;

pub fn join(_from: Sender, _args: &Args<'_>) -> Work {
    Work::refuse(Fault::Denied("notes are not served yet"))
}

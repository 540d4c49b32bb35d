//! The types of requests to a directory and of its answers.

use crate::store::StoreError;
use crate::token::Claims;
use serde_json::value::RawValue;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// Somebody who showed a valid token, as the directory knows them.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: User,
    /// The token as it came; a directory behind REST forwards it.
    pub token: Rc<str>,
    /// The claims of the token, which are verified.
    pub claims: Claims,
    /// The state of the directory that this was read in, where states are counted: in the same one the answer is the same.
    pub as_of: Cell<u64>,
}

/// A user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub id: String,
    pub name: String,
    /// `user` or `admin`; whoever is `pending` never gets this far.
    pub role: String,
    /// The public record (contract, Identity): what a session entry holds, without `last_seen_at`.
    /// As the text of a JSON object, since as a map it would be the larger part of an idle session.
    pub record: Rc<str>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No. The reason is for the log and for backends, in one sentence without a full stop.
    Denied(&'static str),
    /// There is no answer now, or it can't be saved now; another attempt later makes sense.
    Unavailable(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "denied: {why}"),
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<StoreError> for Refusal {
    fn from(fault: StoreError) -> Self {
        match fault {
            StoreError::TooLarge => Self::Denied(fault.sentence()),
            _ => Self::Unavailable(fault.sentence()),
        }
    }
}

/// Channels that somebody is in.
pub enum ChannelIds {
    Now(Vec<String>),
    /// They were in these a while ago; nobody can tell now.
    Before(Vec<String>),
}

/// What somebody may do with a note or a chat. Ordered: each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    None,
    Read,
    Write,
}

/// A note as one user sees it. Only made when that user may at least read it.
#[derive(Clone, Debug)]
pub struct NoteView {
    pub access: Access,
    /// `data.content` of the saved note, or JSON `null`.
    pub content: Box<RawValue>,
}

/// What editors may keep in a note beside its content, in bytes of names and values with [`FIELD_OVERHEAD`] for each: so that
/// whatever one of them adds, the note can be saved.
pub const MAX_FIELDS_BYTES: usize = 1 << 20;

/// Why a change is denied of which the content is saved.
pub const LEFT_OUT: &str = "what it has beside its content has no room; the content is saved";

/// What a field takes beside its name and its value, in bytes, about.
pub const FIELD_OVERHEAD: usize = 128;

/// May this save leave a note empty that is not empty now?
///
/// A document that opened empty because nobody seeded it must never win over saved content, even after
/// somebody typed a letter into it and took it back. So `Allow` needs proof that the editors worked on
/// the saved content: the note was empty when the document was opened, or the document was seeded
/// (`initialize`) or has already saved content that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptying {
    Refuse,
    Allow,
}

/// What the directory itself emits about a save of ours: `events:note` to those who listen to the note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Nothing.
    None,
    /// One with this `updated_at`.
    At(u64),
    /// One perhaps, of which nothing is known but the fields that were to be saved.
    Unknown,
}

/// Whether an event left a trace in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Its type is not saved, or its data is not of the type's shape.
    No,
    /// Taken; on disk after [`Directory::durable`](super::Directory::durable).
    Yes,
    /// There is no such message to save it to.
    NoMessage,
}

/// Beginnings of ids of chats that are saved nowhere: those of one page, by their old name too, and those of a channel.
const NOT_SAVED: [&str; 3] = ["temporary:", "local:", "channel:"];

/// Is this an id that a saved chat can have?
pub fn is_saved_chat(chat_id: &str) -> bool {
    !chat_id.is_empty() && !NOT_SAVED.iter().any(|start| chat_id.starts_with(start))
}

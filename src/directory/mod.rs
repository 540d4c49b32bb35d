//! Who is who and what they may see: one enum over the places that know it.
//!
//! - [`local`]: the embedded store; everything is kept here
//! - [`open_webui`]: the REST of an Open WebUI, which keeps everything
//!
//! Every question is asked for an [`Identity`], never for a name out of a payload.
//! An answer is `Err(Refusal)` when it is no, or when nobody can tell at the moment.

pub mod local;
pub mod open_webui;

use crate::store::Fault;
use crate::token::Claims;
use open_webui::Read;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;
use std::rc::Rc;

/// Somebody who showed a valid token, as the directory knows them.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: User,
    /// The token as it came; a directory behind REST forwards it.
    pub token: Rc<str>,
    /// What the token says; already verified.
    pub claims: Claims,
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
    /// Nobody can tell now, or it can't be saved now; asking again later makes sense.
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

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::Denied(fault.sentence()),
            _ => Self::Unavailable(fault.sentence()),
        }
    }
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
    /// The owner.
    pub user_id: String,
    pub title: String,
}

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

/// The lists of a message that new entries are put in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Embeds,
    Files,
}

/// Beginnings of ids of chats that are kept nowhere: those of one page, by their old name too, and those of a channel.
const NOT_SAVED: [&str; 3] = ["temporary:", "local:", "channel:"];

/// Is this an id that a saved chat can have?
pub fn is_saved_chat(chat_id: &str) -> bool {
    !chat_id.is_empty() && !NOT_SAVED.iter().any(|start| chat_id.starts_with(start))
}

/// The directory in use. Cheap to clone.
#[derive(Clone)]
pub enum Directory {
    Local(Rc<local::Local>),
    OpenWebui(Rc<open_webui::OpenWebui>),
}

/// Calls the same method on whichever directory it is; the store answers at once.
macro_rules! ask {
    ($self:ident, $method:ident($($arg:expr),*)) => {
        match $self {
            Self::Local(local) => local.$method($($arg),*),
            Self::OpenWebui(webui) => webui.$method($($arg),*).await,
        }
    };
}

/// The same for messages, which only the store keeps for us.
macro_rules! ask_local {
    ($self:ident, $method:ident($($arg:expr),*)) => {
        match $self {
            Self::Local(local) => local.$method($($arg),*),
            Self::OpenWebui(_) => Err(KEEPS_MESSAGES),
        }
    };
}

/// Its own emitter saves them ([`open_webui::OpenWebui::save_event`]).
const KEEPS_MESSAGES: Refusal = Refusal::Denied("Open WebUI keeps messages itself");

impl Directory {
    /// The user behind a verified token. Denied: unknown, or not (yet) let in.
    pub async fn identify(&self, token: &str, claims: &Claims) -> Result<Identity, Refusal> {
        ask!(self, identify(token, claims))
    }

    /// Is this identity still what it was? Denied: the user is gone, pending, or lost a role.
    /// The token's own time and its revocation are the caller's to check.
    pub async fn recheck(&self, who: &Identity) -> Result<(), Refusal> {
        ask!(self, recheck(who))
    }

    /// Ids of the channels that the user is in.
    pub async fn channels(&self, who: &Identity) -> Result<Vec<String>, Refusal> {
        ask!(self, channels(who))
    }

    /// The note, if there is one that the user may read.
    pub async fn note(&self, who: &Identity, note_id: &str) -> Result<Option<NoteView>, Refusal> {
        ask!(self, note(who, note_id))
    }

    /// What the user may do with the note; no such note: [`Access::None`]. Cheaper than [`Directory::note`], and maybe
    /// some seconds old.
    pub async fn note_access(&self, who: &Identity, note_id: &str) -> Result<Access, Refusal> {
        match self {
            Self::Local(local) => {
                let note = local.note(who, note_id)?;
                Ok(note.map_or(Access::None, |note| note.access))
            }
            Self::OpenWebui(webui) => webui.note_access(who, note_id).await,
        }
    }

    /// Merges `data` into the note's `data`, as the user; returns the whole saved note, or `None` when the directory
    /// itself tells those who listen to the note.
    /// Denied: no such note, no write access, or empty content over saved content (see [`Emptying`]).
    /// Durable when it returns.
    pub async fn save_note(
        &self,
        who: &Identity,
        note_id: &str,
        data: &RawValue,
        emptying: Emptying,
    ) -> Result<Option<Box<RawValue>>, Refusal> {
        match self {
            Self::Local(local) => {
                let saved = local.save_note(who, note_id, data, emptying).await;
                saved.map(Some)
            }
            Self::OpenWebui(webui) => webui.save_note(who, note_id, data, emptying).await,
        }
    }

    /// What the user may do with a saved chat. No such chat: [`Access::None`].
    pub async fn chat_access(&self, who: &Identity, chat_id: &str) -> Result<Access, Refusal> {
        ask!(self, chat_access(who, chat_id))
    }

    /// The member has read the channel up to now.
    pub async fn mark_channel_read(&self, who: &Identity, channel_id: &str) -> Result<(), Refusal> {
        match self {
            Self::Local(local) => local.mark_channel_read(who, channel_id),
            Self::OpenWebui(webui) => webui.mark_read(who, Read::Channel(channel_id.to_owned())),
        }
    }

    /// The user has read the chat up to now; returns that time (epoch seconds), or `None` when the user's sockets hear
    /// of it from the directory, in a moment.
    pub async fn mark_chat_read(
        &self,
        who: &Identity,
        chat_id: &str,
    ) -> Result<Option<i64>, Refusal> {
        match self {
            Self::Local(local) => local.mark_chat_read(who, chat_id).map(Some),
            Self::OpenWebui(webui) => {
                let read = Read::Chat(chat_id.to_owned());
                webui.mark_read(who, read).map(|()| None)
            }
        }
    }

    /// The user is alive: `last_active_at`, at most once a minute a user. Never fails, never waits.
    pub fn seen(&self, who: &Identity) {
        match self {
            Self::Local(local) => local.seen(who),
            Self::OpenWebui(webui) => webui.seen(who),
        }
    }

    /// One message of a saved chat, whole.
    pub async fn message(
        &self,
        chat_id: &str,
        message_id: &str,
    ) -> Result<Option<Map<String, Value>>, Refusal> {
        ask_local!(self, message(chat_id, message_id))
    }

    /// Appends to the message's `statusHistory`. This and the four below return whether there was
    /// something to save to, and return before it is on disk (see [`Directory::durable`]).
    pub async fn append_status(
        &self,
        chat_id: &str,
        message_id: &str,
        status: &RawValue,
    ) -> Result<bool, Refusal> {
        ask_local!(self, append_status(chat_id, message_id, status))
    }

    /// Appends to the message's `content`, only if the message exists.
    pub async fn append_content(
        &self,
        chat_id: &str,
        message_id: &str,
        content: &str,
    ) -> Result<bool, Refusal> {
        ask_local!(self, append_content(chat_id, message_id, content))
    }

    /// Sets the message's `content`.
    pub async fn replace_content(
        &self,
        chat_id: &str,
        message_id: &str,
        content: &str,
    ) -> Result<bool, Refusal> {
        ask_local!(self, replace_content(chat_id, message_id, content))
    }

    /// Sets the list to the new entries followed by the existing ones.
    pub async fn prepend_list(
        &self,
        chat_id: &str,
        message_id: &str,
        list: List,
        entries: &[&RawValue],
    ) -> Result<bool, Refusal> {
        ask_local!(self, prepend_list(chat_id, message_id, list, entries))
    }

    /// Appends to the message's `sources`.
    pub async fn append_source(
        &self,
        chat_id: &str,
        message_id: &str,
        source: &RawValue,
    ) -> Result<bool, Refusal> {
        ask_local!(self, append_source(chat_id, message_id, source))
    }

    /// Waits until everything written so far is on disk. Whoever answers "saved" calls this first;
    /// all that wait share one fsync. Who doesn't call it gets the disk within a second or so.
    pub async fn durable(&self) -> Result<(), Refusal> {
        match self {
            Self::Local(local) => Ok(local.durable().await?),
            Self::OpenWebui(_) => Ok(()),
        }
    }

    /// Saves what is pending and lets go of what it holds; the last call of a drain.
    pub async fn close(&self) {
        match self {
            Self::Local(local) => {
                if let Err(fault) = local.close().await {
                    log::error!("store: what was pending is lost: {fault}");
                }
            }
            Self::OpenWebui(webui) => webui.close().await,
        }
    }

    /// The embedded store's directory, if that is the one in use: what the API's resources are kept in.
    pub fn local(&self) -> Option<&Rc<local::Local>> {
        match self {
            Self::Local(local) => Some(local),
            Self::OpenWebui(_) => None,
        }
    }

    /// Why `/ready` should say "degraded", if it should.
    pub fn degraded(&self) -> Option<String> {
        match self {
            Self::Local(local) => local.degraded(),
            Self::OpenWebui(webui) => webui.degraded(),
        }
    }
}

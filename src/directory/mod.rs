//! Who is who and what they may see: one enum over the places that know it.
//!
//! - [`local`]: the embedded store, where everything is saved
//! - [`open_webui`]: the REST of an Open WebUI, which saves everything itself
//! - [`types`]: what requests and answers are made of; [`event`]: an event of a message
//! - [`content`]: what counts as an empty note
//!
//! Every request is made for an [`Identity`], never for a name out of a payload.
//! An answer is `Err(Refusal)` when it is no, or when there is none at the moment.

mod content;
mod event;
pub mod local;
pub mod open_webui;
mod types;

pub use content::is_empty as is_empty_content;
pub use event::{MessageEvent, NotAnEvent, type_of};
pub use local::Change;
pub use types::{
    Access, ChannelIds, Echo, Emptying, Identity, LEFT_OUT, MAX_FIELDS_BYTES, NoteView, Refusal,
    Saved, User, is_saved_chat,
};

use crate::token::Claims;
use open_webui::Receipt;
use serde_json::value::RawValue;
use std::rc::Rc;
use std::time::Instant;

/// The directory in use. Cheap to clone.
#[derive(Clone)]
pub enum Directory {
    Local(Rc<local::Local>),
    OpenWebui(Rc<open_webui::OpenWebui>),
}

impl Directory {
    /// The user behind a verified token. Denied: unknown, or not (yet) let in.
    pub async fn identify(&self, token: &str, claims: &Claims) -> Result<Identity, Refusal> {
        match self {
            Self::Local(local) => local.identify(token, claims),
            Self::OpenWebui(webui) => webui.identify(token, claims).await,
        }
    }

    /// The user behind a token that they have signed in with before. Not asked where nothing can have changed since.
    ///
    /// # Errors
    /// As for [`Directory::identify`].
    pub async fn identify_again(&self, known: &Rc<Identity>) -> Result<Rc<Identity>, Refusal> {
        match self {
            Self::Local(local) if local.is_same(known) => Ok(known.clone()),
            _ => {
                let who = self.identify(&known.token, &known.claims).await;
                who.map(Rc::new)
            }
        }
    }

    /// Is this identity still what it was? Denied: the user does not exist any more, is pending, or lost a role.
    /// The token's own time and its revocation are the caller's to check.
    pub async fn recheck(&self, who: &Identity) -> Result<(), Refusal> {
        match self {
            Self::Local(local) => local.recheck(who),
            Self::OpenWebui(webui) => webui.recheck(who).await,
        }
    }

    /// The user's rights have changed: nothing that was answered before holds.
    pub fn forget_user(&self, user_id: &str) {
        if let Self::OpenWebui(webui) = self {
            webui.forget_user(user_id);
        }
    }

    /// Nobody of the user was here: whoever changed the user's rights had nobody to disconnect, so that nothing was said of it.
    pub fn forget_tokens(&self, user_id: &str) {
        if let Self::OpenWebui(webui) = self {
            webui.forget_tokens(user_id);
        }
    }

    /// Somebody made the user leave a `note` or `chat`: nothing that was answered about that before holds.
    pub fn forget_access(&self, user_id: &str, kind: &str, id: &str) {
        if let Self::OpenWebui(webui) = self {
            webui.forget_access(user_id, kind, id);
        }
    }

    /// Somebody made the user leave a channel: no list of channels that was asked for before holds.
    pub fn forget_channels(&self, user_id: &str) {
        if let Self::OpenWebui(webui) = self {
            webui.forget_channels(user_id);
        }
    }

    /// Whether the user's rights have changed since something was asked about them.
    pub fn changed_since(&self, user_id: &str, asked: Instant) -> bool {
        match self {
            Self::Local(_) => false,
            Self::OpenWebui(webui) => webui.changed_since(user_id, asked),
        }
    }

    /// Ids of the channels that the user is in.
    pub async fn channels(&self, who: &Identity) -> Result<ChannelIds, Refusal> {
        match self {
            Self::Local(local) => local.channels(who).map(ChannelIds::Now),
            Self::OpenWebui(webui) => webui.channels(who).await,
        }
    }

    /// Whether the user is in the channel.
    pub async fn is_in_channel(&self, who: &Identity, channel_id: &str) -> Result<bool, Refusal> {
        match self {
            Self::Local(local) => Ok(local.channels(who)?.iter().any(|id| id == channel_id)),
            Self::OpenWebui(webui) => webui.is_in_channel(who, channel_id).await,
        }
    }

    /// The note, if there is one that the user may read.
    pub async fn note(&self, who: &Identity, note_id: &str) -> Result<Option<NoteView>, Refusal> {
        match self {
            Self::Local(local) => local.note(who, note_id),
            Self::OpenWebui(webui) => webui.note(who, note_id).await,
        }
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

    /// Merges `data` into the note's `data`, as the user; returns what the directory itself emits about it.
    /// Denied: no such note, no write access, or empty content over saved content (see [`Emptying`]).
    /// Durable when it returns.
    pub async fn save_note(
        &self,
        who: &Identity,
        note_id: &str,
        data: &RawValue,
        emptying: Emptying,
    ) -> Result<Echo, Refusal> {
        match self {
            Self::Local(local) => {
                let saved = local.save_note(who, note_id, data, emptying).await;
                saved.map(|()| Echo::None)
            }
            Self::OpenWebui(webui) => webui.save_note(who, note_id, data, emptying).await,
        }
    }

    /// Keeps as a version of the note what an editor had of it when somebody else changed it.
    pub async fn keep_version(
        &self,
        who: &Identity,
        note_id: &str,
        data: &RawValue,
    ) -> Result<(), Refusal> {
        match self {
            Self::Local(local) => local.keep_version(who, note_id, data).await,
            Self::OpenWebui(webui) => webui.keep_version(who, note_id, data).await,
        }
    }

    /// What the user may do with a saved chat. No such chat: [`Access::None`].
    pub async fn chat_access(&self, who: &Identity, chat_id: &str) -> Result<Access, Refusal> {
        match self {
            Self::Local(local) => local.chat_access(who, chat_id),
            Self::OpenWebui(webui) => webui.chat_access(who, chat_id).await,
        }
    }

    /// The member has read the channel up to now.
    pub async fn mark_channel_read(&self, who: &Identity, channel_id: &str) -> Result<(), Refusal> {
        match self {
            Self::Local(local) => local.mark_channel_read(who, channel_id),
            Self::OpenWebui(webui) => webui.mark_read(who, Receipt::Channel(channel_id.to_owned())),
        }
    }

    /// The user has read the chat up to now; returns that time (epoch seconds), or `None` when the directory emits it to
    /// the user's sockets, in a moment.
    pub async fn mark_chat_read(
        &self,
        who: &Identity,
        chat_id: &str,
    ) -> Result<Option<i64>, Refusal> {
        match self {
            Self::Local(local) => local.mark_chat_read(who, chat_id).map(Some),
            Self::OpenWebui(webui) => {
                let receipt = Receipt::Chat(chat_id.to_owned());
                webui.mark_read(who, receipt).map(|()| None)
            }
        }
    }

    /// The user is alive now (epoch seconds): `last_active_at`, at most once a minute a user. Never fails, never waits.
    pub fn seen(&self, who: &Identity, now: i64) {
        match self {
            Self::Local(local) => local.seen(who, now),
            Self::OpenWebui(webui) => webui.seen(who),
        }
    }

    /// Saves an event of a message of a saved chat as its type says. Returns before it is on disk (see
    /// [`Directory::durable`]). `author` is the user whose chat it is; only a directory that [saves as the
    /// user](Directory::saves_as_user) needs them. `change`: what it changes, if that was read beside our thread.
    pub async fn save_event(
        &self,
        author: Option<&Identity>,
        chat_id: &str,
        message_id: &str,
        event: &MessageEvent<'_>,
        change: Option<Change<'static>>,
    ) -> Result<Saved, Refusal> {
        match self {
            Self::Local(local) => {
                let is_large = change.is_some();
                let change = change.unwrap_or_else(|| Change::of(event));
                local
                    .save_event(chat_id, message_id, change, is_large)
                    .await
            }
            Self::OpenWebui(webui) => {
                let event =
                    serde_json::from_str(event.raw).map_err(|_| Refusal::Denied("not an event"))?;
                webui.save_event(author, chat_id, message_id, event).await
            }
        }
    }

    /// Is an event saved in the name of a user, with their token? Then one of their sessions has to be here.
    pub fn saves_as_user(&self) -> bool {
        matches!(self, Self::OpenWebui(_))
    }

    /// Does what the directory emits reach sockets here? Then saved events come from it, and nobody else may emit them;
    /// and so do echoes of our own saves ([`Echo`]).
    pub fn emits_itself(&self) -> bool {
        match self {
            Self::Local(_) => false,
            Self::OpenWebui(webui) => webui.shares_redis(),
        }
    }

    /// Does it hear what clients stream to it at its own socket alone, and not over a shared Redis?
    pub fn streams_by_socket(&self) -> bool {
        match self {
            Self::Local(_) => false,
            Self::OpenWebui(webui) => webui.streams_by_socket(),
        }
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

    /// The embedded store's directory, if that is the one in use: the API's resources are records of it.
    pub fn local(&self) -> Option<&Rc<local::Local>> {
        match self {
            Self::Local(local) => Some(local),
            Self::OpenWebui(_) => None,
        }
    }

    /// The Open WebUI that is the directory, if one is.
    pub fn open_webui(&self) -> Option<&Rc<open_webui::OpenWebui>> {
        match self {
            Self::Local(_) => None,
            Self::OpenWebui(webui) => Some(webui),
        }
    }

    /// Waits until another process that the directory is was restarted, or became another, more often than that; returns how
    /// often.
    pub async fn restarted(&self, before: u64) -> u64 {
        match self {
            Self::Local(_) => std::future::pending().await,
            Self::OpenWebui(webui) => webui.restarted(before).await,
        }
    }

    /// Waits until it is there.
    pub async fn here(&self) {
        match self {
            Self::Local(_) => {}
            Self::OpenWebui(webui) => webui.here().await,
        }
    }

    /// What it is, for `/ready`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "The store",
            Self::OpenWebui(_) => "Open WebUI",
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

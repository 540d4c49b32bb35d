//! What other instances know: their sessions, the models they use, tokens that were revoked. Alone, there is nothing.

// Without Redis nobody is asked anything.
#![cfg_attr(not(feature = "redis"), allow(unused_variables))]

#[cfg(feature = "redis")]
use super::shared::Shared;
use crate::directory::Identity;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
#[cfg(feature = "redis")]
use std::rc::Rc;

/// Sessions that were taken out of the pool of all instances because nobody heard of them.
pub struct Reaped {
    /// Each sid with the chats that it had open.
    pub sessions: Vec<(String, Vec<String>)>,
}

/// The other instances.
#[derive(Clone, Default)]
pub enum Others {
    /// There are none.
    #[default]
    Alone,
    #[cfg(feature = "redis")]
    Shared(Rc<Shared>),
}

/// Asks them, or answers with what is known alone.
macro_rules! ask {
    ($self:ident, $alone:expr, $method:ident($($arg:expr),*)) => {
        match $self {
            Self::Alone => $alone,
            #[cfg(feature = "redis")]
            Self::Shared(shared) => shared.$method($($arg),*).await,
        }
    };
}

impl Others {
    /// Id and name, by id, of everybody who has the chat open there.
    pub async fn viewers(&self, chat_id: &str) -> BTreeMap<String, String> {
        ask!(self, BTreeMap::new(), viewers(chat_id))
    }

    /// The user of one of their sessions.
    pub async fn owner(&self, sid: &str) -> Option<String> {
        ask!(self, None, owner(sid))
    }

    /// One of their sessions of this user that has the chat open, other than `but`.
    pub async fn with_chat_open(&self, user_id: &str, chat_id: &str, but: &str) -> Option<String> {
        ask!(self, None, with_chat_open(user_id, chat_id, but))
    }

    /// The models in use there.
    pub async fn models_in_use(&self) -> BTreeSet<String> {
        ask!(self, BTreeSet::new(), models_in_use())
    }

    /// Their sessions of these users.
    pub async fn sessions_of(&self, user_ids: &[&str]) -> Vec<String> {
        ask!(self, Vec::new(), sessions_of(user_ids))
    }

    /// For each of these whether its token was revoked.
    pub async fn revoked(&self, all: &[impl Borrow<Identity>]) -> Vec<bool> {
        ask!(self, vec![false; all.len()], revoked(all))
    }

    /// Does something about a chat while no other instance does the same.
    pub async fn one_at_a_time(&self, chat_id: &str, work: impl AsyncFn()) {
        ask!(self, work().await, one_at_a_time(chat_id, work));
    }

    /// The next sessions that this instance reaped for all; `None`: never any.
    pub async fn reaped(&self) -> Option<Reaped> {
        ask!(self, None, reaped())
    }

    /// This instance is about to save the item: whoever else is about to does not.
    pub async fn begin_task(&self, item: &str) {
        ask!(self, (), begin_task(item));
    }

    /// It is saved.
    pub async fn end_task(&self, item: &str) {
        ask!(self, (), end_task(item));
    }

    /// Waits until somebody else is about to save the item instead.
    pub async fn task_stopped(&self, item: &str) {
        ask!(self, std::future::pending::<()>().await, task_stopped(item));
    }

    /// The end: they know of everything that they should know. The caller limits the time.
    pub async fn close(&self) {
        ask!(self, (), close());
    }
}

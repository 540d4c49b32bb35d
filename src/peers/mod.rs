//! All that knows of other instances: how their sockets are reached, what they know, what is kept together with them.
//!
//! - [`pools`]: sessions, models in use and streams of this instance, as others may copy them
//! - [`documents`]: documents that several edit at once, as lists of Yjs updates
//! - `backplane`: how the sockets of other instances are reached over Redis
//! - [`look`]: what can be seen of the others, for whoever looks for a fault
//! - `shared`: pools, locks, tasks and revoked tokens in Redis
//!
//! An instance that is alone has nobody to ask: then the answer is what it knows itself. Nobody above this module can tell
//! the difference, or has to.

// Alone, nobody is asked anything.
#![cfg_attr(not(feature = "redis"), allow(unused_variables))]

#[cfg(feature = "redis")]
mod backplane;
pub mod documents;
mod emit;
pub mod look;
mod moving;
mod outgoing;
pub mod pools;
mod removed;
mod restart;
#[cfg(feature = "redis")]
mod shared;

use crate::config::Config;
use crate::directory::{Echo, Identity};
use crate::ground::tasks::Executor;
#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::socket::{Args, CallError, Hub, Sid, Target};
#[cfg(feature = "redis")]
use backplane::Backplane;
#[cfg(all(any(test, fuzzing), feature = "redis"))]
pub use backplane::fuzz::message as fuzz_message;
use documents::SharedDocuments;
pub use outgoing::Outgoing;
use pools::Pools;
use pools::sessions::Reaped;
use serde_json::value::RawValue;
#[cfg(feature = "redis")]
use shared::SharedPools;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// The other instances of this one. Made once.
pub enum Peers {
    /// There are none. These are our own sockets.
    Alone(Rc<Hub>),
    /// They are reached over Redis.
    #[cfg(feature = "redis")]
    Redis(Linked),
}

/// What links this instance to the others.
#[cfg(feature = "redis")]
pub struct Linked {
    hub: Rc<Hub>,
    backplane: Rc<Backplane>,
    shared: Rc<SharedPools>,
}

/// Starts what links this instance to the others, and returns at once. The documents are kept where all of them can
/// reach them.
///
/// # Errors
/// What is wrong with the settings of Redis.
pub fn start(
    executor: Executor,
    config: &Config,
    hub: &Rc<Hub>,
    pools: &Pools,
) -> Result<(Peers, SharedDocuments), String> {
    #[cfg(feature = "redis")]
    if let Some(settings) = &config.redis {
        return link(executor, config, settings, hub, pools);
    }
    #[cfg(not(feature = "redis"))]
    check(config)?;
    let documents = SharedDocuments::in_memory(config.documents_bytes);
    Ok((Peers::Alone(hub.clone()), documents))
}

#[cfg(feature = "redis")]
fn link(
    executor: Executor,
    config: &Config,
    settings: &crate::config::RedisSettings,
    hub: &Rc<Hub>,
    pools: &Pools,
) -> Result<(Peers, SharedDocuments), String> {
    let redis = Redis::start(executor, settings)?;
    let timeout = config.session_timeout();
    let shared = SharedPools::start(executor, redis.clone(), settings, timeout, pools);
    let documents = documents::InRedis::start(executor, redis.clone(), &shared);
    let rooms = settings.room_channels;
    let streams = pools.streams.clone();
    let moves = moving::moves(config, &shared);
    let linked = Linked {
        hub: hub.clone(),
        backplane: Backplane::start(executor, hub.clone(), redis, rooms, streams, moves),
        shared,
    };
    Ok((Peers::Redis(linked), SharedDocuments::Redis(documents)))
}

/// What is wrong with the settings of Redis, if anything is; opens nothing.
///
/// # Errors
/// A sentence about it.
pub fn check(config: &Config) -> Result<(), String> {
    #[cfg(feature = "redis")]
    if let Some(settings) = &config.redis {
        return Redis::check(settings);
    }
    if cfg!(not(feature = "redis")) && config.redis.is_some() {
        return Err(
            "this siskin is built without Redis: take a build with the feature redis".into(),
        );
    }
    Ok(())
}

/// Reaching sockets.
impl Peers {
    /// This instance's sockets.
    pub fn hub(&self) -> &Hub {
        match self {
            Self::Alone(hub) => hub,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => &peers.hub,
        }
    }

    /// The socket, if it is one of this instance.
    fn here(&self, sid: &str) -> Option<Sid> {
        Sid::parse(sid).filter(|sid| self.hub().is_connected(*sid))
    }

    /// Whether there are no other instances to reach.
    pub fn is_alone(&self) -> bool {
        matches!(self, Self::Alone(_))
    }

    /// What `/ready` says about them.
    pub fn degraded(&self) -> Option<String> {
        match self {
            Self::Alone(_) => None,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.degraded(),
        }
    }

    /// A room got its first member here, or lost its last.
    pub fn room_changed(&self, nsp: &str, room: &str, occupied: bool) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.occupied(nsp, room, occupied),
        }
    }

    /// A socket came or went: it is a room of its own.
    pub fn socket_changed(&self, nsp: &str, sid: Sid, here: bool) {
        self.room_changed(nsp, sid.as_str(), here);
    }

    /// Enters a room. Answers when no event to the room can be missed any more; `false` when the socket is not here.
    pub async fn enter(&self, sid: Sid, room: &str) -> bool {
        let entered = self.hub().enter(sid, room);
        match self {
            Self::Alone(_) => entered,
            #[cfg(feature = "redis")]
            Self::Redis(_) if !entered => false,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                peers.backplane.subscribed().await;
                peers.hub.is_connected(sid)
            }
        }
    }

    /// A socket enters a room, wherever it is.
    pub async fn enter_anywhere(&self, sid: &str, room: &str) {
        match (self.here(sid), self) {
            (Some(sid), _) => drop(self.enter(sid, room).await),
            (None, Self::Alone(_)) => {}
            #[cfg(feature = "redis")]
            (None, Self::Redis(peers)) => peers.backplane.enter(sid, room),
        }
    }

    /// Leaves a room.
    pub fn leave(&self, sid: Sid, room: &str) {
        self.hub().leave(sid, room);
    }

    /// A socket leaves a room, wherever it is.
    pub fn leave_anywhere(&self, sid: &str, room: &str) {
        match (self.here(sid), self) {
            (Some(sid), _) => self.leave(sid, room),
            (None, Self::Alone(_)) => {}
            #[cfg(feature = "redis")]
            (None, Self::Redis(peers)) => peers.backplane.leave(sid, room),
        }
    }

    /// Sends an event to one socket, which may be another instance's, and waits for its ack; of one that lost its connection
    /// and may come back, if it `waits`.
    ///
    /// # Errors
    /// The socket left, or did not answer in time.
    pub async fn call(
        &self,
        sid: &str,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
        waits: bool,
    ) -> Result<Args<'static>, CallError> {
        match (self.here(sid), self) {
            (Some(sid), _) => self.hub().call(sid, event, args, timeout, waits).await,
            (None, Self::Alone(_)) => Err(CallError::Gone),
            #[cfg(feature = "redis")]
            (None, Self::Redis(to)) => to.backplane.call(sid, event, args, timeout, waits).await,
        }
    }

    /// A socket of ours at another instance, which has signed in there, leaves the user's room and is forgotten as a
    /// session: what is for the room reaches us over Redis already, and its user is here and not there. `done` is emitted
    /// to it, alone, once that is so. From now on it is its client by another name.
    pub async fn set_apart(&self, client: Sid, sid: &str, room: &str, done: &str) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                peers.backplane.add_relay(client, sid);
                peers.shared.forget_session(sid).await;
                peers.backplane.leave(sid, room);
                // By the channel of all, as the above: what comes over two channels may change places on the way.
                let only = [sid];
                let target = Target {
                    to: crate::socket::To::Rooms(&only),
                    ..Target::room(sid)
                };
                peers.backplane.emit(&target, done, &Args::none());
            }
        }
    }

    /// The same is no more.
    pub fn forget_apart(&self, client: Sid, sid: &str) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.remove_relay(client, sid),
        }
    }

    /// Disconnects a socket, wherever it is, and ends its transport. Another instance is not told why.
    pub fn disconnect(&self, sid: &str, why: &'static str) {
        match (self.here(sid), self) {
            (Some(sid), _) => drop(self.hub().disconnect(sid, why)),
            (None, Self::Alone(_)) => {}
            #[cfg(feature = "redis")]
            (None, Self::Redis(peers)) => peers.backplane.disconnect(sid),
        }
    }

    /// Everybody leaves the room.
    pub fn close_room(&self, room: &str) {
        self.hub().close_room("/", room);
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.close_room(room),
        }
    }

    /// Hands an event of a client's stream to the other instances. `false` when there are none.
    pub fn stream(&self, name: &str, data: &RawValue) -> bool {
        match self {
            Self::Alone(_) => false,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                peers.backplane.stream(name, data);
                true
            }
        }
    }

    /// Whether so much waits to be told to the others that who streams should wait.
    pub fn is_crowded(&self) -> bool {
        match self {
            Self::Alone(_) => false,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.is_crowded(),
        }
    }

    /// Waits until it need not.
    pub async fn has_room(&self) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.has_room().await,
        }
    }
}

/// What the others know.
impl Peers {
    /// Id and name, by id, of everybody who has the chat open there.
    pub async fn viewers(&self, chat_id: &str) -> BTreeMap<String, String> {
        match self {
            Self::Alone(_) => BTreeMap::new(),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.viewers(chat_id).await,
        }
    }

    /// The user of one of their sessions.
    pub async fn owner(&self, sid: &str) -> Option<String> {
        match self {
            Self::Alone(_) => None,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.owner(sid).await,
        }
    }

    /// One of their sessions of this user that has the chat open, other than `but`.
    pub async fn with_chat_open(&self, user_id: &str, chat_id: &str, but: &str) -> Option<String> {
        match self {
            Self::Alone(_) => None,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.with_chat_open(user_id, chat_id, but).await,
        }
    }

    /// The models in use there.
    pub async fn models_in_use(&self) -> BTreeSet<String> {
        match self {
            Self::Alone(_) => BTreeSet::new(),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.models_in_use().await,
        }
    }

    /// Their sessions of these users.
    pub async fn sessions_of(&self, user_ids: &[&str]) -> Vec<String> {
        match self {
            Self::Alone(_) => Vec::new(),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.sessions_of(user_ids).await,
        }
    }

    /// For each of these whether its token was revoked since it was made. Alone, nobody can revoke one.
    pub async fn revoked(&self, all: &[&Identity]) -> Vec<bool> {
        match self {
            Self::Alone(_) => vec![false; all.len()],
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.revoked(all).await,
        }
    }

    /// The same of one.
    pub async fn is_revoked(&self, who: &Identity) -> bool {
        !matches!(self, Self::Alone(_)) && self.revoked(&[who]).await.contains(&true)
    }

    /// Does something about a chat while no other instance does the same.
    pub async fn one_at_a_time(&self, chat_id: &str, work: impl AsyncFn()) {
        match self {
            Self::Alone(_) => work().await,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.one_at_a_time(chat_id, work).await,
        }
    }

    /// The next sessions that this instance reaped for all; `None`: never any.
    pub async fn reaped(&self) -> Option<Reaped> {
        match self {
            Self::Alone(_) => None,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.reaped().await,
        }
    }

    /// A user's rights have changed.
    pub fn user_changed(&self, user_id: &str) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                let user = user_id.into();
                peers.backplane.notify(&backplane::Notice::Changed { user });
            }
        }
    }

    /// The users whose rights have changed, as others say; alone, never any.
    pub async fn changed_users(&self) -> Vec<String> {
        match self {
            Self::Alone(_) => std::future::pending().await,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.changed_users().await,
        }
    }

    /// The request that streamed a message's answer has come to its end.
    pub fn answered(&self, chat_id: &str, message_id: &str) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                // Ids have no line ends.
                let answer = format!("{chat_id}\n{message_id}").into();
                let notice = backplane::Notice::Answered { answer };
                peers.backplane.notify(&notice);
            }
        }
    }

    /// Those that others say, with a line end between chat and message; alone, never any.
    pub async fn answered_elsewhere(&self) -> Vec<String> {
        match self {
            Self::Alone(_) => std::future::pending().await,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.answered().await,
        }
    }

    /// This instance is about to save the item: whoever else is about to does not.
    pub async fn begin_task(&self, item: &str) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => Box::pin(peers.shared.begin_task(item)).await,
        }
    }

    /// A save of a note is about to go out to a directory that tells of it by an event (its echo), which is not to reach the
    /// note's editors. Returns its number here.
    pub async fn begin_save(&self, note_id: &str) -> u64 {
        match self {
            Self::Alone(_) => 0,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.begin_save(note_id).await,
        }
    }

    /// The save of these fields has ended.
    pub fn end_save(&self, note_id: &str, save: u64, echo: Echo, fields: &str) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.end_save(note_id, save, echo, fields),
        }
    }

    /// It is saved.
    pub async fn end_task(&self, item: &str) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.end_task(item).await,
        }
    }

    /// Waits until somebody else is about to save the item instead.
    pub async fn task_stopped(&self, item: &str) {
        match self {
            Self::Alone(_) => std::future::pending().await,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.shared.task_stopped(item).await,
        }
    }

    /// The end: waits until the others know of everything that they should know. The caller limits the time.
    pub async fn close(&self) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                peers.shared.close().await;
                peers.backplane.published().await;
            }
        }
    }
}

//! What instances share: session pool, usage pool, documents, locks, tasks.
//!
//! - [`sessions`]: who is connected here, when last heard of, with which chats open
//! - [`usage`]: the models in use
//! - [`streams`]: what a client streams to a backend (direct connections)
//! - [`documents`]: documents that several edit at once, as lists of Yjs updates
//! - [`editing`]: notes that are being edited: who may write, what is not saved yet
//! - [`others`]: what other instances know of all that
//! - [`shared`]: how they know it: through Redis
//! - [`told`]: which limits a socket has run into
//! - [`changes`]: what changed in a pool since somebody last looked

pub mod changes;
pub mod documents;
pub mod editing;
pub mod others;
pub mod sessions;
#[cfg(feature = "redis")]
pub mod shared;
pub mod streams;
pub mod told;
pub mod usage;

use documents::Documents;
use others::Others;
use sessions::Sessions;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use usage::Usage;

/// What is shared, of one instance.
#[derive(Default)]
pub struct State {
    /// Signed-in sockets of this instance.
    pub sessions: Rc<Sessions>,
    /// Models in use by sockets of this instance.
    pub usage: Rc<Usage>,
    pub documents: Documents,
    pub others: Others,
}

#[cfg(feature = "redis")]
impl State {
    /// Shared with whoever else uses this Redis.
    pub fn shared(
        executor: crate::Executor,
        redis: &crate::redis::Redis,
        config: &crate::config::Redis,
        session_timeout: std::time::Duration,
    ) -> Self {
        let (sessions, usage) = (Rc::<Sessions>::default(), Rc::<Usage>::default());
        let shared = shared::Shared::start(
            executor,
            redis.clone(),
            config,
            session_timeout,
            sessions.clone(),
            usage.clone(),
        );
        let documents = documents::InRedis::start(executor, redis.clone(), &shared);
        Self {
            sessions,
            usage,
            documents: Documents::Redis(documents),
            others: Others::Shared(shared),
        }
    }
}

/// Epoch seconds.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().cast_signed())
}

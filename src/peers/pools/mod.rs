//! What this instance knows of its own sockets, in the shape in which other instances get copies.
//!
//! - [`sessions`]: who is connected here, when last heard of, with which chats open
//! - [`usage`]: the models in use
//! - [`streams`]: what clients stream to a backend (direct connections)
//! - [`changes`]: what changed in a pool since somebody last looked

pub mod changes;
pub mod sessions;
pub mod streams;
pub mod usage;

use sessions::SessionPool;
use std::rc::Rc;
use streams::Streams;
use usage::UsagePool;

/// The pools. A clone is the same pools.
#[derive(Clone, Default)]
pub struct Pools {
    pub sessions: Rc<SessionPool>,
    pub usage: Rc<UsagePool>,
    pub streams: Rc<Streams>,
}

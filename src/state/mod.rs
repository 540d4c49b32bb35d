//! What instances share: session pool, usage pool, documents, locks, tasks.
//!
//! - [`sessions`]: who is connected here, when last heard of, with which chats open
//! - [`usage`]: the models in use
//! - [`streams`]: what a client streams to a backend (direct connections)
//! - [`documents`]: documents that several edit at once, as lists of Yjs updates
//! - [`editing`]: notes that are being edited: who may write, what is not saved yet
//! - [`changes`]: what changed in a pool since somebody last looked

pub mod changes;
pub mod documents;
pub mod editing;
pub mod sessions;
pub mod streams;
pub mod usage;

use std::time::{SystemTime, UNIX_EPOCH};

/// Epoch seconds.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().cast_signed())
}

//! The directory in the embedded store.
//!
//! - [`records`]: the handle, and how a record is read and written
//! - [`users`], [`channels`], [`notes`], [`chats`], [`messages`]: one file a kind of record: what clients' events need,
//!   then what backends do over the API
//! - [`documents`]: what several edit as one document, beside the note
//! - [`events`]: an event of a message is saved
//! - [`grants`]: who may read and write what somebody shared
//!
//! Records are JSON objects and retain whatever fields a backend puts into them beside those that siskin knows.

mod channels;
mod chats;
mod documents;
mod events;
mod grants;
mod messages;
mod notes;
mod records;
mod users;

#[cfg(test)]
mod saving_tests;
#[cfg(test)]
mod tests;

pub use channels::ChannelChange;
pub use documents::KeptDocument;
pub use events::Change;
pub use records::{Local, Record, RecordError};
pub use users::UserChange;

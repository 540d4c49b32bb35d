//! The directory that Open WebUI holds: requested over its REST, with the user's own token.
//!
//! - [`client`]: connections, deadlines, bounds; [`places`]: whose turn it is
//! - [`watch`]: whether it is there; [`version`]: which one it is, and what that means
//! - [`rest`]: requests, and what they came to
//! - [`cache`]: what it answered a moment ago; [`changes`]: what of it is not believed any more
//! - [`webui`]: the handle; [`people`], [`notes`], [`chats`]: one file a kind of request
//! - [`socket`]: a connection to its own socket, for what only that can do
//! - [`receipts`]: what was read, waiting; [`deliver`] takes it there
//!
//! While it is away, what was answered lately stands in; what can't be known is [`Refusal::Unavailable`].
//!
//! [`Refusal::Unavailable`]: super::Refusal::Unavailable

mod cache;
mod changes;
mod chats;
mod client;
mod deliver;
mod notes;
mod people;
mod places;
mod receipts;
mod rest;
mod socket;
mod version;
mod watch;
mod webui;

pub use receipts::Receipt;
pub use socket::{Link, Received, Said, SocketError, read};
pub use version::limits_of;
pub use webui::OpenWebui;

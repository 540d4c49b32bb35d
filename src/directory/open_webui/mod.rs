//! The directory that Open WebUI holds: requested over its REST, with the user's own token.
//!
//! - [`client`]: connections, deadlines, bounds
//! - [`watch`]: whether it is there
//! - [`rest`]: requests, and what they came to
//! - [`cache`]: what it answered a moment ago
//! - [`webui`]: the handle; [`people`], [`notes`], [`chats`]: one file a kind of request
//! - [`relay`]: what only its own socket can do: [`receipts`] wait, then go over a [`socket`] of their user
//!
//! While it is away, what was answered lately stands in; what can't be known is [`Refusal::Unavailable`].
//!
//! [`Refusal::Unavailable`]: super::Refusal::Unavailable

mod cache;
mod chats;
mod client;
mod notes;
mod people;
mod receipts;
mod relay;
mod rest;
mod socket;
mod watch;
mod webui;

pub use receipts::Receipt;
pub use webui::OpenWebui;

//! siskin: the live connection of an AI chat application.
//!
//! # Layout
//! In the order an event meets them; imports only point down this list.
//!
//! - [`cli`]: the command line, one file a command
//! - [`serve`]: builds the house from `Config`, listens, drains on SIGTERM
//! - [`http`]: hyper on smol: accept loop, limits, CORS, routes
//! - [`console`]: the page and the client module, embedded
//! - [`api`]: what a backend may ask over HTTP, one file a resource
//! - [`events`]: what a client event means, one file a family
//! - [`house`]: the handles that events and the API share
//! - [`emitter`]: a backend streams into a chat: emit, then persist by type
//! - [`caller`]: a backend asks one browser and waits
//! - [`directory`]: who is who and what they may see: local | Open WebUI
//! - [`state`]: what instances share: sessions, usage, documents, locks, tasks
//! - [`backplane`]: how instances reach each other's sockets: alone | redis
//! - [`socket`]: Socket.IO v5: packets, hub, rooms, acks
//! - [`engine`]: Engine.IO v4: packets, payloads, sessions, transports
//! - [`outbox`]: the bounded queue of encoded frames between hub and transport
//! - [`store`]: the embedded ACID store
//! - [`redis`]: one place that connects to Redis
//! - [`config`]: the settings table and what was made of the environment
//! - [`metrics`], [`log`], [`systemd`], [`task`], [`token`], [`json`]: the ground they stand on

pub mod api;
pub mod backplane;
pub mod caller;
pub mod cli;
pub mod config;
#[cfg(feature = "console")]
pub mod console;
pub mod directory;
pub mod emitter;
pub mod engine;
pub mod events;
pub mod house;
pub mod http;
pub mod json;
pub mod log;
pub mod metrics;
pub mod outbox;
#[cfg(test)]
mod random;
#[cfg(feature = "redis")]
pub mod redis;
pub mod serve;
pub mod socket;
pub mod state;
mod store;
pub mod systemd;
pub mod task;
pub mod token;

/// The one executor. Everything of ours runs on it, on one thread.
pub type Executor = &'static smol::LocalExecutor<'static>;

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
//! - [`events`]: what a client event says, one file a family
//! - [`app`]: what siskin does, one noun a room
//! - [`directory`]: who is who and what they may see: local | Open WebUI
//! - [`peers`]: all that knows of other instances: alone | Redis
//! - [`socket`]: Socket.IO v5: packets, hub, rooms, acks
//! - [`engine`]: Engine.IO v4: packets, payloads, sessions, transports
//! - [`store`]: the embedded ACID store
//! - [`redis`]: one place that connects to Redis
//! - [`outbox`]: the bounded queue of encoded frames between hub and transport
//! - [`config`]: the settings table and what was made of the environment
//! - [`metrics`], [`log`], [`systemd`], [`token`]: what is counted, said, told to systemd, shown by clients
//! - [`ground`]: what all stand on: clock, tasks, net, rooms, random, json

mod api;
pub mod app;
pub mod cli;
pub mod config;
#[cfg(feature = "console")]
mod console;
pub mod directory;
pub mod engine;
pub mod events;
pub mod ground;
pub mod http;
pub mod log;
pub mod metrics;
pub mod outbox;
pub mod peers;
#[cfg(feature = "redis")]
pub mod redis;
pub mod serve;
pub mod socket;
pub mod store;
pub mod systemd;
pub mod token;

//! siskin: the live connection of an AI chat application.
//!
//! # Layout
//! In the order an event meets them; imports only point down this list.
//!
//! - [`cli`]: the command line, one file a command
//! - [`fuzz`]: all that is read from outside as functions of bytes, for the fuzzer
//! - [`protocol`]: the two protocol layers alone, for the conformance server
//! - [`serve`]: builds the house from `Config`, listens, drains on SIGTERM
//! - [`http`]: hyper on smol: accept loop, limits, CORS, routes
//! - [`console`]: the page and the client module, embedded
//! - [`api`]: what a backend may ask over HTTP, one file a resource
//! - [`events`]: what a client event says, one file a family
//! - [`app`]: what siskin does, one noun a part
//! - [`peers`]: all that knows of other instances: alone | Redis
//! - [`directory`]: who is who and what they may see: local | Open WebUI
//! - [`socket`]: Socket.IO v5: packets, hub, rooms, acks
//! - [`engine`]: Engine.IO v4: packets, payloads, sessions, transports
//! - [`store`]: the embedded ACID store
//! - [`redis`]: one place that connects to Redis
//! - [`outbox`]: the bounded queue of encoded frames between hub and transport
//! - [`config`]: the settings table and what was made of the environment
//! - [`metrics`], [`log`], [`systemd`], [`token`]: what is counted, said, told to systemd, shown by clients
//! - [`ground`]: what all stand on: clock, tasks, net, rooms, random, json

// What only other instances need is not dead, but unused without Redis; as is the page without the console.
#![cfg_attr(
    not(all(feature = "redis", feature = "console")),
    allow(dead_code, unused_imports)
)]

mod api;
mod app;
pub mod cli;
mod config;
#[cfg(feature = "console")]
mod console;
mod directory;
mod engine;
mod events;
#[cfg(all(any(test, fuzzing), feature = "redis"))]
pub mod fuzz;
mod ground;
mod http;
mod log;
mod metrics;
mod outbox;
mod peers;
#[cfg(feature = "redis")]
mod redis;
mod serve;
mod socket;
mod store;
mod systemd;
mod token;

/// The two protocol layers alone: what the conformance server is built on.
pub mod protocol {
    pub use crate::engine::frame::{binary as binary_frame, packet as text_frame};
    pub use crate::engine::{
        Closed, Engine, Handler as MessageHandler, Message, Session, Settings, Transports,
    };
    pub use crate::ground::tasks::block_on;
    pub use crate::http::{Answer, Connections, Limits, listen::Answering};
    pub use crate::outbox::Bounds;
    pub use crate::socket::{Args, Event, Handler, Hub, Reason, Sid, Step, Target};
}

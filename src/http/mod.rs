//! hyper on smol: accept loop, limits, CORS, routes.

mod answer;
mod client_address;
mod cors;
mod health;
pub mod listen;
mod resting;
mod routes;
mod timer;
mod waiting;

pub use answer::Answer;
#[cfg(any(test, fuzzing))]
pub use client_address::fuzz_lines;
pub use listen::{Connections, Limits, Service};
pub use routes::{SOCKET_PATH, Site};

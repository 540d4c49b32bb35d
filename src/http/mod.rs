//! hyper on smol: accept loop, limits, CORS, routes.

mod answer;
mod client_address;
mod cors;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
pub mod listen;
mod resting;
mod routes;
mod timer;
mod waiting;

pub use answer::Answer;
pub use listen::{Connections, Limits, Service};
pub use routes::{SOCKET_PATH, Site};

//! hyper on smol: accept loop, limits, CORS, routes.

pub mod client_address;
pub mod cors;
pub mod listen;
mod timer;

pub use listen::{Answer, Connections, Limits, Service};

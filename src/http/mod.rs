//! hyper on smol: accept loop, limits, CORS, routes.

pub mod client_address;
pub mod cors;
mod health;
pub mod listen;
mod routes;
mod timer;

pub use listen::{Answer, Connections, Limits, Service};
pub use routes::Site;

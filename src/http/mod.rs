//! hyper on smol: accept loop, limits, CORS, routes.

mod answer;
mod client_address;
mod cors;
mod health;
pub mod listen;
mod routes;
mod timer;

pub use listen::{Answer, Connections, Limits, Service};
pub use routes::Site;

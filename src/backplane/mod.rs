//! How instances reach each other's sockets: alone or over Redis.

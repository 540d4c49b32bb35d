//! What everything else stands on, and nothing of it is about chats or sockets.

pub mod embedded;
pub mod names;

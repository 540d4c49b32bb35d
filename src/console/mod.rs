//! The page and the client module, embedded.

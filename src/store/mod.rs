//! The embedded ACID store.

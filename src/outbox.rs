//! The bounded queue of encoded frames between hub and transport.

//! Environment to Config, once, at start.

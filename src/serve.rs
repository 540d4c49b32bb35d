//! Builds the house from Config, listens, drains on SIGTERM.

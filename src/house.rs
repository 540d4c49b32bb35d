//! The handles that events and the API share.

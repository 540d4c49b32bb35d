//! What a client event means, one file a family.

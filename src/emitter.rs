//! A backend streams into a chat: emit, then persist by type.

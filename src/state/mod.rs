//! What instances share: sessions, usage, documents, locks, tasks.

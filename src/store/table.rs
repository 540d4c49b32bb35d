//! The tables, and one change to one of them.
//!
//! Keys are text; parts of a key are joined with NUL, which no id may hold. Values are bytes: JSON
//! unless the table says otherwise.

use redb::TableDefinition;

/// A redb table of ours.
pub(super) type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// user id -> the user's record
    Users,
    /// channel id -> the channel
    Channels,
    /// channel id, user id -> the member: `last_read_at` and more
    Members,
    /// user id, channel id -> nothing: [`Table::Members`] seen from the user
    Memberships,
    /// note id -> the note
    Notes,
    /// note id, number in 20 digits -> an earlier state of the note
    Versions,
    /// chat id -> the chat without its messages
    Chats,
    /// user id, chat id -> nothing: [`Table::Chats`] seen from its owner
    Owned,
    /// chat id, message id -> the message without its content
    Messages,
    /// chat id, message id -> the message's content as plain text, so that appending a token to it
    /// never costs a parse
    Contents,
    /// chat id, user id -> when that user read the chat last (epoch seconds)
    Reads,
    /// note id, nothing -> the head of its document; note id, number in 20 digits -> some of its updates. The table is made
    /// by the first write to it: files of older versions have none, and older versions leave it alone.
    Documents,
}

impl Table {
    /// Every table, in the order of the file's directory.
    pub(crate) const ALL: [Self; 12] = [
        Self::Users,
        Self::Channels,
        Self::Members,
        Self::Memberships,
        Self::Notes,
        Self::Versions,
        Self::Chats,
        Self::Owned,
        Self::Messages,
        Self::Contents,
        Self::Reads,
        Self::Documents,
    ];

    /// The table's name in the file. Part of the format: never changed, only migrated.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Channels => "channels",
            Self::Members => "members",
            Self::Memberships => "memberships",
            Self::Notes => "notes",
            Self::Versions => "versions",
            Self::Chats => "chats",
            Self::Owned => "owned",
            Self::Messages => "messages",
            Self::Contents => "contents",
            Self::Reads => "reads",
            Self::Documents => "documents",
        }
    }

    pub(super) fn definition(self) -> Definition {
        TableDefinition::new(self.name())
    }

    /// Are the values JSON?
    pub(super) fn holds_json(self) -> bool {
        !matches!(
            self,
            Self::Memberships | Self::Owned | Self::Contents | Self::Documents
        )
    }
}

/// A key of two parts.
pub(crate) fn key(first: &str, second: &str) -> String {
    let mut key = String::with_capacity(first.len() + second.len() + 1);
    key.push_str(first);
    key.push('\0');
    key.push_str(second);
    key
}

/// One change. `None` deletes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(super) table: Table,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

/// Changes that are saved together or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch(pub(super) Vec<Change>);

impl Batch {
    /// No changes yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Nothing to do?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a value.
    pub(crate) fn put(&mut self, table: Table, key: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.push(table, key.into(), Some(value.into()));
    }

    /// Deletes a value, if it is there.
    pub(crate) fn delete(&mut self, table: Table, key: impl Into<String>) {
        self.push(table, key.into(), None);
    }

    fn push(&mut self, table: Table, key: String, value: Option<Vec<u8>>) {
        self.0.push(Change { table, key, value });
    }
}

//! What one author has changed in a note and is not saved yet.

use crate::directory::Identity;
use crate::socket::Sid;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

/// Fields of a note's `data`, each as its JSON.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// Fields that one author changed. They are saved with this author's token, under this author's name, and no other's.
#[derive(Clone)]
pub struct Change {
    pub author: Rc<Identity>,
    /// Who learns when it can't be saved.
    pub sid: Sid,
    pub fields: Fields,
    /// When the author began, and when the author last changed something.
    pub first: Instant,
    pub last: Instant,
}

impl Change {
    pub fn new(author: Rc<Identity>, sid: Sid, fields: Fields, now: Instant) -> Self {
        Self {
            author,
            sid,
            fields,
            first: now,
            last: now,
        }
    }

    /// Whether both are of one author. Two tokens of one user are one author.
    pub fn is_by_author_of(&self, other: &Self) -> bool {
        self.author.user.id == other.author.user.id
    }

    /// Bytes of the fields' values.
    pub fn bytes(&self) -> usize {
        self.fields.values().map(|field| field.get().len()).sum()
    }
}

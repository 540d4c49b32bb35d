//! What one author has changed in a note and is not saved yet.

use crate::directory::Identity;
use crate::socket::Sid;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

/// Fields that one change may have.
const MOST_FIELDS: usize = 256;
/// What a field takes beside its name and its value, in bytes, about.
const OVERHEAD: usize = 128;

/// The field that the document itself is saved in.
pub const CONTENT: &str = "content";

/// Fields of a note's `data`, each as its JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub BTreeMap<String, Text>);

/// A field's value, as its JSON.
pub type Text = Box<str>;

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MOST_FIELDS} fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            fields.insert(name, value.get().into());
            if fields.len() > MOST_FIELDS {
                return Err(A::Error::custom("too many fields"));
            }
        }
        Ok(Fields(fields))
    }
}

impl Fields {
    pub fn has_content(&self) -> bool {
        self.0.contains_key(CONTENT)
    }

    pub fn drop_content(&mut self) {
        self.0.remove(CONTENT);
    }

    /// The fields as one JSON object.
    pub fn json(&self) -> String {
        let mut json = String::from("{");
        for (name, value) in &self.0 {
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&serde_json::json!(name).to_string());
            json.push(':');
            json.push_str(value);
        }
        json.push('}');
        json
    }
}

/// Fields that one author changed. They are saved with the token that the author showed, and with no other.
#[derive(Clone)]
pub struct Change {
    pub author: Rc<Identity>,
    /// Who learns when it can't be saved.
    pub sid: Sid,
    pub fields: Fields,
    /// When the author began, and when the author last changed something.
    pub first: Instant,
    pub last: Instant,
    /// Newer changes have a higher number.
    pub number: u64,
    /// It could not be saved, and is not tried again before.
    pub retry_at: Option<Instant>,
}

impl Change {
    pub fn new(author: Rc<Identity>, sid: Sid, fields: Fields, now: Instant) -> Self {
        Self {
            author,
            sid,
            fields,
            first: now,
            last: now,
            number: 0,
            retry_at: None,
        }
    }

    /// Whether both were made with one token. Two tokens of one user are not one: either may have ended.
    pub fn is_by_author_of(&self, other: &Self) -> bool {
        self.author.token == other.author.token
    }

    /// Takes out the fields that a newer change has.
    pub fn give_way_to(&mut self, newer: &Fields) {
        self.fields.0.retain(|name, _| !newer.0.contains_key(name));
    }

    pub fn is_empty(&self) -> bool {
        self.fields.0.is_empty()
    }

    /// Bytes that the fields take in memory, about.
    pub fn bytes(&self) -> usize {
        self.fields.0.iter().map(bytes).sum()
    }

    /// Bytes of the fields beside the content, but for those that a newer change takes the place of.
    pub fn bytes_beside(&self, newer: Option<&Self>) -> usize {
        let newer = newer.filter(|newer| newer.is_by_author_of(self));
        let stays = |name: &&String| {
            *name != CONTENT && newer.is_none_or(|newer| !newer.fields.0.contains_key(*name))
        };
        let fields = self.fields.0.iter().filter(|(name, _)| stays(name));
        fields.map(bytes).sum()
    }
}

fn bytes((name, value): (&String, &Text)) -> usize {
    name.len() + value.len() + OVERHEAD
}

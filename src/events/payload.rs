//! What payloads have in common. A payload that doesn't fit is refused as a whole.

pub use crate::ground::names::Id;

use crate::ground::names::is_id;
use crate::socket::Object;
use serde::Deserialize;
use std::ops::Deref;

/// A document's id: an id, or `note:` or `note_` before the id of a note.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct DocumentId(String);

impl Deref for DocumentId {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DocumentId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let note = ["note:", "note_"].iter().find_map(|p| text.strip_prefix(p));
        match is_id(note.unwrap_or(&text)) {
            true => Ok(Self(text)),
            false => Err("not a document's id"),
        }
    }
}

/// The `auth` object of CONNECT, and of the payloads that carry one.
#[derive(Deserialize)]
pub struct Auth {
    pub token: String,
}

/// A payload that carries nothing else that matters.
#[derive(Deserialize)]
pub struct WithAuth {
    pub auth: Object<Auth>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_with_the_longest_id_is_a_document() {
        let fits = |text: String| DocumentId::try_from(text).is_ok();
        for prefix in ["", "note:", "note_"] {
            assert!(fits(format!("{prefix}{}", "ä".repeat(256))), "{prefix}");
            assert!(!fits(format!("{prefix}{}", "ä".repeat(257))), "{prefix}");
        }
        assert!(!fits(String::new()) && !fits("note:".into()) && !fits("note:\n".into()));
    }
}

//! What an id or a name may be, for clients, backends and the directory alike.

use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;
use std::ops::Deref;

/// The longest id, in characters.
pub const MAX_ID_CHARS: usize = 256;

/// Whether this can be an id: 1 to [`MAX_ID_CHARS`] characters, none of them a control character.
pub fn is_id(text: &str) -> bool {
    // Most text that is too long is far too long: that is seen without counting its characters.
    let few = text.len() <= MAX_ID_CHARS * 4 && text.chars().count() <= MAX_ID_CHARS;
    !text.is_empty() && few && !text.contains(char::is_control)
}

/// An id that somebody sent. Whether it names anything, and anything that the sender may see, is asked of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Id(String);

impl Deref for Id {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match is_id(&text) {
            true => Ok(Self(text)),
            false => Err(de::Error::custom(
                "an id has 1 to 256 characters and no control characters",
            )),
        }
    }
}

/// The id of the document that a note is edited as.
pub fn document_of_note(note_id: &str) -> String {
    format!("note:{note_id}")
}

/// The note that a document is.
pub fn note_of_document(document_id: &str) -> Option<&str> {
    document_id.strip_prefix("note:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_text_without_control_characters() {
        let good = [
            "a",
            "note:1",
            "../x",
            "*",
            "é/ü",
            "a b/c?",
            &"x".repeat(256),
        ];
        for text in good {
            let json = serde_json::to_string(text).unwrap();
            let id: Id = serde_json::from_str(&json).unwrap();
            assert_eq!((&*id, serde_json::to_string(&id).unwrap()), (text, json));
        }
        let long = format!("\"{}\"", "x".repeat(257));
        for json in [
            "\"\"",
            "\"a\\nb\"",
            "\"\\u0000\"",
            "\"a\\u007f\"",
            "\"\\u0085\"",
            "1",
            "null",
            "[\"a\"]",
            &long,
        ] {
            assert!(serde_json::from_str::<Id>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn ids_are_counted_in_characters() {
        for character in ["x", "ß", "€", "🦜"] {
            assert!(is_id(&character.repeat(256)), "{character}");
            assert!(!is_id(&character.repeat(257)), "{character}");
        }
    }
}

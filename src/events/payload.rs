//! What the fields of payloads may be. A payload that doesn't fit is refused as a whole.

use crate::socket::Object;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::ops::Deref;

/// The longest id or name that is taken from a client, in bytes.
pub const MAX_ID_BYTES: usize = 256;

/// An id that a client sent: some text, not endless, without control characters. Whether it names anything, and
/// anything that the sender may see, is asked of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.len() > MAX_ID_BYTES || text.contains(char::is_control) {
            return Err(de::Error::custom("not an id"));
        }
        Ok(Self(text))
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
    fn an_id_is_short_text_without_control_characters() {
        let good = ["a", "note:1", "../x", "*", "é/ü", &"x".repeat(256)];
        for text in good {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(&*serde_json::from_str::<Id>(&json).unwrap(), text);
        }
        let long = format!("\"{}\"", "x".repeat(257));
        for json in [
            "\"\"",
            "\"a\\nb\"",
            "\"\\u0000\"",
            "1",
            "null",
            "[\"a\"]",
            &long,
        ] {
            assert!(serde_json::from_str::<Id>(json).is_err(), "{json}");
        }
    }
}

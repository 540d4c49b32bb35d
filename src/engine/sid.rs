//! The id of a socket: 15 random bytes as 20 characters of base64url.

use std::fmt;

/// A Socket.IO session id. Copied freely, never allocated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; 20]);

impl Sid {
    /// A fresh id from the system's random source.
    pub fn random() -> Self {
        let mut seed = [0u8; 15];
        getrandom::fill(&mut seed).expect("the system has a random source");
        let mut text = [0u8; 20];
        data_encoding::BASE64URL_NOPAD.encode_mut(&seed, &mut text);
        Self(text)
    }

    /// Reads an id; `None` unless it has exactly the 20 characters of ours and python-socketio's.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 20] = text.as_bytes().try_into().ok()?;
        let known = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        bytes.iter().all(known).then_some(Self(bytes))
    }

    /// The id as the bytes of its text.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a sid is ASCII")
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Sid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

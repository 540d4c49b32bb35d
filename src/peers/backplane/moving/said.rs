//! What instances say to each other about sessions that move, signed: bytes as base64.

use crate::ground::written::{Reader, Writer};
use crate::socket::Sid;
use crate::token::{Key, SIGNATURE};
use data_encoding::BASE64URL_NOPAD;
use std::time::Instant;

/// What only an offer says.
pub type Nonce = [u8; 16];

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Ask,
    No,
    Offer,
    Take,
    Mark,
    Handed,
}

/// Who speaks otherwise is not understood.
const VERSION: u64 = 1;

const KINDS: [Kind; 6] = [
    Kind::Ask,
    Kind::No,
    Kind::Offer,
    Kind::Take,
    Kind::Mark,
    Kind::Handed,
];

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub kind: Kind,
    /// The instances by their host ids; an `ask` is for all.
    pub from: String,
    pub to: String,
    /// The asker's number for it.
    pub id: u64,
    pub sid: Sid,
    pub nonce: Nonce,
    pub body: Vec<u8>,
}

/// One that came, and may be anybody's.
pub struct Signed {
    pub said: Said,
    bytes: Vec<u8>,
    signature: Vec<u8>,
}

impl Said {
    /// What it is signed with beside the secret: who doesn't have the session doesn't know its private id.
    pub fn pid(&self, pid: &str) -> String {
        match self.kind {
            Kind::No => String::new(),
            _ => pid.to_owned(),
        }
    }

    /// As it is published.
    pub fn signed(&self, key: &Key, pid: &str) -> Option<String> {
        let mut out = Writer::default();
        out.number(VERSION);
        out.number(self.kind as u64);
        out.bytes(self.from.as_bytes());
        out.bytes(self.to.as_bytes());
        out.number(self.id);
        out.bytes(self.sid.as_bytes());
        out.bytes(&self.nonce);
        out.bytes(&self.body);
        let length = out.0.len();
        out.0.extend_from_slice(pid.as_bytes());
        let signature = key.sign(&out.0)?;
        out.0.truncate(length);
        out.0.extend_from_slice(&signature);
        Some(BASE64URL_NOPAD.encode(&out.0))
    }
}

impl Signed {
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut bytes = BASE64URL_NOPAD.decode(message).ok()?;
        let signature = bytes.split_off(bytes.len().checked_sub(SIGNATURE)?);
        let mut from = Reader::new(&bytes, Instant::now());
        from.number().filter(|version| *version == VERSION)?;
        let said = Said {
            kind: *KINDS.get(usize::try_from(from.number()?).ok()?)?,
            from: from.text()?.to_owned(),
            to: from.text()?.to_owned(),
            id: from.number()?,
            sid: Sid::parse(from.text()?)?,
            nonce: from.bytes()?.try_into().ok()?,
            body: from.bytes()?.to_vec(),
        };
        from.rest.is_empty().then_some(Self {
            said,
            bytes,
            signature,
        })
    }

    /// What it says, if whoever said it knows the secret and the private id.
    pub fn verified(mut self, key: &Key, pid: &str) -> Option<Said> {
        self.bytes.extend_from_slice(pid.as_bytes());
        key.signed(&self.bytes, &self.signature)
            .then_some(self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random;

    fn said() -> Said {
        Said {
            kind: Kind::Take,
            from: "a".into(),
            to: "b".into(),
            id: 7,
            sid: Sid::random(),
            nonce: random::bytes(),
            body: b"offset".to_vec(),
        }
    }

    #[test]
    fn a_message_is_believed_if_who_sends_it_knows_the_secret_and_the_private_id() {
        let (key, said) = (Key::new("secret"), said());
        let message = said.signed(&key, "pid").unwrap();
        let read = |message: &str| Signed::read(message.as_bytes());
        let verified = |key, pid| read(&message).unwrap().verified(key, pid);
        assert_eq!(verified(&key, "pid"), Some(said.clone()));
        assert_eq!(verified(&key, "pie"), None);
        assert_eq!(verified(&Key::new("other"), "pid"), None);
        assert!(said.signed(&Key::new(""), "pid").is_none());
        for at in 0..message.len() {
            let mut torn = message.clone();
            assert!(read(&torn[..at]).is_none_or(|torn| torn.verified(&key, "pid").is_none()));
            torn.replace_range(
                at..=at,
                if torn[at..].starts_with('A') {
                    "B"
                } else {
                    "A"
                },
            );
            assert!(read(&torn).is_none_or(|torn| torn.verified(&key, "pid").is_none()));
        }
    }
}

//! The id of a socket: 15 random bytes as 20 characters of base64url.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A Socket.IO session id. Copied freely, never allocated.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct Sid([u8; 20]);

/// In three steps: the C library's way takes a step a byte, at each look into a table.
impl PartialEq for Sid {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

/// A table by sid. The ids are ours and random: nobody can choose two that meet, so hashing them costs next to nothing.
pub type BySid<T> = HashMap<Sid, T, BuildHasherDefault<SidHasher>>;

impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // 48 random bits.
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Spreads the bits of a sid.
#[derive(Default)]
pub struct SidHasher(u64);

impl Hasher for SidHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio; both halves count, since tables look at the top bits and at the lowest.
        let spread = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (spread as u64) ^ ((spread >> 64) as u64);
    }
}

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

    fn parts(&self) -> (u64, u64, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = self.0;
        (
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
            u32::from_ne_bytes([q, r, s, t]),
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher as _, RandomState};

    #[test]
    fn hashes_of_sids_fill_a_table_evenly() {
        let hash = |sid: &Sid| BuildHasherDefault::<SidHasher>::default().hash_one(sid);
        let sids: Vec<Sid> = (0..4096).map(|_| Sid::random()).collect();
        for shift in [0, 57] {
            let mut places = [0; 128];
            for sid in &sids {
                places[(hash(sid) >> shift) as usize % 128] += 1;
            }
            assert!(places.iter().all(|&count| count < 32 * 3), "{places:?}");
        }
        let same = Sid::parse(sids[0].as_str());
        let other = RandomState::new();
        assert_eq!(
            same.map(|sid| other.hash_one(sid)),
            Some(other.hash_one(sids[0]))
        );
    }
}

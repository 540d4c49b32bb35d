//! What another process is told, as bytes: numbers of eight bytes, texts with their length before them, times by their age.
//! Whoever reads believes nothing: what is not as it was written is none of it.

use std::time::{Duration, Instant};

/// Writes.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn age(&mut self, at: Instant, now: Instant) {
        self.number(now.saturating_duration_since(at).as_millis() as u64);
    }

    /// How many follow.
    pub fn count(&mut self, count: usize) {
        self.number(count as u64);
    }
}

/// Reads what follows.
pub struct Reader<'a> {
    pub rest: &'a [u8],
    /// When it was written.
    pub written: Instant,
}

impl<'a> Reader<'a> {
    pub fn new(rest: &'a [u8], written: Instant) -> Self {
        Self { rest, written }
    }

    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*number))
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn at(&mut self) -> Option<Instant> {
        let age = Duration::from_millis(self.number()?);
        self.written.checked_sub(age)
    }

    /// All of so many as are said to follow; each takes some bytes.
    pub fn all<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut all = Vec::new();
        for _ in 0..self.number()? {
            all.push(one(self)?);
        }
        Some(all)
    }
}

//! Reads lib0's encoding, the one of Yjs updates: variable length integers, text, values. Allocates nothing.

/// Numbers are at most what JavaScript counts exactly.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// The first byte of a value that is an object.
pub const OBJECT: u8 = 118;

/// How deep arrays and maps may be nested in a value.
const MAX_VALUE_DEPTH: usize = 64;

/// The bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUpdate;

/// A place in some bytes; it only moves forward.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn byte(&mut self) -> Result<u8, BadUpdate> {
        let (first, rest) = self.rest.split_first().ok_or(BadUpdate)?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], BadUpdate> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(BadUpdate)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An unsigned number, seven bits a byte, the lowest first.
    pub fn number(&mut self) -> Result<u64, BadUpdate> {
        let mut number = 0;
        for shift in (0..56).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if number <= MAX_SAFE {
                    Ok(number)
                } else {
                    Err(BadUpdate)
                };
            }
        }
        Err(BadUpdate)
    }

    /// How many things follow, each at least `bytes` long: never more than can be there.
    pub fn count(&mut self, bytes: usize) -> Result<usize, BadUpdate> {
        let count = usize::try_from(self.number()?).map_err(|_| BadUpdate)?;
        if count <= self.rest.len() / bytes {
            Ok(count)
        } else {
            Err(BadUpdate)
        }
    }

    /// Bytes after their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], BadUpdate> {
        let len = self.count(1)?;
        self.take(len)
    }

    pub fn text(&mut self) -> Result<&'a str, BadUpdate> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadUpdate)
    }

    /// A value, nested no deeper than [`MAX_VALUE_DEPTH`].
    pub fn value(&mut self) -> Result<(), BadUpdate> {
        self.value_within(MAX_VALUE_DEPTH)
    }

    fn value_within(&mut self, depth: usize) -> Result<(), BadUpdate> {
        match self.byte()? {
            // undefined, null, false, true
            127 | 126 | 121 | 120 => {}
            // An integer with its sign in the first byte.
            125 => self.signed()?,
            // A float of 4 bytes, one of 8, an integer of 8.
            124 => drop(self.take(4)?),
            123 | 122 => drop(self.take(8)?),
            119 => drop(self.text()?),
            116 => drop(self.bytes()?),
            OBJECT if depth > 0 => {
                for _ in 0..self.count(2)? {
                    self.text()?;
                    self.value_within(depth - 1)?;
                }
            }
            117 if depth > 0 => {
                for _ in 0..self.count(1)? {
                    self.value_within(depth - 1)?;
                }
            }
            _ => return Err(BadUpdate),
        }
        Ok(())
    }

    /// Up to 53 bits and a sign.
    fn signed(&mut self) -> Result<(), BadUpdate> {
        for _ in 0..8 {
            if self.byte()? < 0x80 {
                return Ok(());
            }
        }
        Err(BadUpdate)
    }
}

/// Appends an unsigned number.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes after their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

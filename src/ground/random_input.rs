//! Random input for tests: the same in every run, unless SISKIN_SEED says otherwise.

/// Rounds of each test; SISKIN_ROUNDS sets another number.
pub fn rounds() -> usize {
    number("SISKIN_ROUNDS").unwrap_or(3000) as usize
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
pub struct Random(u64);

/// What parsers stumble over, beside what is merely random.
const PIECES: &[&str] = &[
    "0",
    "1",
    "2",
    "4",
    "5",
    "6",
    "-",
    ",",
    "/",
    "/a",
    "?",
    "[",
    "]",
    "{",
    "}",
    ":",
    "\"",
    "\\",
    "\\u0041",
    "null",
    "true",
    "1e9",
    "[\"x\"]",
    "{\"_placeholder\":true,\"num\":0}",
    "b",
    "\u{1e}",
    "probe",
    " ",
    "\n",
    "é",
    "\u{1f426}",
    "\u{0}",
    "99999999999999999999",
    "\"_placeholder\"",
];

impl Random {
    pub fn new() -> Self {
        Self::from(0x5157_4b49_4e21)
    }

    /// One that throws differently from others, whatever SISKIN_SEED is.
    pub fn from(seed: u64) -> Self {
        let given = number("SISKIN_SEED").unwrap_or(0);
        Self((given.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() >> 11) as usize % end.max(1)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1))
            .map(|_| self.number() as u8)
            .collect()
    }

    /// Text of at most `most` pieces.
    pub fn text(&mut self, most: usize) -> String {
        (0..self.below(most + 1))
            .map(|_| self.pick(PIECES))
            .collect()
    }

    /// A JSON value, nested at most `depth` deep.
    pub fn json(&mut self, depth: usize) -> serde_json::Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => serde_json::Value::Null,
            1 => self.once_in(2).into(),
            2 => (self.number() as i32).into(),
            3 => self.text(5).into(),
            4 => (0..self.below(4)).map(|_| self.json(depth - 1)).collect(),
            _ => (0..self.below(4))
                .map(|_| (self.text(3), self.json(depth - 1)))
                .collect(),
        }
    }

    /// The same with some bytes changed, lost or doubled.
    pub fn spoil(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut spoilt = bytes.to_vec();
        for _ in 0..=self.below(3) {
            if spoilt.is_empty() {
                break;
            }
            let at = self.below(spoilt.len());
            match self.below(4) {
                0 => spoilt[at] = self.number() as u8,
                1 => drop(spoilt.remove(at)),
                2 => spoilt.insert(at, spoilt[at]),
                _ => spoilt.truncate(at),
            }
        }
        spoilt
    }
}

//! Replies of a subscriber (RESP2), cut out of the stream as slices.
//!
//! All of them are one simple value or a flat array. A length that was read is never read again, so a reply of
//! 64 MiB that comes in 4,000 pieces costs no more than its bytes.

use std::ops::Range;

/// A reply larger than this is no reply of Redis: its own limit for a value is 512 MiB.
const MOST: usize = 600 << 20;
/// Elements of an array at most; a message has three.
const MOST_PARTS: usize = 16;
/// Of a line: a length, or an error's text.
const MOST_LINE: usize = 64 << 10;
/// What a read asks for when nothing larger is known to come.
const READ: usize = 16 << 10;
/// A buffer that is larger than this goes when it has been emptied.
const KEPT: usize = 256 << 10;

/// What came and was not taken yet.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// How much of the buffer is filled.
    filled: usize,
    /// Where the reply begins that is read now.
    start: usize,
    /// Where its next element begins.
    at: usize,
    parts: Vec<Range<usize>>,
    /// Elements that are still to come; `None` before the reply's first line.
    missing: Option<usize>,
}

/// Not what Redis sends to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply;

/// A reply: its elements, each without its length. An error keeps its `-`.
pub struct Reply<'a> {
    buffer: &'a [u8],
    parts: &'a [Range<usize>],
}

impl<'a> Reply<'a> {
    /// How many elements it has.
    #[cfg(any(test, fuzzing))]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// An element; empty when it is missing or nil.
    pub fn part(&self, number: usize) -> &'a [u8] {
        let range = self.parts.get(number).cloned().unwrap_or_default();
        self.buffer.get(range).unwrap_or_default()
    }
}

impl Reader {
    /// One to which this has come already.
    pub fn with(came: Vec<u8>) -> Self {
        Self {
            filled: came.len(),
            buffer: came,
            ..Self::default()
        }
    }

    /// What came and is not taken yet.
    pub fn rest(&mut self) -> &[u8] {
        self.make_room();
        &self.buffer[..self.filled]
    }

    /// Room for what is read next, at least one byte; `came` tells how much of it was used.
    pub fn space(&mut self) -> &mut [u8] {
        self.make_room();
        // As much again as has come: what is only announced takes no memory.
        let wanted = self.announced().min(self.filled).max(READ);
        if self.buffer.len() < self.filled + wanted {
            self.buffer.resize(self.filled + wanted, 0);
        }
        &mut self.buffer[self.filled..]
    }

    pub fn came(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.buffer.len());
    }

    /// The next whole reply, if it is there.
    pub fn next(&mut self) -> Result<Option<Reply<'_>>, BadReply> {
        if self.missing == Some(0) {
            self.start = self.at;
            self.parts.clear();
            self.missing = None;
        }
        while self.missing != Some(0) {
            if self.filled - self.start > MOST {
                return Err(BadReply);
            }
            if !self.element()? {
                return Ok(None);
            }
        }
        Ok(Some(Reply {
            buffer: &self.buffer[..self.filled],
            parts: &self.parts,
        }))
    }

    /// Reads one element, or an array's length. `false`: it is not whole yet.
    fn element(&mut self) -> Result<bool, BadReply> {
        let Some((line, after)) = self.line()? else {
            return Ok(false);
        };
        let kind = self.buffer[line.start];
        let number = || number(&self.buffer[line.start + 1..line.end]);
        let part = match kind {
            b'*' if self.missing.is_none() => {
                let count = number()?.filter(|count| (1..=MOST_PARTS).contains(count));
                self.missing = Some(count.ok_or(BadReply)?);
                self.at = after;
                return Ok(true);
            }
            b'$' => match number()? {
                Some(length) if length > MOST => return Err(BadReply),
                Some(length) if self.filled < after + length + 2 => return Ok(false),
                Some(length) => after..after + length,
                None => after..after,
            },
            b'+' | b':' => line.start + 1..line.end,
            b'-' => line.clone(),
            _ => return Err(BadReply),
        };
        let bulk = kind == b'$' && number()?.is_some();
        self.at = if bulk { part.end + 2 } else { after };
        self.parts.push(part);
        self.missing = Some(self.missing.unwrap_or(1) - 1);
        Ok(true)
    }

    /// The line at `at` with what follows it.
    fn line(&self) -> Result<Option<(Range<usize>, usize)>, BadReply> {
        let rest = &self.buffer[self.at..self.filled];
        let Some(length) = rest.iter().take(MOST_LINE).position(|byte| *byte == b'\n') else {
            return if rest.len() < MOST_LINE {
                Ok(None)
            } else {
                Err(BadReply)
            };
        };
        match length > 1 && rest[length - 1] == b'\r' {
            true => Ok(Some((self.at..self.at + length - 1, self.at + length + 1))),
            false => Err(BadReply),
        }
    }

    /// Bytes that the element being read still lacks, as far as its length is known.
    fn announced(&self) -> usize {
        let Ok(Some((line, after))) = self.line() else {
            return 0;
        };
        match (
            self.buffer[line.start],
            number(&self.buffer[line.start + 1..line.end]),
        ) {
            (b'$', Ok(Some(length))) if length <= MOST => {
                (after + length + 2).saturating_sub(self.filled)
            }
            _ => 0,
        }
    }

    /// Moves what is not taken yet to the front of the buffer.
    fn make_room(&mut self) {
        let taken = if self.missing == Some(0) {
            self.at
        } else {
            self.start
        };
        if taken == 0 {
            return;
        }
        if self.missing == Some(0) {
            self.parts.clear();
            self.missing = None;
        }
        self.buffer.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        self.at -= taken;
        self.start = 0;
        for part in &mut self.parts {
            *part = part.start - taken..part.end - taken;
        }
        if self.buffer.len() > KEPT && self.filled <= READ {
            self.buffer.truncate(self.filled);
            self.buffer.shrink_to(READ);
        }
    }
}

/// A length; `None` for nil.
fn number(digits: &[u8]) -> Result<Option<usize>, BadReply> {
    match std::str::from_utf8(digits) {
        Ok("-1") => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| BadReply),
        Err(_) => Err(BadReply),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::fed;
    use super::*;

    fn feed(reader: &mut Reader, bytes: &[u8], piece: usize) -> Vec<Vec<String>> {
        let (replies, is_bad) = fed(reader, bytes, piece);
        assert!(!is_bad);
        let text = |part: Vec<u8>| String::from_utf8_lossy(&part).into_owned();
        let texts = |parts: Vec<Vec<u8>>| parts.into_iter().map(text).collect();
        replies.into_iter().map(texts).collect()
    }

    #[test]
    fn replies_come_whole_however_they_are_cut() {
        let stream = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n-ERR no\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n";
        let all: Vec<Vec<&str>> = vec![
            vec!["OK"],
            vec!["subscribe", "c", "1"],
            vec!["-ERR no"],
            vec!["message", "c", "a\r\nb"],
            vec!["pong", ""],
            vec!["unsubscribe", "", "0"],
        ];
        for piece in [1, 2, 3, 5, 7, 1000] {
            assert_eq!(feed(&mut Reader::default(), stream, piece), all, "{piece}");
        }
    }

    #[test]
    fn a_large_reply_is_read_once_and_its_buffer_goes() {
        let length = 8 << 20;
        let head = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${length}\r\n");
        let mut stream = head.into_bytes();
        stream.resize(stream.len() + length, b'x');
        stream.extend_from_slice(b"\r\n+OK\r\n");
        let mut reader = Reader::default();
        let replies = feed(&mut reader, &stream, 65536);
        assert_eq!(
            (replies[0][2].len(), replies[1][0].as_str()),
            (length, "OK")
        );
        reader.space();
        assert!(
            reader.buffer.capacity() <= KEPT,
            "{}",
            reader.buffer.capacity()
        );
    }

    #[test]
    fn what_is_only_announced_takes_no_memory() {
        let mut reader = Reader::default();
        let head = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$500000000\r\nabc";
        assert!(feed(&mut reader, head, 10).is_empty());
        reader.space();
        assert!(reader.buffer.capacity() <= 4 * READ);
    }

    #[test]
    fn what_is_no_reply_is_told() {
        for wrong in [
            "x\r\n",
            "\n",
            "\r\n",
            "*0\r\n",
            "*99\r\n",
            "$x\r\n",
            "*1\r\n*1\r\n",
            "$9999999999\r\n",
            "*-1\r\n",
        ] {
            let mut reader = Reader::default();
            reader.space()[..wrong.len()].copy_from_slice(wrong.as_bytes());
            reader.came(wrong.len());
            assert!(reader.next().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = crate::ground::random_input::Random::from(0x5157_4b49);
        let pieces = [
            "*", "$", "+", "-", ":", "3", "1", "0", "-1", "\r\n", "\r\n", "abc", "\n",
        ];
        for _ in 0..5000 {
            let text: String = (0..random.below(41))
                .map(|_| random.pick(&pieces))
                .collect();
            let bytes = text.into_bytes();
            fed(&mut Reader::default(), &bytes, random.below(7) + 1);
        }
    }
}

//! Whether text is JSON: looked at once, and nothing is made of it. Each event that comes is, before it is passed on.

use serde_json::value::RawValue;

/// Nesting that is kept track of here; what nests deeper is serde_json's.
const LEVELS: usize = 512;

/// The arrays and objects that have begun, a bit each: is it an object?
#[derive(Default)]
struct Nesting {
    objects: [u64; LEVELS / 64],
    depth: usize,
}

impl Nesting {
    /// `false`: it is too deep.
    fn begin(&mut self, is_object: bool) -> bool {
        let Some(word) = self.objects.get_mut(self.depth / 64) else {
            return false;
        };
        let bit = 1 << (self.depth % 64);
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        true
    }

    /// What is innermost: is it an object? `None`: nothing has begun.
    fn is_object(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.objects[at / 64] >> (at % 64) & 1 == 1)
    }
}

/// Whether this is one JSON value (RFC 8259) with nothing around it but whitespace.
pub fn is_json(text: &str) -> bool {
    let mut nesting = Nesting::default();
    let mut rest = text.as_bytes();
    loop {
        match value(rest, &mut nesting) {
            Step::Ended(after) => rest = after,
            Step::Begun(after) => {
                rest = after;
                continue;
            }
            Step::Deep => return serde_json::from_str::<&RawValue>(text).is_ok(),
            Step::Wrong => return false,
        }
        // What has begun goes on, or ends as well.
        loop {
            rest = after_space(rest);
            let Some(is_object) = nesting.is_object() else {
                return rest.is_empty();
            };
            let Some((byte, after)) = rest.split_first() else {
                return false;
            };
            rest = after;
            match (byte, is_object) {
                (b'}', true) | (b']', false) => nesting.depth -= 1,
                (b',', false) => break,
                (b',', true) => match after_key(rest) {
                    Some(after) => {
                        rest = after;
                        break;
                    }
                    None => return false,
                },
                _ => return false,
            }
        }
    }
}

enum Step<'a> {
    /// A value ended here.
    Ended(&'a [u8]),
    /// An array or object has begun, and its first value comes.
    Begun(&'a [u8]),
    Deep,
    Wrong,
}

/// A value, or the beginning of one.
fn value<'a>(rest: &'a [u8], nesting: &mut Nesting) -> Step<'a> {
    let rest = after_space(rest);
    let Some((first, after)) = rest.split_first() else {
        return Step::Wrong;
    };
    let ended = match first {
        b'"' => after_string(after),
        b'{' | b'[' => return begin(*first == b'{', after_space(after), nesting),
        b't' => after.strip_prefix(b"rue"),
        b'f' => after.strip_prefix(b"alse"),
        b'n' => after.strip_prefix(b"ull"),
        _ => after_number(rest),
    };
    ended.map_or(Step::Wrong, Step::Ended)
}

fn begin<'a>(is_object: bool, inside: &'a [u8], nesting: &mut Nesting) -> Step<'a> {
    match inside {
        [b'}', after @ ..] if is_object => return Step::Ended(after),
        [b']', after @ ..] if !is_object => return Step::Ended(after),
        _ => {}
    }
    if !nesting.begin(is_object) {
        return Step::Deep;
    }
    let first = if is_object {
        after_key(inside)
    } else {
        Some(inside)
    };
    first.map_or(Step::Wrong, Step::Begun)
}

/// What follows a key and its colon.
fn after_key(rest: &[u8]) -> Option<&[u8]> {
    let [b'"', key @ ..] = after_space(rest) else {
        return None;
    };
    match after_space(after_string(key)?) {
        [b':', after @ ..] => Some(after),
        _ => None,
    }
}

#[inline]
fn after_space(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\t' | b'\r', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// What follows the string that has begun.
pub fn after_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match after_text(rest) {
            [b'"', after @ ..] => return Some(after),
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                after @ ..,
            ] => rest = after,
            [b'\\', b'u', a, b, c, d, after @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                rest = after;
            }
            _ => return None,
        }
    }
}

/// What follows the text that may stand in a string as it is: from the first quote, backslash or control character (below 0x20)
/// on. Most of a packet is text, so eight bytes at a time.
pub fn after_text(mut rest: &[u8]) -> &[u8] {
    const EACH: u64 = u64::MAX / 0xff;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(EACH * 0x20);
        let quote = (word ^ (EACH * 0x22)).wrapping_sub(EACH);
        let backslash = (word ^ (EACH * 0x5c)).wrapping_sub(EACH);
        // A byte's highest bit is set if it is one of them, or maybe if one before it is; or if it is no ASCII.
        if (control | quote | backslash) & !word & (EACH * 0x80) != 0 {
            break;
        }
        rest = after;
    }
    while let [byte, after @ ..] = rest
        && !matches!(byte, b'"' | b'\\' | 0..0x20)
    {
        rest = after;
    }
    rest
}

fn after_number(rest: &[u8]) -> Option<&[u8]> {
    let rest = match rest {
        [b'-', after @ ..] => after,
        _ => rest,
    };
    let rest = match rest {
        [b'0', after @ ..] => after,
        _ => after_digits(rest)?,
    };
    let rest = match rest {
        [b'.', after @ ..] => after_digits(after)?,
        _ => rest,
    };
    match rest {
        [b'e' | b'E', b'+' | b'-', after @ ..] | [b'e' | b'E', after @ ..] => after_digits(after),
        _ => Some(rest),
    }
}

/// What follows one digit or more.
fn after_digits(rest: &[u8]) -> Option<&[u8]> {
    let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    rest.get(count..).filter(|_| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random_input::{Random, rounds};

    fn check(text: &str) {
        let expected = serde_json::from_str::<&RawValue>(text).is_ok();
        assert_eq!(is_json(text), expected, "{text:?}");
    }

    #[test]
    fn it_agrees_with_serde_json() {
        let nested = |depth| "[".repeat(depth) + "{\"a\":1}" + &"]".repeat(depth);
        for text in [
            "",
            " ",
            "1",
            "-",
            "-0",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e",
            "1e+",
            "1e+5",
            "1E-07",
            "-2.5e3x",
            "+1",
            "tru",
            "true",
            "nul",
            "null ",
            "falsey",
            "\"",
            "\"\\",
            "\"\\u12",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "\"\t\"",
            "\"\u{1f}\"",
            "\"\u{7f}é\"",
            "\"1234567\u{0}\"",
            "\"12345678\u{1f}\"",
            "\"é\u{80}\u{a0}ÿ é\"",
            "[",
            "]",
            "[]",
            "[ ]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,2]x",
            "{}",
            "{ }",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\" : 1 , \"b\":[{}]}",
            "{1:2}",
            "[}",
            "{]",
            "[{\"a\":1]}",
            "\u{feff}1",
            "\u{a0}1",
            "\u{c}1",
            "[\"x\",{\"a\":[1,{\"b\":null}]},\"\\\"]\"]",
        ] {
            check(text);
        }
        for depth in [1, 63, 64, 65, LEVELS - 1, LEVELS, LEVELS + 1, 5000] {
            check(&nested(depth));
            check(&nested(depth)[1..]);
        }
    }

    #[test]
    fn it_agrees_on_random_text() {
        let mut random = Random::from(0x6a73);
        for _ in 0..rounds() {
            let json = random.json(5).to_string();
            assert!(is_json(&json), "{json}");
            check(&String::from_utf8_lossy(&random.spoil(json.as_bytes())));
            check(&random.text(60));
        }
    }
}

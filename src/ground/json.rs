//! JSON that comes from outside, read as others write it.
//!
//! serde_json stops at 127 levels, and refuses text with half of a surrogate pair, which RFC 8259 (8.2) allows and which
//! browsers and Python write. Here both are read: nested up to [`MAX_DEPTH`], and the half as U+FFFD. What is read as
//! `RawValue` stays as it is.

mod scan;

pub use scan::{after_string, after_text, is_json};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Result;
use std::borrow::Cow;

/// Nesting that serde_json refuses.
const SHALLOW: usize = 128;

/// Nesting of JSON at most. More than an editor's document needs, and fine with Python's reader, which stops at about 900.
pub const MAX_DEPTH: usize = 512;

/// Reads bytes as text. serde_json has a reader of bytes too: the same code once more, 10 KB in the binary.
///
/// # Errors
/// It is not UTF-8, not JSON, or not a `T`.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    text(std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?)
}

/// Reads text that may nest deep.
///
/// # Errors
/// It is not JSON, or not a `T`.
pub fn text<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    let mut value = None;
    read_whole(text, &mut |reader| {
        value = Some(T::deserialize(reader)?);
        Ok(())
    })?;
    value.ok_or_else(|| serde_json::Error::custom("nothing is read"))
}

type Reader<'a> = serde_json::Deserializer<serde_json::de::StrRead<'a>>;

/// What is the same for all types, once in the binary.
fn read_whole<'a>(
    text: &'a str,
    read: &mut dyn FnMut(&mut Reader<'a>) -> Result<()>,
) -> Result<()> {
    let mut read = |deep: bool| {
        let mut reader = serde_json::Deserializer::from_str(text);
        if deep {
            reader.disable_recursion_limit();
        }
        read(&mut reader)?;
        reader.end()
    };
    read(false).or_else(|error| match (SHALLOW..=MAX_DEPTH).contains(&depth(text)) {
        true => read(true),
        false => Err(error),
    })
}

/// The same, and text in it may hold halves of surrogate pairs.
///
/// # Errors
/// It is not JSON, or not a `T`.
pub fn owned<T: DeserializeOwned>(json: &str) -> Result<T> {
    text(json).or_else(|error| match mend(json) {
        Cow::Owned(mended) => text(&mended),
        Cow::Borrowed(_) => Err(error),
    })
}

/// JSON whose text has a U+FFFD for each escape that is half of a surrogate pair.
pub fn mend(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let (mut mended, mut done, mut at) = (String::new(), 0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        let escape = at + found;
        at = match (surrogate(bytes, escape), surrogate(bytes, escape + 6)) {
            (Some(Half::High), Some(Half::Low)) => escape + 12,
            (Some(_), _) => {
                mended.push_str(&json[done..escape]);
                mended.push_str("\\ufffd");
                done = escape + 6;
                done
            }
            (None, _) => escape + 2,
        };
    }
    if done == 0 {
        return json.into();
    }
    mended.push_str(&json[done..]);
    mended.into()
}

enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that is escaped here.
fn surrogate(bytes: &[u8], at: usize) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', digit, rest @ ..] = bytes.get(at..at + 6)? else {
        return None;
    };
    match (
        digit.to_ascii_lowercase(),
        rest.iter().all(u8::is_ascii_hexdigit),
    ) {
        (b'8'..=b'9' | b'a'..=b'b', true) => Some(Half::High),
        (b'c'..=b'f', true) => Some(Half::Low),
        _ => None,
    }
}

/// Whether text stands in a JSON string as it is, as most does.
pub fn is_plain(text: &str) -> bool {
    after_text(text.as_bytes()).is_empty()
}

/// Appends text as a JSON string.
pub fn push_quoted(json: &mut String, text: &str) {
    if is_plain(text) {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// Whether JSON nests deeper than it may. Most has fewer brackets in all than that.
pub fn is_too_deep(json: &str) -> bool {
    if json.len() <= MAX_DEPTH {
        return false;
    }
    let brackets = memchr::memchr2_iter(b'[', b'{', json.as_bytes()).skip(MAX_DEPTH);
    brackets.take(1).count() > 0 && depth(json) > MAX_DEPTH
}

/// How deep arrays and objects of JSON nest, brackets in strings aside.
pub fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut rest = json.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => rest = after_string(rest).unwrap_or_default(),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random_input::{Random, rounds};
    use serde_json::{Value, json};

    #[test]
    fn bytes_are_read_as_text() {
        assert_eq!(read::<&str>(" \"ß\" ".as_bytes()).unwrap(), "ß");
        for wrong in [&b""[..], b"\"\xff\"", b"\"a\"x", b"\xef\xbb\xbf\"a\""] {
            assert!(read::<String>(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn halves_of_surrogate_pairs_are_read() {
        for (json, read) in [
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\uDE00b""#, "\u{fffd}b"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\u{fffd}😀\u{fffd}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\\ud83d\ud83d\n""#, "\\ud83d\u{fffd}\n"),
            (r#""\ud83d\\ude00""#, "\u{fffd}\\ude00"),
            (r#""ä\ud83dä""#, "ä\u{fffd}ä"),
        ] {
            assert_eq!(owned::<String>(json).unwrap(), read, "{json}");
            assert_eq!(mend(json).len(), json.len(), "{json}");
        }
        let keyed = owned::<Value>(r#"{"\ud83d":["\udfff"]}"#).unwrap();
        assert_eq!(keyed, json!({"\u{fffd}": ["\u{fffd}"]}));
        for whole in [
            "",
            r#""\ud7ff\ue000""#,
            r#"{"a":"\\"}"#,
            r#""\ud83d\ude00""#,
            "\\",
            "\\ud8",
        ] {
            assert!(matches!(mend(whole), Cow::Borrowed(_)), "{whole}");
        }
        for wrong in [r#""\ud83""#, r#""\ud83d"#, r#""\ud83x""#, "\\ud83d"] {
            assert!(owned::<Value>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_is_read_to_its_depth_and_no_further() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        for depth in [127, 128, MAX_DEPTH] {
            assert!(text::<Value>(&nested(depth)).is_ok(), "{depth}");
        }
        assert!(text::<Value>(&nested(MAX_DEPTH + 1)).is_err());
        assert!(text::<Value>(&nested(1_000_000)).is_err());
        assert!(text::<Value>(&nested(200)[..399]).is_err());
    }

    #[test]
    fn numbers_come_back_as_they_came() {
        for number in [
            "117.63331139400017",
            "0.1",
            "5e-324",
            "1.7976931348623157e308",
            "-0.0",
            "18446744073709551615",
        ] {
            let read: Value = text(number).unwrap();
            assert_eq!(
                read.to_string().parse::<f64>(),
                number.parse::<f64>(),
                "{number}"
            );
        }
    }

    #[test]
    fn text_is_quoted() {
        for text in ["", "ann", "a\"b\\\n", "\u{7f}é\u{1f}"] {
            let mut json = String::new();
            push_quoted(&mut json, text);
            assert_eq!(json, serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn random_text_is_mended_once_and_what_is_json_stays() {
        let mut random = Random::new();
        for _ in 0..rounds() {
            let mut text = random.json(4).to_string();
            for _ in 0..random.below(4) {
                let ends = text.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
                let at = ends[random.below(ends.len())];
                text.insert_str(
                    at,
                    random.pick(&["\\ud83d", "\\udc26", "\\uD83D\\uDC26", "\\", "\""]),
                );
            }
            let mended = mend(&text).into_owned();
            assert_eq!(mend(&mended), mended);
            let read = serde_json::from_str::<Value>(&text);
            assert!(read.is_err() || mended == text, "{text}");
            let owned = super::owned::<Value>(&text).ok();
            assert_eq!(owned, serde_json::from_str(&mended).ok(), "{text}");
            let _ = (is_too_deep(&text), depth(&text));
        }
    }

    #[test]
    fn depth_counts_no_brackets_in_strings() {
        assert_eq!(depth("[{\"a\":\"[[[\\\"{{\"}]"), 2);
        assert_eq!(depth(""), 0);
    }
}

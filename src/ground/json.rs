//! JSON that comes as bytes.

use serde::Deserialize;
use serde::de::Error as _;

/// Reads it as text. serde_json has a reader of bytes too: the same code once more, 10 KB in the binary.
///
/// # Errors
/// It is not UTF-8, not JSON, or not a `T`.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_text() {
        assert_eq!(read::<&str>(" \"ß\" ".as_bytes()).unwrap(), "ß");
        for wrong in [&b""[..], b"\"\xff\"", b"\"a\"x", b"\xef\xbb\xbf\"a\""] {
            assert!(read::<String>(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! Bytes as JSON has them: arrays of numbers, or, in payloads, attachments.

use serde::Deserialize;

/// The bytes that a JSON value stands for: an array of numbers from 0 to 255, or the placeholder of an attachment.
pub fn read_bytes(json: &str, attachments: &[Vec<u8>]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Placeholder {
        _placeholder: bool,
        num: usize,
    }
    if json.starts_with('[') {
        return read_ints(json.as_bytes());
    }
    let place: Placeholder = serde_json::from_str(json).ok()?;
    match place._placeholder {
        true => attachments.get(place.num).cloned(),
        false => None,
    }
}

/// An array that is known to be JSON. A tenth of what serde_json needs for a list of numbers.
pub fn read_ints(json: &[u8]) -> Option<Vec<u8>> {
    let inner = json.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut bytes = Vec::with_capacity(inner.len() / 3 + 1);
    let mut number: Option<u16> = None;
    for byte in inner {
        match byte {
            b'0'..=b'9' => {
                let next = number.unwrap_or(0) * 10 + u16::from(byte - b'0');
                if next > 255 {
                    return None;
                }
                number = Some(next);
            }
            b',' => bytes.push(number.take()? as u8),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => return None,
        }
    }
    match number {
        Some(last) => bytes.push(last as u8),
        None if !bytes.is_empty() => return None,
        None => {}
    }
    Some(bytes)
}

/// Bytes as a JSON array of numbers.
pub fn ints(bytes: &[u8]) -> String {
    ints_between("", bytes, "")
}

/// The same with something before and after it.
pub fn ints_between(before: &str, bytes: &[u8], after: &str) -> String {
    let around = before.len() + after.len();
    let mut json = String::with_capacity(around + 4 * bytes.len() + 2);
    json.push_str(before);
    json.push('[');
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        let (hundreds, tens, ones) = (byte / 100, byte / 10 % 10, byte % 10);
        if hundreds > 0 {
            json.push(char::from(b'0' + hundreds));
        }
        if *byte >= 10 {
            json.push(char::from(b'0' + tens));
        }
        json.push(char::from(b'0' + ones));
    }
    json.push(']');
    json.push_str(after);
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_as_numbers() {
        let all: Vec<u8> = (0..=255).collect();
        let json = ints(&all);
        assert_eq!(json, serde_json::to_string(&all).unwrap());
        assert_eq!(read_bytes(&json, &[]), Some(all));
        assert_eq!(ints(&[]), "[]");
        assert_eq!(read_bytes("[]", &[]), Some(vec![]));
        assert_eq!(read_bytes("[ 1 ,\n2 ]", &[]), Some(vec![1, 2]));
    }

    #[test]
    fn what_is_no_byte_is_refused() {
        for json in [
            "[256]",
            "[-1]",
            "[1.0]",
            "[1,null]",
            "[\"1\"]",
            "[[1]]",
            "\"1\"",
            "1",
            "null",
            "{}",
            "[99999999999]",
        ] {
            assert_eq!(read_bytes(json, &[]), None, "{json}");
        }
    }

    #[test]
    fn a_placeholder_is_its_attachment() {
        let attachments = [vec![1, 2], vec![3]];
        let place = |num: &str| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        assert_eq!(read_bytes(&place("1"), &attachments), Some(vec![3]));
        for num in ["2", "-1", "\"0\"", "null"] {
            assert_eq!(read_bytes(&place(num), &attachments), None);
        }
        assert_eq!(
            read_bytes(r#"{"_placeholder":false,"num":0}"#, &attachments),
            None
        );
    }
}

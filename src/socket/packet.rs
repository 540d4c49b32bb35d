//! Socket.IO packets as text (Socket.IO protocol revision 5, "Packet encoding"):
//! `<type>[<attachments>-][<namespace>,][<ack id>][JSON]`.

pub use crate::ground::json::{MAX_DEPTH, is_too_deep};

use crate::ground::json;
use std::borrow::Cow;

/// Attachments of one packet at most.
pub const MAX_ATTACHMENTS: usize = 64;

/// Bytes of a namespace at most: whom a refusal is about is sent back to the client.
const MAX_NAMESPACE: usize = 256;

/// The largest ack id: JavaScript's largest exact integer.
const MAX_ID: u64 = (1 << 53) - 1;

/// May nobody name an event so? Socket.IO keeps these for itself: they mean something to the client libraries.
pub fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "connect"
            | "connect_error"
            | "disconnect"
            | "disconnecting"
            | "newListener"
            | "removeListener"
    )
}

/// A packet's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Connect,
    Disconnect,
    /// EVENT and BINARY_EVENT.
    Event,
    /// ACK and BINARY_ACK.
    Ack,
}

/// A packet, its JSON still text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub kind: Kind,
    pub nsp: &'a str,
    pub id: Option<u64>,
    /// How many binary messages follow.
    pub attachments: usize,
    /// The JSON after the header; empty when there is none. Not validated.
    pub data: &'a str,
}

/// What is wrong with a packet; the reason that is counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl<'a> Packet<'a> {
    /// Reads a packet from a client.
    ///
    /// # Errors
    /// What breaks the protocol. JSON inside is not looked at.
    pub fn decode(text: &'a str) -> Result<Self, Malformed> {
        let mut kind = text.bytes().next().ok_or(Malformed("empty packet"))?;
        let mut rest = text.get(1..).ok_or(Malformed("packet type"))?;
        let mut attachments = 0;
        if kind == b'5' || kind == b'6' {
            (attachments, rest) = split_attachments(rest)?;
            kind -= 3;
        }
        let (nsp, rest) = split_namespace(rest);
        if nsp.len() > MAX_NAMESPACE {
            return Err(Malformed("namespace"));
        }
        let (id, data) = split_id(rest)?;
        let kind = match kind {
            b'0' => Kind::Connect,
            b'1' if data.is_empty() => Kind::Disconnect,
            b'2' => Kind::Event,
            b'3' if id.is_some() => Kind::Ack,
            _ => return Err(Malformed("packet type")),
        };
        Ok(Self {
            kind,
            nsp,
            id,
            attachments,
            data,
        })
    }

    /// The name and the arguments (comma-separated JSON) of an EVENT. A name that is a number, which Socket.IO allows
    /// (socket.io-parser 4.0.1), is the number's text.
    ///
    /// # Errors
    /// Data that is not an array beginning with a name, or a reserved name.
    pub fn event(data: &'a str) -> Result<(Cow<'a, str>, &'a str), Malformed> {
        let inner = array(data)?.trim_ascii_start();
        let (first, rest) = split_name(inner);
        let name: Cow<'a, str> = match plain(first) {
            Some(name) => Cow::Borrowed(name),
            None if is_number(first) => Cow::Borrowed(first),
            None => json::owned(first)
                .map(Cow::Owned)
                .map_err(|_| Malformed("event name"))?,
        };
        if is_reserved(&name) {
            return Err(Malformed("reserved event name"));
        }
        let rest = rest.trim_ascii();
        let args = match rest.as_bytes() {
            [b',', ..] => rest[1..].trim_ascii_start(),
            _ => rest,
        };
        Ok((name, args))
    }

    /// The arguments of an ACK, comma-separated JSON.
    ///
    /// # Errors
    /// Data that is not an array.
    pub fn ack(data: &'a str) -> Result<&'a str, Malformed> {
        array(data).map(str::trim_ascii)
    }
}

/// A packet that announces attachments has a placeholder for each; one without is refused before they come, unless it is
/// large.
pub fn check_placeholders(data: &str, attachments: usize) -> Result<(), Malformed> {
    match attachments > 0 && data.matches("\"_placeholder\"").count() < attachments {
        true => Err(Malformed("attachments")),
        false => Ok(()),
    }
}

/// The inside of a JSON array that is valid as a whole.
fn array(data: &str) -> Result<&str, Malformed> {
    if !json::is_json(data) {
        return Err(Malformed("JSON"));
    }
    let data = data.trim_ascii();
    match data.as_bytes() {
        [b'[', .., b']'] => Ok(&data[1..data.len() - 1]),
        _ => Err(Malformed("JSON")),
    }
}

/// The first of comma-separated JSON values and what follows it, if it is text or a number: nothing else is a name.
fn split_name(values: &str) -> (&str, &str) {
    let end = match values.as_bytes() {
        [b'"', text @ ..] => json::after_string(text).map(|after| values.len() - after.len()),
        _ => values.find([',', ' ', '\n', '\t', '\r']),
    };
    values.split_at(end.unwrap_or(values.len()))
}

/// Whether a JSON value is a number.
fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// A JSON string without escapes, as it stands.
fn plain(json: &str) -> Option<&str> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    json::is_plain(inner).then_some(inner)
}

fn split_attachments(text: &str) -> Result<(usize, &str), Malformed> {
    let (count, rest) = text.split_once('-').ok_or(Malformed("attachments"))?;
    let digits = !count.is_empty() && count.len() <= 3 && count.bytes().all(|b| b.is_ascii_digit());
    match count.parse() {
        Ok(count) if digits && count <= MAX_ATTACHMENTS => Ok((count, rest)),
        _ => Err(Malformed("attachments")),
    }
}

/// The namespace, without the query that old clients append, and what follows.
fn split_namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    let (nsp, rest) = text.split_once(',').unwrap_or((text, ""));
    (nsp.split_once('?').map_or(nsp, |(nsp, _)| nsp), rest)
}

fn split_id(text: &str) -> Result<(Option<u64>, &str), Malformed> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return Ok((None, text));
    }
    let (digits, rest) = text.split_at(end);
    match digits.parse() {
        Ok(id) if id <= MAX_ID => Ok((Some(id), rest)),
        _ => Err(Malformed("ack id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(
        kind: Kind,
        nsp: &str,
        id: Option<u64>,
        attachments: usize,
        data: &'static str,
    ) -> Packet<'static> {
        let nsp = if nsp == "/" { "/" } else { "/admin" };
        Packet {
            kind,
            nsp,
            id,
            attachments,
            data,
        }
    }

    #[test]
    fn reads_the_protocols_examples() {
        let cases = [
            ("0", packet(Kind::Connect, "/", None, 0, "")),
            (
                "0{\"token\":\"1\"}",
                packet(Kind::Connect, "/", None, 0, "{\"token\":\"1\"}"),
            ),
            ("0/admin,{}", packet(Kind::Connect, "/admin", None, 0, "{}")),
            ("0/admin?x=1,", packet(Kind::Connect, "/admin", None, 0, "")),
            ("1/admin,", packet(Kind::Disconnect, "/admin", None, 0, "")),
            ("2[\"foo\"]", packet(Kind::Event, "/", None, 0, "[\"foo\"]")),
            (
                "2/admin,456[\"foo\"]",
                packet(Kind::Event, "/admin", Some(456), 0, "[\"foo\"]"),
            ),
            (
                "3/admin,456[]",
                packet(Kind::Ack, "/admin", Some(456), 0, "[]"),
            ),
            (
                "51-[\"b\",{}]",
                packet(Kind::Event, "/", None, 1, "[\"b\",{}]"),
            ),
            (
                "62-/admin,9[1]",
                packet(Kind::Ack, "/admin", Some(9), 2, "[1]"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Packet::decode(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_breaks_the_protocol() {
        let far = format!("0/{}", "x".repeat(256));
        let cases = [
            "",
            "7",
            "é",
            "4{}",
            "5[\"x\"]",
            "5-[\"x\"]",
            "5x-[]",
            "565-[]",
            "5999999999999-[]",
            "5+1-[]",
            "3[]",
            "29007199254740992[\"x\"]",
            "1{}",
            &far,
        ];
        for text in cases {
            assert!(Packet::decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_has_a_name_and_arguments() {
        assert_eq!(Packet::event("[\"foo\"]"), Ok(("foo".into(), "")));
        assert_eq!(
            Packet::event(" [ \"foo\" , 1, {\"a\":[2]} ] "),
            Ok(("foo".into(), "1, {\"a\":[2]}"))
        );
        assert_eq!(
            Packet::event("[\"f\\u006fo\",\"]\"]"),
            Ok(("foo".into(), "\"]\""))
        );
        for (data, name) in [("[1]", "1"), ("[-2.5e3,\"x\"]", "-2.5e3")] {
            assert_eq!(Packet::event(data).unwrap().0, name);
        }
        for data in [
            "",
            "{}",
            "[]",
            "[null]",
            "[true]",
            "[[1]]",
            "[\"foo\"",
            "[\"foo\",]",
            "[\"foo\" 1]",
            "[\"connect\"]",
            "[\"disconnecting\",1]",
        ] {
            assert!(Packet::event(data).is_err(), "{data}");
        }
    }
}

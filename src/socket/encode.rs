//! Packets to frames: what the server sends, encoded once for all receivers.

use super::Args;
use crate::engine::frame;
use crate::ground::json::is_plain;
use crate::outbox::Frame;

/// EVENT, or BINARY_EVENT when there are attachments; with an id when an ack is asked for, and with a last argument that says
/// its place among all events to who can come back.
pub fn event(
    nsp: &str,
    id: Option<u64>,
    name: &str,
    args: &Args<'_>,
    offset: Option<&str>,
) -> Frame {
    let escaped;
    // Most names are JSON but for the quotes.
    let (quote, name) = match is_plain(name) {
        true => ("\"", name),
        false => {
            escaped = serde_json::to_string(name).unwrap_or_default();
            ("", &*escaped)
        }
    };
    let comma = if args.json().is_empty() { "" } else { "," };
    let (before, offset, end) = match offset {
        Some(offset) => (",\"", offset, "\"]"),
        None => ("", "", "]"),
    };
    message(
        "2",
        "5",
        nsp,
        id,
        &[
            "[",
            quote,
            name,
            quote,
            comma,
            args.json(),
            before,
            offset,
            end,
        ],
        args.attachments(),
    )
}

/// An EVENT of `/` for later, or for several: to be made beside our thread when it is large. The name is JSON but for the quotes;
/// the argument comes in parts.
pub fn plain_event(name: &str, [head, middle, tail]: [&str; 3]) -> Vec<u8> {
    frame::text(&["42[\"", name, "\",", head, middle, tail, "]"])
}

/// The same in two parts, which are one message: what several get of it, and the rest of the argument.
pub fn event_begins(name: &str, argument: [&str; 2]) -> Vec<u8> {
    frame::beginning(&["42[\"", name, "\",", argument[0], argument[1]])
}

/// The second part.
pub fn event_ends(argument: &str) -> Vec<u8> {
    frame::ending(&[argument, "]"])
}

/// ACK, or BINARY_ACK when there are attachments.
pub fn ack(nsp: &str, id: u64, args: &Args<'_>) -> Frame {
    if nsp == "/" && args.attachments().is_empty() {
        let mut digits = itoa::Buffer::new();
        return frame::packet(&["43", digits.format(id), "[", args.json(), "]"], &[]);
    }
    message(
        "3",
        "6",
        nsp,
        Some(id),
        &["[", args.json(), "]"],
        args.attachments(),
    )
}

/// The answer to a CONNECT; with a private id for who can come back.
pub fn connect(nsp: &str, sid: &str, pid: Option<&str>) -> Frame {
    let (before, pid) = match pid {
        Some(pid) => ("\",\"pid\":\"", pid),
        None => ("", ""),
    };
    let data = ["{\"sid\":\"", sid, before, pid, "\"}"];
    message("0", "0", nsp, None, &data, &[])
}

/// The refusal of a CONNECT.
pub fn connect_error(nsp: &str, why: &str) -> Frame {
    let why = serde_json::to_string(why).unwrap_or_default();
    message("4", "4", nsp, None, &["{\"message\":", &why, "}"], &[])
}

/// The end of one namespace.
pub fn disconnect(nsp: &str) -> Frame {
    message("1", "1", nsp, None, &[], &[])
}

/// Parts of a packet's text before its data, and of its data at most.
const HEAD: usize = 7;
const DATA: usize = 9;

fn message(
    plain: &str,
    binary: &str,
    nsp: &str,
    id: Option<u64>,
    data: &[&str],
    attachments: &[Vec<u8>],
) -> Frame {
    let kind = if attachments.is_empty() {
        plain
    } else {
        binary
    };
    // An ack has a number, and the machinery that formats costs as much as the rest of it.
    let (mut count, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (count, dash) = match attachments.len() {
        0 => ("", ""),
        n => (count.format(n), "-"),
    };
    let id = id.map_or("", |id| digits.format(id));
    let (nsp, comma) = if nsp == "/" { ("", "") } else { (nsp, ",") };
    let mut parts = [""; HEAD + DATA];
    parts[..HEAD].copy_from_slice(&["4", kind, count, dash, nsp, comma, id]);
    parts[HEAD..HEAD + data.len()].copy_from_slice(data);
    frame::packet(&parts, attachments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: &Frame) -> String {
        String::from_utf8(frame::as_payload(frame)).expect("text")
    }

    #[test]
    fn numbers_are_written() {
        for number in [0, 7, 10, 1_234_567_890, u64::MAX] {
            let frame = ack("/", number, &Args::none());
            assert_eq!(text(&frame), format!("43{number}[]"));
        }
    }

    #[test]
    fn writes_the_protocols_examples() {
        assert_eq!(text(&connect("/", "abc", None)), "40{\"sid\":\"abc\"}");
        assert_eq!(
            text(&connect_error("/x", "no \"x\"")),
            "44/x,{\"message\":\"no \\\"x\\\"\"}"
        );
        assert_eq!(text(&disconnect("/admin")), "41/admin,");
        assert_eq!(
            text(&event("/", None, "foo", &Args::none(), None)),
            "42[\"foo\"]"
        );
        assert_eq!(
            text(&event(
                "/admin",
                Some(7),
                "foo",
                &Args::from_json("1,2"),
                None
            )),
            "42/admin,7[\"foo\",1,2]"
        );
        assert_eq!(
            text(&event("/", None, "\"a\\b\"\n\u{7f}é", &Args::none(), None)),
            "42[\"\\\"a\\\\b\\\"\\n\u{7f}é\"]"
        );
        let numbered = |args| {
            text(&event(
                "/",
                None,
                "e",
                &Args::from_json(args),
                Some("AAAAAAAB"),
            ))
        };
        assert_eq!(numbered("1"), "42[\"e\",1,\"AAAAAAAB\"]");
        assert_eq!(numbered(""), "42[\"e\",\"AAAAAAAB\"]");
        let known = connect("/", "abc", Some("abcdef"));
        assert_eq!(text(&known), "40{\"sid\":\"abc\",\"pid\":\"abcdef\"}");
        let made = plain_event("x", ["{", "\"a\":1", "}"]);
        let same = event("/", None, "x", &Args::from_json("{\"a\":1}"), None);
        assert_eq!(made, *same);
        let blob =
            Args::from_json("{\"_placeholder\":true,\"num\":0}").with_attachments(vec![vec![1]]);
        assert_eq!(
            text(&ack("/", 3, &blob)),
            "461-3[{\"_placeholder\":true,\"num\":0}]\u{1e}bAQ=="
        );
    }
}

//! What becomes of an event for a client that is slow to take what waits for it.

use crate::directory::type_of;
use crate::socket::{Args, Lateness, Target, To};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Who types is told in fewer bytes.
const TYPING: usize = 16 << 10;

/// Typing is left out. The last word on where a member's cursor is, and on who is in a chat, is sent when the client is
/// ready for it. Everything else waits.
pub fn lateness(target: &Target<'_>, event: &str, args: &Args<'_>) -> Lateness {
    match event {
        "ydoc:awareness:update" => Lateness::Last(kind(target, event)),
        "events" | "events:channel" if args.json().len() <= TYPING => {
            match type_of(args).as_deref() {
                Some("typing") => Lateness::LeftOut,
                Some("chat:presence") => Lateness::Last(kind(target, "chat:presence")),
                _ => Lateness::Waits,
            }
        }
        _ => Lateness::Waits,
    }
}

/// Whether who was away gets an event when it comes back: not what would be old, and nothing about documents, which are
/// brought in step by themselves.
pub fn is_replayed(target: &Target<'_>, event: &str, args: &Args<'_>) -> bool {
    !event.starts_with("ydoc:") && lateness(target, event, args) == Lateness::Waits
}

/// A number for the room and whom the event comes from: the sender is the one it is not sent to.
fn kind(target: &Target<'_>, event: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let room = match target.to {
        To::Room(room) => room,
        _ => "",
    };
    (event, room, target.except).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_is_left_out_the_last_cursor_is_kept_and_the_rest_waits() {
        let of = |event: &str, json: &str| {
            lateness(
                &Target::room("r").but(&["x"]),
                event,
                &Args::from_json(json),
            )
        };
        let typing = r#"{"channel_id":"c","data":{"type":"typing","data":{}}}"#;
        assert_eq!(of("events:channel", typing), Lateness::LeftOut);
        assert_eq!(of("events", typing), Lateness::LeftOut);
        assert_eq!(of("mine", typing), Lateness::Waits);
        let said = r#"{"data":{"type":"message","data":{"type":"typing"}}}"#;
        assert_eq!(of("events:channel", said), Lateness::Waits);
        let cursor = of("ydoc:awareness:update", "{}");
        assert!(matches!(cursor, Lateness::Last(_)));
        let other = Target::room("r").but(&["y"]);
        assert_ne!(
            cursor,
            lateness(&other, "ydoc:awareness:update", &Args::none())
        );
    }
}

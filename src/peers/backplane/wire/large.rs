//! Large messages: read beside our thread, and an event is written for its receivers there.

use super::{BadMessage, Callback, Emit, PeerMessage, ReplyTo, decode};
use crate::ground::tasks::aside;
use crate::socket::{Made, Written};
use std::borrow::Cow;

/// A message that takes longer to read than a turn may, and how its event is sent.
///
/// # Errors
/// What is wrong with it.
pub async fn decode_large(
    bytes: Vec<u8>,
    me: String,
    numbers: bool,
) -> Result<(PeerMessage<'static>, Option<Made>), BadMessage> {
    let (message, written) = aside(move || read(&bytes, &me, numbers)).await?;
    Ok((message, written.map(Made::from)))
}

type Read = (PeerMessage<'static>, Option<Written>);

fn read(bytes: &[u8], me: &str, numbers: bool) -> Result<Read, BadMessage> {
    Ok(match decode(bytes, me)? {
        PeerMessage::Emit(emit) => {
            let plain = emit.nsp == "/" && emit.reply.is_none();
            let written = plain.then(|| Written::new(&emit.event, &emit.args, numbers));
            (PeerMessage::Emit(into_owned(emit)), written)
        }
        PeerMessage::Callback(Callback { id, args }) => {
            let args = args.into_owned();
            (PeerMessage::Callback(Callback { id, args }), None)
        }
        PeerMessage::NotForUs => (PeerMessage::NotForUs, None),
        // None of the others has a use for so many bytes.
        _ => return Err(BadMessage("size")),
    })
}

fn into_owned(emit: Emit<'_>) -> Emit<'static> {
    let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    let all = |texts: Vec<Cow<'_, str>>| texts.into_iter().map(owned).collect();
    Emit {
        host: emit.host.map(owned),
        event: owned(emit.event),
        args: emit.args.into_owned(),
        nsp: owned(emit.nsp),
        rooms: emit.rooms.map(all),
        except: all(emit.except),
        reply: emit.reply.map(ReplyTo::into_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_is_read_as_a_small_one() {
        let emit = r#"{"method":"emit","event":"x","data":[{"a":1}],"namespace":"/","room":["r"],"skip_sid":"s","callback":null,"host_id":"h"}"#;
        let (message, frame) = read(emit.as_bytes(), "me", false).unwrap();
        assert_eq!(message, decode(emit.as_bytes(), "me").unwrap());
        assert_eq!(
            &Made::from(frame.unwrap()).plain[2..],
            br#"42["x",{"a":1}]"#
        );
        let asks = emit.replace("null", r#"["r","/",7]"#);
        let (message, frame) = read(asks.as_bytes(), "me", true).unwrap();
        assert_eq!(message, decode(asks.as_bytes(), "me").unwrap());
        assert!(frame.is_none());
        let answer =
            r#"{"method":"callback","host_id":"me","sid":"r","namespace":"/","id":7,"args":[1]}"#;
        let (message, _) = read(answer.as_bytes(), "me", true).unwrap();
        assert_eq!(message, decode(answer.as_bytes(), "me").unwrap());
        let close = r#"{"method":"close_room","room":"r","host_id":"h"}"#;
        assert!(matches!(
            read(close.as_bytes(), "me", true),
            Err(BadMessage("size"))
        ));
    }
}

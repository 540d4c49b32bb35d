//! What random bytes must not upset: frames and packets of a client.

use super::decoder::{Decoder, Fault, Item};
use super::packet::Packet;
use crate::engine;

/// A message that a client sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// What a decoder makes of bytes that arrive piece by piece, until there is a fault. `piece` says how many come next, of so
/// many that are left.
pub fn decoded(bytes: &[u8], limit: usize, mut piece: impl FnMut(usize) -> usize) -> Vec<Message> {
    let mut decoder = Decoder::default();
    let (mut held, mut arrived, mut messages) = (Vec::new(), 0, Vec::new());
    loop {
        let before = held.len();
        match decoder.next(&mut held, limit) {
            Err(_) => return messages,
            Ok(None) if arrived == bytes.len() => return messages,
            Ok(None) => {
                assert_eq!(held.len(), before);
                let more = piece(bytes.len() - arrived);
                held.extend_from_slice(&bytes[arrived..arrived + more]);
                arrived += more;
            }
            Ok(Some((used, item))) => {
                match &item {
                    Item::Text(text) => messages.push(Message::Text((*text).to_owned())),
                    Item::Binary(bytes) => messages.push(Message::Binary(bytes.to_vec())),
                    Item::Ping(bytes) => assert!(bytes.len() <= 125),
                    Item::Large(large) => {
                        let bytes = match large.is_fragmented() {
                            true => decoder.take_fragments(),
                            false => held[..used].to_vec(),
                        };
                        match large.read(bytes) {
                            Ok(engine::Message::LargeText(text, 0)) => {
                                messages.push(Message::Text(text));
                            }
                            Ok(engine::Message::LargeBinary(bytes)) => {
                                messages.push(Message::Binary(bytes));
                            }
                            read => assert_eq!(read, Err(Fault(1007))),
                        }
                        held.drain(..used);
                        continue;
                    }
                    Item::Close(_) | Item::Nothing => {}
                }
                let done = item.done();
                decoder.item_done(done);
                assert!(
                    used >= 1 && used <= before,
                    "a piece of a fragment at least, and no more than arrived"
                );
                held.drain(..used);
            }
        }
    }
}

/// Frames hold the same messages however they are cut. The first two bytes are the limit and the size of the pieces.
pub fn frames(data: &[u8]) {
    let [limit, size, bytes @ ..] = data else {
        return;
    };
    let (limit, size) = (usize::from(*limit) * 9, 1 + usize::from(*size));
    let whole = decoded(bytes, limit, |most| most);
    assert_eq!(decoded(bytes, limit, |most| most.min(size)), whole);
    for message in whole {
        let length = match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        };
        assert!(length <= limit, "{length} bytes with a limit of {limit}");
    }
}

/// A packet that is read is its type and its data.
pub fn packet(text: &str) {
    let again = match Packet::decode(text) {
        None => return,
        Some(Packet::Close) => "1".to_owned(),
        Some(Packet::Ping(data)) => format!("2{data}"),
        Some(Packet::Message(data)) => format!("4{data}"),
        Some(Packet::Upgrade) => "5".to_owned(),
        // The data of these is of no interest.
        Some(Packet::Pong | Packet::Noop) => return,
    };
    assert_eq!(again, text);
}

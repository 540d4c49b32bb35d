//! The codecs against random input: what is encoded is decoded again, and no bytes make a decoder panic or stall.

use super::decoder::{Decoder, Item};
use super::frame::{self, SEPARATOR};
use super::packet::Packet;
use crate::dice::Dice;
use data_encoding::BASE64;

/// Characters of all lengths, and those that mean something to the protocols.
const SIGNS: [&str; 12] = ["a", "0", "4", "\"", "[", "{", "-", ",", "/", "ü", "€", "😀"];

/// A client's frame with a random mask.
fn client_frame(first: u8, payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mask = (dice.throw() as u32).to_be_bytes();
    let mut out = vec![first];
    match payload.len() {
        0..=125 => out.push(0x80 | payload.len() as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((payload.len() as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

/// Feeds bytes in random portions; the messages that came out, and whether there was a fault.
fn decode(bytes: &[u8], limit: usize, dice: &mut Dice) -> (Vec<Vec<u8>>, bool) {
    let (mut decoder, mut messages, mut held) = (Decoder::default(), Vec::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(1 + dice.below(rest.len()));
        held.extend_from_slice(now);
        rest = later;
        loop {
            let (used, done) = match decoder.next(&mut held, limit) {
                Err(_) => return (messages, true),
                Ok(None) => break,
                Ok(Some((used, item))) => {
                    match item {
                        Item::Text(text) => messages.push(text.as_bytes().to_vec()),
                        Item::Binary(data) => messages.push(data.to_vec()),
                        Item::Ping(_) | Item::Close | Item::Nothing => {}
                    }
                    (used, item.done())
                }
            };
            decoder.item_done(done);
            assert!(used > 0, "no progress");
            held.drain(..used);
        }
    }
    (messages, false)
}

#[test]
fn messages_survive_masks_fragments_and_portions() {
    let mut dice = Dice(11);
    for round in 0..300 {
        let most = if round % 60 == 0 { 70_000 } else { 300 };
        let (mut wire, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..1 + dice.below(4) {
            let text = dice.text(&SIGNS, most);
            let mut first = 0x01;
            let mut rest = text.as_bytes();
            while dice.below(3) == 0 {
                let (part, more) = rest.split_at(dice.below(rest.len() + 1));
                wire.extend(client_frame(first, part, &mut dice));
                wire.extend(client_frame(0x89, b"ping", &mut dice));
                (first, rest) = (0x00, more);
            }
            wire.extend(client_frame(first | 0x80, rest, &mut dice));
            sent.push(text.into_bytes());
        }
        assert_eq!(decode(&wire, 1 << 20, &mut dice), (sent, false));
    }
}

#[test]
fn no_bytes_make_the_frame_decoder_panic_or_stall() {
    let mut dice = Dice(12);
    for _ in 0..20_000 {
        let mut wire = dice.bytes(30);
        if dice.below(2) == 0 {
            let first = dice.throw() as u8;
            let payload = dice.bytes(40);
            wire = [client_frame(first, &payload, &mut dice), wire].concat();
        }
        let (messages, _) = decode(&wire, 64, &mut dice);
        assert!(messages.iter().map(Vec::len).sum::<usize>() <= wire.len());
    }
}

#[test]
fn packets_survive_the_polling_form() {
    let mut dice = Dice(13);
    for _ in 0..2000 {
        let text = dice.text(&SIGNS, 200);
        let attachments: Vec<_> = (0..dice.below(3)).map(|_| dice.bytes(300)).collect();
        let frame = frame::packet(&["4", &text], &attachments);
        let mut payload = Vec::new();
        frame::to_payload(&frame, &mut payload);
        let mut packets = payload.split(|byte| *byte == SEPARATOR);
        let first = std::str::from_utf8(packets.next().unwrap()).unwrap();
        assert_eq!(Packet::decode(first), Some(Packet::Message(&text)));
        let binary: Vec<_> = packets
            .map(|packet| BASE64.decode(&packet[1..]).unwrap())
            .collect();
        assert_eq!(binary, attachments);
        assert_eq!(frame::packets(&frame), 1 + attachments.len() as u64);
    }
}

#[test]
fn no_text_or_bytes_make_the_packet_readers_panic() {
    let mut dice = Dice(14);
    for _ in 0..20_000 {
        let _ = Packet::decode(&dice.text(&SIGNS, 8));
        let bytes = dice.bytes(20);
        frame::to_payload(&bytes, &mut Vec::new());
        let _ = frame::packets(&bytes);
    }
}

//! Frames, payloads and packets with random content: nothing panics, and decode(encode(x)) is x.

use super::frame::{self, SEPARATOR};
use super::fuzz::{Message, decoded, packet};
use crate::ground::random_input::{Random, rounds};
use data_encoding::BASE64;
use futures_lite::future::block_on;

const LIMIT: usize = 1 << 20;

fn message(random: &mut Random) -> Message {
    let most = *random.pick(&[&5, &200, &70_000, &400_000]);
    match random.once_in(2) {
        true => Message::Text(random.text(most / 2)),
        false => Message::Binary(random.bytes(most)),
    }
}

/// The message as a client's frames: masked, cut into fragments, with pings between.
fn frames(random: &mut Random, message: &Message) -> Vec<u8> {
    let (kind, bytes) = match message {
        Message::Text(text) => (1, text.as_bytes()),
        Message::Binary(bytes) => (2, &bytes[..]),
    };
    let mut out = Vec::new();
    let cuts = random.below(4);
    let mut rest = bytes;
    for n in 0..=cuts {
        let end = if n == cuts {
            rest.len()
        } else {
            random.below(rest.len() + 1)
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        let first = if n == 0 { kind } else { 0 } | if n == cuts { 0x80 } else { 0 };
        out.extend(masked(random, first, part));
        if n != cuts && random.once_in(2) {
            let ping = random.bytes(125);
            out.extend(masked(random, 0x89, &ping));
        }
    }
    out
}

fn masked(random: &mut Random, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = (random.number() as u32).to_be_bytes();
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
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

/// What a decoder makes of bytes that arrive in pieces of random sizes.
fn decode(random: &mut Random, bytes: &[u8], limit: usize) -> Vec<Message> {
    decoded(bytes, limit, |most| {
        let piece = *random.pick(&[&1, &50, &100_000]);
        1 + random.below(most.min(piece))
    })
}

#[test]
fn frames_of_a_client_are_joined_to_what_was_sent() {
    let mut random = Random::new();
    for _ in 0..rounds() / 20 {
        let sent: Vec<_> = (0..random.below(5)).map(|_| message(&mut random)).collect();
        let mut bytes = Vec::new();
        for message in &sent {
            bytes.extend(frames(&mut random, message));
        }
        assert_eq!(decode(&mut random, &bytes, LIMIT), sent);
    }
}

#[test]
fn no_bytes_upset_the_frame_decoder() {
    let mut random = Random::new();
    for _ in 0..rounds() {
        let (limit, text) = (random.below(300), random.text(40));
        let bytes = match random.below(3) {
            0 => random.bytes(300),
            1 => frames(&mut random, &Message::Text(text)),
            _ => {
                let good = frames(&mut random, &Message::Text(text));
                random.spoil(&good)
            }
        };
        for message in decode(&mut random, &bytes, limit) {
            let length = match message {
                Message::Text(text) => text.len(),
                Message::Binary(bytes) => bytes.len(),
            };
            assert!(length <= limit, "{length} bytes with a limit of {limit}");
        }
    }
}

#[test]
fn a_payload_holds_what_the_frames_hold() {
    let mut random = Random::new();
    for _ in 0..rounds() / 10 {
        let (mut frames, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..random.below(6) {
            // JSON escapes the separator; other text with it never reaches a client.
            let text = serde_json::Value::from(random.text(100)).to_string();
            let attachments: Vec<_> = (0..random.below(4)).map(|_| random.bytes(300)).collect();
            let made = frame::packet(&["4", &text], &attachments);
            assert_eq!(frame::packets(&made), 1 + attachments.len() as u64);
            frames.push(made);
            expected.push(format!("4{text}"));
            expected.extend(attachments.iter().map(|a| format!("b{}", BASE64.encode(a))));
        }
        let payload = block_on(frame::to_payload(&frames));
        let got: Vec<_> = match payload.is_empty() {
            true => Vec::new(),
            false => payload
                .split(|byte| *byte == SEPARATOR)
                .map(|part| String::from_utf8(part.to_vec()).unwrap())
                .collect(),
        };
        assert_eq!(got, expected);
    }
}

#[test]
fn no_bytes_upset_the_reader_of_frames() {
    let mut random = Random::new();
    for _ in 0..rounds() {
        let bytes = random.bytes(20);
        let _ = frame::as_payload(&bytes);
        let _ = frame::packets(&bytes);
    }
}

#[test]
fn a_packet_is_its_type_and_its_data() {
    let mut random = Random::new();
    for _ in 0..rounds() {
        packet(&random.text(8));
    }
}

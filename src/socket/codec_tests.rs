//! The packet codec against random input: what is encoded is decoded again, and no text makes a reader panic.

use super::packet::{Kind, Packet, depth};
use super::{Args, encode};
use crate::dice::Dice;
use crate::engine::frame::{SEPARATOR, to_payload};
use serde_json::Value;

/// Characters that mean something to the protocol, and some that don't.
const SIGNS: [&str; 22] = [
    "0", "1", "2", "3", "5", "6", "9", "-", ",", "/", "?", "[", "]", "{", "}", "\"", "\\", ":",
    "a", " ", "ü", "😀",
];

/// A random JSON value.
fn value(dice: &mut Dice, deep: usize) -> Value {
    match dice.below(if deep > 0 { 8 } else { 6 }) {
        0 => Value::Null,
        1 => Value::Bool(dice.below(2) == 0),
        2 => Value::from(dice.throw() as i64),
        3 => Value::from(dice.throw() as u32 as f64 / 7.0),
        4 | 5 => Value::from(dice.text(&SIGNS, 12)),
        6 => (0..dice.below(4)).map(|_| value(dice, deep - 1)).collect(),
        _ => {
            let field = |dice: &mut Dice| (dice.text(&SIGNS, 5), value(dice, deep - 1));
            Value::Object((0..dice.below(4)).map(|_| field(dice)).collect())
        }
    }
}

/// Random arguments, and each of them as text.
fn args(dice: &mut Dice) -> (Vec<String>, Args<'static>) {
    let json: Vec<_> = (0..dice.below(4))
        .map(|_| value(dice, 3).to_string())
        .collect();
    let attachments = (0..dice.below(3)).map(|_| dice.bytes(20)).collect();
    let args = Args::from_json(json.join(",")).with_attachments(attachments);
    (json, args)
}

/// The packet's text as a client gets it, without the type digit of the layer below.
fn text(frame: &[u8]) -> String {
    let mut payload = Vec::new();
    to_payload(frame, &mut payload);
    let first = payload.split(|byte| *byte == SEPARATOR).next().unwrap();
    String::from_utf8(first[1..].to_vec()).unwrap()
}

fn read(args: &str) -> Vec<String> {
    let args = Args::from_json(args.to_owned());
    args.values()
        .iter()
        .map(|raw| raw.get().to_owned())
        .collect()
}

#[test]
fn events_and_acks_survive() {
    let mut dice = Dice(21);
    for _ in 0..5000 {
        let (values, args) = args(&mut dice);
        let nsp = *dice.pick(&["/", "/chat", "/a/b"]);
        let id = (dice.below(2) == 0).then(|| dice.throw() >> 11);
        let name = format!("e{}", dice.text(&SIGNS, 10));
        let frame = text(&encode::event(nsp, id, &name, &args));
        let packet = Packet::decode(&frame).unwrap();
        assert_eq!(
            (packet.kind, packet.nsp, packet.id),
            (Kind::Event, nsp, id),
            "{frame}"
        );
        assert_eq!(packet.attachments, args.attachments().len());
        let (read_name, rest) = Packet::event(packet.data).unwrap();
        assert_eq!((&*read_name, read(rest)), (&*name, values.clone()));

        let ack = text(&encode::ack(nsp, 7, &args));
        let packet = Packet::decode(&ack).unwrap();
        assert_eq!(
            (packet.kind, packet.nsp, packet.id),
            (Kind::Ack, nsp, Some(7))
        );
        assert_eq!(read(Packet::ack(packet.data).unwrap()), values);
    }
}

#[test]
fn no_text_makes_a_reader_panic() {
    let mut dice = Dice(22);
    for _ in 0..100_000 {
        let noise = dice.text(&SIGNS, 14);
        if let Ok(packet) = Packet::decode(&noise) {
            let _ = Packet::event(packet.data);
            let _ = Packet::ack(packet.data);
        }
        let _ = depth(&noise);
        let args = Args::from_json(noise);
        let _ = (args.values().len(), args.first::<Value>());
    }
}

//! Packets with random content: nothing panics, and decode(encode(x)) is x.

use super::fuzz::packet;
use super::packet::{Kind, Packet};
use super::{Args, encode};
use crate::engine::frame::{self, SEPARATOR};
use crate::ground::json::depth;
use crate::ground::random_input::{Random, rounds};
use data_encoding::BASE64;
use serde_json::Value;

/// The text and the attachments of what the server would send.
fn sent(made: &[u8]) -> (String, Vec<Vec<u8>>) {
    let payload = frame::as_payload(made);
    let mut parts = payload.split(|byte| *byte == SEPARATOR);
    let text = String::from_utf8(parts.next().unwrap()[1..].to_vec()).unwrap();
    (
        text,
        parts
            .map(|part| BASE64.decode(&part[1..]).unwrap())
            .collect(),
    )
}

fn args(values: &[Value]) -> String {
    values
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[test]
fn events_and_acks_come_back() {
    let mut random = Random::new();
    for _ in 0..rounds() {
        let nsp = random.pick(&["/", "/a", "/a/b-1"]);
        let name = format!("e{}", random.text(4));
        let values: Vec<_> = (0..random.below(4)).map(|_| random.json(4)).collect();
        let attachments: Vec<_> = (0..random.below(4)).map(|_| random.bytes(50)).collect();
        let id = random.once_in(2).then(|| random.number() >> 11);
        let given = Args::from_json(args(&values)).with_attachments(attachments.clone());

        let (text, binary) = sent(&encode::event(nsp, id, &name, &given, None));
        let packet = Packet::decode(&text).unwrap();
        assert_eq!((packet.kind, packet.nsp, packet.id), (Kind::Event, nsp, id));
        assert_eq!(
            (packet.attachments, binary),
            (attachments.len(), attachments)
        );
        let (got, rest) = Packet::event(packet.data).unwrap();
        assert_eq!((&*got, rest), (&*name, given.json()));
        let got: Vec<Value> = Args::from_json(rest)
            .values()
            .iter()
            .map(|v| serde_json::from_str(v.get()).unwrap())
            .collect();
        assert_eq!(got, values);

        let (text, _) = sent(&encode::ack(nsp, id.unwrap_or(7), &given));
        let packet = Packet::decode(&text).unwrap();
        assert_eq!((packet.kind, packet.id), (Kind::Ack, Some(id.unwrap_or(7))));
        assert_eq!(Packet::ack(packet.data), Ok(given.json()));
    }
}

#[test]
fn no_text_upsets_the_packet_decoder() {
    let mut random = Random::new();
    for round in 0..rounds() * 5 {
        let mut text = random.text(12);
        if round % 2 == 0 {
            let values = [random.json(3), random.json(3)];
            let good = format!(
                "5{}-/a,{}[\"e\",{}]",
                random.below(70),
                random.below(99),
                args(&values)
            );
            text = String::from_utf8_lossy(&random.spoil(good.as_bytes())).into_owned();
        }
        packet(&text);
    }
}

#[test]
fn depth_is_that_of_the_value() {
    fn deep(value: &Value) -> usize {
        match value {
            Value::Array(values) => 1 + values.iter().map(deep).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(deep).max().unwrap_or(0),
            _ => 0,
        }
    }
    let mut random = Random::new();
    for _ in 0..rounds() {
        let value = random.json(6);
        assert_eq!(depth(&value.to_string()), deep(&value));
    }
}

//! What random text must not upset: packets of a client.

use super::Args;
use super::packet::{Kind, MAX_ATTACHMENTS, Packet, check_placeholders};
use crate::ground::json;
use serde_json::value::RawValue;

fn texts<'a>(values: &[&'a RawValue]) -> Vec<&'a str> {
    values.iter().map(|value| value.get()).collect()
}

/// The one way to write what was read.
fn canonical(packet: &Packet<'_>) -> String {
    let kind = match (packet.kind, packet.attachments) {
        (Kind::Connect, _) => "0",
        (Kind::Disconnect, _) => "1",
        (Kind::Event, 0) => "2",
        (Kind::Ack, 0) => "3",
        (Kind::Event, _) => "5",
        (Kind::Ack, _) => "6",
    };
    let count = match packet.attachments {
        0 => String::new(),
        n => format!("{n}-"),
    };
    let nsp = if packet.nsp == "/" && !packet.data.starts_with('/') {
        String::new()
    } else {
        format!("{},", packet.nsp)
    };
    let id = packet.id.map(|id| id.to_string()).unwrap_or_default();
    format!("{kind}{count}{nsp}{id}{}", packet.data)
}

/// A packet that is read can be written again, and what is cut out of its JSON is the same JSON.
pub fn packet(text: &str) {
    let Ok(packet) = Packet::decode(text) else {
        return;
    };
    assert!(packet.attachments <= MAX_ATTACHMENTS);
    let again = canonical(&packet);
    assert_eq!(
        Packet::decode(&again).as_ref(),
        Ok(&packet),
        "{text:?} and {again:?}"
    );
    if let Ok((name, rest)) = Packet::event(packet.data) {
        // What is accepted is JSON, and what is cut out of it is the same JSON.
        let whole: Vec<&RawValue> = serde_json::from_str(packet.data).unwrap();
        let cut = Args::from_json(rest);
        // A number names an event, too.
        let said = json::owned::<String>(whole[0].get());
        assert_eq!(said.unwrap_or_else(|_| whole[0].get().to_owned()), name);
        assert_eq!(texts(&cut.values()), texts(&whole[1..]), "{text:?}");
    }
    if let Ok(rest) = Packet::ack(packet.data) {
        let whole: Vec<&RawValue> = serde_json::from_str(packet.data).unwrap();
        assert_eq!(
            Args::from_json(rest).values().len(),
            whole.len(),
            "{text:?}"
        );
    }
    let _ = check_placeholders(packet.data, packet.attachments);
}

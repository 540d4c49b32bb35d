//! All that is read from outside, each as a function of bytes: what the fuzzer drives. It panics where a promise is broken.

use crate::config::{Network, Origin, table};
use crate::ground::json;
use crate::token::Key;
use crate::{config, engine, http, peers, redis, socket, store, token};
use serde_json::value::RawValue;

/// A name, and what eats the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// By name.
pub const TARGETS: &[Target] = &[
    ("addresses", addresses),
    ("frames", engine::fuzz::frames),
    ("json", json),
    ("messages", peers::fuzz_message),
    ("packets", packets),
    ("replies", redis::fuzz::stream),
    ("settings", settings),
    ("store", store::fuzz::store),
    ("tokens", tokens),
    ("updates", peers::documents::fuzz::updates),
    ("vectors", peers::documents::fuzz::vector),
];

fn addresses(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    redis::fuzz::address(&text);
    http::fuzz::forwarded(data);
    let _ = Network::parse(&text);
    if let Some(origin) = Origin::parse(&text) {
        let _ = origin.is_of_host(&text);
    }
}

fn json(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
    assert_eq!(json::is_json(&text), is_json);
    let _ = (json::depth(&text), json::is_too_deep(&text));
    let value = json::owned::<serde_json::Value>(&text);
    // What is read is JSON.
    assert!(value.is_err() || is_json);
}

fn packets(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    engine::fuzz::packet(&text);
    socket::fuzz::packet(&text);
}

/// The first byte is a setting's number, the rest its value.
fn settings(data: &[u8]) {
    let Some((number, value)) = data.split_first() else {
        return;
    };
    let row = table::SETTINGS[usize::from(*number) % table::SETTINGS.len()];
    let secret = ("WEBUI_SECRET_KEY".to_owned(), "0123456789abcdef".to_owned());
    let home = ("HOME".to_owned(), "/home/ann".to_owned());
    let given = (
        row.name.to_owned(),
        String::from_utf8_lossy(value).into_owned(),
    );
    let reading = config::read(&[secret, home, given].into());
    assert_eq!(reading.config.is_some(), reading.mistakes.is_empty());
}

fn tokens(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = (token::claimed_user(&text), token::read_unverified(&text));
    // Nobody signs by chance.
    assert!(Key::new("not to be guessed").verify(&text, 1000).is_err());
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use std::path::Path;

    #[test]
    fn what_the_fuzzer_has_learned_upsets_nothing() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fuzz");
        for (name, eat) in TARGETS {
            let lines = std::fs::read_to_string(golden.join(format!("{name}.txt"))).expect(name);
            assert!(!lines.is_empty(), "{name}");
            for line in lines.lines() {
                eat(&HEXLOWER.decode(line.as_bytes()).expect(line));
            }
        }
    }
}

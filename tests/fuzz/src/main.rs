//! The fuzzer of one part, SISKIN_FUZZ; the arguments are libFuzzer's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static EAT: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let eat = EAT.get_or_init(|| {
        let name = std::env::var("SISKIN_FUZZ").unwrap_or_default();
        let known = siskin::fuzz::TARGETS.iter().find(|(target, _)| *target == name);
        known.unwrap_or_else(|| panic!("SISKIN_FUZZ names no part: {name}")).1
    });
    eat(data);
});

//! SharedDocuments against yrs: nothing is lost by squashing, and no bytes make it panic, hang or swell.

use super::fuzz::append;
use super::history::{History, MAX_BYTES, Rejected, check, merge};
use super::memory::Memory;
use super::reader::{put_bytes, put_number};
use super::update::inspect;
use super::{Left, Seed};
use crate::ground::random_input::Random;
use crate::socket::Sid;
use futures_lite::future::{block_on, zip};
use yrs::updates::decoder::Decode;
use yrs::{Any, Array, Doc, GetString, Map, ReadTxn, StateVector, Text, Transact, Update};

pub fn read(updates: &[&[u8]]) -> String {
    let doc = Doc::new();
    let text = doc.get_or_insert_text("t");
    let mut txn = doc.transact_mut();
    for update in updates {
        txn.apply_update(Update::decode_v1(update).unwrap())
            .unwrap();
    }
    text.get_string(&txn)
}

/// What one editor's random keystroke makes.
fn keystroke(doc: &Doc, random: &mut Random) -> Vec<u8> {
    let text = doc.get_or_insert_text("t");
    let (map, list) = (doc.get_or_insert_map("m"), doc.get_or_insert_array("a"));
    let faces = doc.get_or_insert_text("f");
    let before = doc.transact().state_vector();
    let mut txn = doc.transact_mut();
    let len = text.len(&txn);
    if random.below(20) == 0 {
        faces.insert(&mut txn, 0, "😀😀");
    }
    match random.below(12) {
        0 | 1 if len > 4 => text.remove_range(&mut txn, random.below(len as usize - 2) as u32, 2),
        2 => text.insert(&mut txn, random.below(len as usize + 1) as u32, "ä€ß"),
        3 => drop(map.insert(
            &mut txn,
            format!("k{}", random.below(5)),
            random.number() as u32,
        )),
        4 => drop(list.insert(
            &mut txn,
            0,
            Any::from_json(r#"{"a":[1,null,"x",true,1.5]}"#).unwrap(),
        )),
        5 if len > 8 => {
            let bold = [("bold".into(), Any::Bool(true))].into();
            text.format(&mut txn, random.below(len as usize - 4) as u32, 3, bold);
        }
        6 => drop(text.insert_embed(&mut txn, len, Any::from_json(r#"{"image":"x"}"#).unwrap())),
        _ => text.insert(&mut txn, random.below(len as usize + 1) as u32, "word "),
    }
    txn.encode_diff_v1(&before)
}

pub(super) fn editor(client: u64) -> Doc {
    Doc::with_options(yrs::Options {
        client_id: yrs::block::ClientID::new(client),
        offset_kind: yrs::OffsetKind::Utf16,
        ..yrs::Options::default()
    })
}

/// Updates of three editors who exchange what they did now and then, and their common text.
pub fn session(seed: u64, keystrokes: usize) -> (Vec<Vec<u8>>, String) {
    let mut random = Random::from(seed);
    let docs: Vec<Doc> = (1..4).map(editor).collect();
    let mut updates: Vec<Vec<u8>> = Vec::new();
    let mut seen = [0; 3];
    for _ in 0..keystrokes {
        let who = random.below(3);
        if random.below(4) == 0 {
            for update in &updates[seen[who]..] {
                let update = Update::decode_v1(update).unwrap();
                docs[who].transact_mut().apply_update(update).unwrap();
            }
            seen[who] = updates.len();
        }
        updates.push(keystroke(&docs[who], &mut random));
    }
    let all: Vec<&[u8]> = updates.iter().map(Vec::as_slice).collect();
    let text = read(&all);
    (updates, text)
}

#[test]
fn squashing_loses_nothing() {
    for seed in 1..5 {
        let (updates, text) = session(seed, 1300);
        let mut history = History::default();
        for update in &updates {
            history.append(update).unwrap();
            assert!(history.len() < 500);
        }
        assert!(history.len() > 1);
        let before = history.size();
        let state = history.state().to_vec();
        assert!(state.len() < before && history.len() == 1);
        assert_eq!(read(&[&state]), text);
        check(&state).unwrap();
    }
}

#[test]
fn updates_out_of_order_wait_for_those_before() {
    let (updates, text) = session(9, 400);
    let mut random = Random::from(3);
    let mut shuffled = updates.clone();
    for index in (1..shuffled.len()).rev() {
        shuffled.swap(index, random.below(index + 1));
    }
    let mut history = History::default();
    for (index, update) in shuffled.iter().enumerate() {
        history.append(update).unwrap();
        if index % 50 == 0 {
            history.state();
        }
    }
    assert_eq!(read(&[history.state()]), text);
}

#[test]
fn typing_on_is_one_block() {
    let doc = editor(7);
    let text = doc.get_or_insert_text("t");
    text.insert(&mut doc.transact_mut(), 0, "<>");
    let mut history = History::default();
    history
        .append(&doc.transact().encode_diff_v1(&StateVector::default()))
        .unwrap();
    for index in 1..2001 {
        let before = doc.transact().state_vector();
        text.insert(&mut doc.transact_mut(), index, "x");
        history
            .append(&doc.transact().encode_diff_v1(&before))
            .unwrap();
    }
    let state = history.state().to_vec();
    assert_eq!(inspect(&state).unwrap().blocks, 2);
    assert!(state.len() < 2100, "{}", state.len());
    assert_eq!(read(&[&state]), format!("<{}>", "x".repeat(2000)));
}

#[test]
fn a_document_has_its_limit() {
    let doc = editor(7);
    let text = doc.get_or_insert_text("t");
    let mut history = History::default();
    let mut stored = 0;
    let rejected = loop {
        let before = doc.transact().state_vector();
        text.insert(&mut doc.transact_mut(), 0, &"y".repeat(100_000));
        let update = doc.transact().encode_diff_v1(&before);
        match history.append(&update) {
            Ok(_) => stored += 1,
            Err(rejected) => break rejected,
        }
    };
    assert_eq!((rejected, stored), (Rejected::TooLarge, 20));
    assert!(history.size() <= MAX_BYTES);
    assert_eq!(read(&[history.state()]).len(), 2_000_000);
    assert_eq!(check(&vec![0; MAX_BYTES + 1]), Err(Rejected::TooLarge));
}

#[test]
fn what_announces_more_than_it_has_is_refused() {
    let huge = [0xff, 0xff, 0xff, 0x7f];
    let mut nested = vec![1, 1, 7, 0, 8, 1, 1, b't', 1];
    nested.extend([117, 1].repeat(500_000));
    nested.extend([126, 0]);
    let cases: [Vec<u8>; 9] = [
        vec![],
        vec![0],
        vec![0, 0, 0],
        huge.to_vec(),
        [&[1][..], &huge, &[7, 0]].concat(),
        // An array of 2^28 values, a deletion of 2^28 ranges, a clock at the end of all clocks.
        [&[1, 1, 7, 0, 8, 1, 1, b't'][..], &huge].concat(),
        [&[0, 1, 7][..], &huge].concat(),
        [&[1, 1, 7][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0, 5, 0]].concat(),
        nested,
    ];
    for case in cases {
        assert_eq!(
            check(&case),
            Err(Rejected::Malformed),
            "{:?}",
            &case[..case.len().min(20)]
        );
    }
    assert!(check(&[0, 0]).unwrap().is_empty());
}

/// An update of client 26 from clock 5 on, whose block builds on this one of client and clock: by `info` its origin, its right
/// origin or its parent.
fn building_on(info: u8, (client, clock): (u8, u8)) -> Vec<u8> {
    let parent: &[u8] = if info & 0xc0 == 0 { &[0] } else { &[] };
    let end = [client, clock, 1, b'x', 0];
    [&[1, 1, 26, 5, info][..], parent, &end].concat()
}

#[test]
fn a_block_builds_on_none_of_its_own_client_that_is_not_before_it() {
    for info in [0x84, 0x44, 0x04] {
        let taken = |of: (u8, u8)| check(&building_on(info, of)).is_ok();
        assert!(taken((26, 4)) && taken((26, 0)), "{info}");
        assert!(taken((27, 5)) && taken((25, 99)), "{info}");
        assert!(
            !taken((26, 5)) && !taken((26, 6)) && !taken((26, 99)),
            "{info}"
        );
    }
    // With both origins, the second of which is later; in the second block of an update.
    let both = [1, 1, 26, 5, 0xc4, 26, 4, 26, 5, 1, b'x', 0];
    assert_eq!(check(&both), Err(Rejected::Malformed));
    let second = |clock| {
        [
            1, 2, 26, 5, 0x84, 26, 4, 1, b'x', 0x84, 26, clock, 1, b'y', 0,
        ]
    };
    assert!(check(&second(5)).is_ok());
    assert_eq!(check(&second(6)), Err(Rejected::Malformed));
}

#[test]
fn a_document_inside_has_options_that_yjs_takes() {
    let taken = |options: &[u8]| {
        let update = [&[1, 1, 26, 0, 9, 1, 1, b't', 1, b'g'], options, &[0]].concat();
        check(&update).is_ok()
    };
    let named = |name: &str| [&[118, 1, name.len() as u8], name.as_bytes(), &[120]].concat();
    assert!(taken(&[118, 0]));
    assert!(taken(&named("autoLoad")) && taken(&named("gc")) && taken(&named("meta")));
    assert!(!taken(&named("guid")) && !taken(&named("gcFilter")));
    // Null, undefined, a number, an array.
    assert!(!taken(&[126]) && !taken(&[127]) && !taken(&[125, 5]) && !taken(&[117, 0]));
}

/// A copy with a few bytes changed, cut, doubled, or swapped for another update's.
fn mutate(update: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = update.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.number() as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => bytes
                .splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x07])
                .for_each(drop),
            4 => {
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ if !bytes.is_empty() => bytes[at] = random.number() as u8,
            _ => {}
        }
    }
    bytes
}

/// An update whose form is right and whose contents contradict all others: few clients, the same clocks again and
/// again, other things in them, neighbours and parents that don't exist.
fn invent(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    let clients = random.below(3);
    put_number(&mut out, clients as u64);
    let first = random.below(4);
    for client in 0..clients {
        let blocks = 1 + random.below(5);
        put_number(&mut out, blocks as u64);
        put_number(&mut out, ((first + client) % 4) as u64);
        put_number(&mut out, random.below(30) as u64);
        (0..blocks).for_each(|_| invent_block(&mut out, random));
    }
    let deleted = random.below(3);
    put_number(&mut out, deleted as u64);
    for client in 0..deleted {
        let clock = random.below(20) as u64;
        let gap = random.below(3) as u64;
        for number in [client as u64, 2, clock, 2, clock + 2 + gap, 3] {
            put_number(&mut out, number);
        }
    }
    out
}

fn invent_id(out: &mut Vec<u8>, random: &mut Random) {
    put_number(out, random.below(4) as u64);
    put_number(out, random.below(30) as u64);
}

fn invent_block(out: &mut Vec<u8>, random: &mut Random) {
    let kind = [0, 10, 1, 3, 4, 4, 4, 5, 6, 7, 8, 9][random.below(12)];
    if kind == 0 || kind == 10 {
        out.push(kind);
        return put_number(out, 1 + random.below(9) as u64);
    }
    let flags = (random.below(8) << 5) as u8;
    out.push(kind | flags);
    (0..(flags >> 6).count_ones()).for_each(|_| invent_id(out, random));
    if flags & 0xc0 == 0 {
        match random.below(2) {
            0 => out.extend([1, 1, b't']),
            _ => {
                out.push(0);
                invent_id(out, random);
            }
        }
        if flags & 0x20 != 0 {
            put_bytes(out, b"sub");
        }
    }
    let texts = ["a", "b😀c", "😀😀😀", "longer text"];
    let types: [&[u8]; 6] = [&[0], &[1], &[2], &[3, 1, b'p'], &[4], &[6]];
    match kind {
        1 => put_number(out, 1 + random.below(9) as u64),
        4 => put_bytes(out, texts[random.below(4)].as_bytes()),
        5 => put_bytes(out, b"{}"),
        6 => out.extend([1, b'b', 4, b't', b'r', b'u', b'e']),
        7 => out.extend(types[random.below(6)]),
        8 => out.extend([2, 126, 117, 1, 120]),
        9 => out.extend([1, b'd', 118, 0]),
        _ => put_bytes(out, &[1, 2, 3]),
    }
}

#[test]
fn hostile_updates_never_panic_and_what_is_stored_stays_readable() {
    let rounds: usize = std::env::var("SISKIN_FUZZ_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let mut accepted = 0;
    for round in 0..rounds {
        let mut random = Random::from(77 + round as u64);
        let (updates, _) = session(100 + round as u64, 200);
        let mut history = History::default();
        for index in 0..3000 {
            let update = &updates[random.below(updates.len())];
            let other = &updates[random.below(updates.len())];
            let hostile = match index % 2 {
                0 => mutate(update, other, &mut random),
                _ => invent(&mut random),
            };
            accepted += usize::from(append(&mut history, &hostile).is_ok());
            if index % 400 == 399 {
                let state = history.state().to_vec();
                check(&state).unwrap();
                history = History::default();
            }
        }
    }
    assert!(accepted > rounds * 1000, "{accepted}");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::from(5);
    for _ in 0..50_000 {
        let len = random.below(40);
        // Mostly small numbers: they get further.
        let byte = |random: &mut Random| match random.below(4) {
            0 => random.number() as u8,
            _ => random.below(12) as u8,
        };
        let bytes: Vec<u8> = (0..len).map(|_| byte(&mut random)).collect();
        let _ = check(&bytes);
        let _ = merge(vec![&bytes]);
    }
}

#[test]
fn the_first_seed_wins_and_an_empty_one_is_none() {
    let memory = Memory::new(1 << 30);
    let sid = Sid::random();
    assert!(memory.join("d", sid, false) && memory.join("d", sid, false));
    assert!(block_on(memory.state("d")) == Ok(None));
    let seed = |update: &[u8]| block_on(memory.seed("d", update));
    assert!(matches!(seed(&[0, 0]), Ok(Seed::Won(contents)) if !contents.visible));
    let (updates, _) = session(1, 2);
    assert!(matches!(seed(&updates[0]), Ok(Seed::Won(_))));
    let Ok(Seed::Lost(state)) = seed(&updates[1]) else {
        panic!("the second seed won");
    };
    let (same, version) = block_on(memory.state("d")).unwrap().unwrap();
    assert_eq!((same, Some(version)), (state, memory.version("d")));
    assert!(!block_on(memory.clear_unused("d")));
    block_on(memory.leave("d", sid, Left::Done));
    assert!(block_on(memory.clear_unused("d")) && memory.figures() == (0, 0));
}

#[test]
fn a_session_opens_twenty_documents() {
    let memory = Memory::new(1 << 30);
    let sid = Sid::random();
    assert!((0..20).all(|index| memory.join(&index.to_string(), sid, false)));
    assert!(!memory.join("one more", sid, false) && memory.join("3", sid, false));
    block_on(memory.leave("3", sid, Left::Done));
    assert!(memory.join("one more", sid, false));
    assert_eq!(memory.of(sid).len(), 20);
}

#[test]
fn what_takes_long_keeps_its_order() {
    let (memory, sid) = (Memory::new(1 << 30), Sid::random());
    assert!(memory.join("d", sid, false));
    let doc = editor(7);
    let text = doc.get_or_insert_text("t");
    let write = |at: u32, what: &str| {
        let before = doc.transact().state_vector();
        text.insert(&mut doc.transact_mut(), at, what);
        doc.transact().encode_diff_v1(&before)
    };
    let (large, small) = (write(0, &"x".repeat(300_000)), write(0, "<"));
    let both = async {
        let first = memory.append("d", &large);
        let second = memory.append("d", &small);
        let state = memory.state("d");
        let leave = memory.leave("d", sid, Left::Done);
        let ((one, two), (state, ())) = zip(zip(first, second), zip(state, leave)).await;
        assert!(one.is_ok() && two.is_ok());
        state.unwrap().unwrap().0
    };
    let state = block_on(both);
    assert_eq!(read(&[&state]).len(), 300_001);
    assert!(block_on(memory.clear_unused("d")));
    assert_eq!(
        block_on(memory.append("d", &[9; 9])),
        Err(Rejected::Malformed)
    );
    assert_eq!(memory.figures(), (0, 0));
}

//! The vector against yrs: what is there without a gap, and what of an update is news.

use super::bury::{Part, bury, part_of_ended};
use super::history::{EMPTY, History, Rejected, check, merge};
use super::lean::lean;
use super::tests::{editor, read, session};
use super::vector::Vector;
use crate::ground::random_input::Random;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact, Update};

fn shuffled(updates: &[Vec<u8>], random: &mut Random) -> Vec<Vec<u8>> {
    let mut shuffled = updates.to_vec();
    for index in (1..shuffled.len()).rev() {
        shuffled.swap(index, random.below(index + 1));
    }
    shuffled
}

/// A document of yrs, and what it has without a gap.
fn yrs_has(updates: &[Vec<u8>]) -> StateVector {
    let doc = Doc::new();
    let mut txn = doc.transact_mut();
    for update in updates {
        txn.apply_update(Update::decode_v1(update).unwrap())
            .unwrap();
    }
    txn.state_vector()
}

fn ours(vector: &Vector) -> StateVector {
    StateVector::decode_v1(&vector.encode()).unwrap()
}

#[test]
fn what_comes_in_any_order_counts_once_nothing_before_it_is_missing() {
    for seed in 1..6 {
        let mut random = Random::from(seed);
        let (updates, _) = session(seed, 300);
        let mut late = shuffled(&updates, &mut random);
        let last = late.split_off(290);
        let mut history = History::default();
        for update in &late {
            history.append(update).unwrap();
        }
        assert!(history.vector().missing().is_some());
        for update in &last {
            history.append(update).unwrap();
        }
        assert_eq!(ours(history.vector()), yrs_has(&updates));
        assert_eq!(history.vector().missing(), None);
    }
}

#[test]
fn a_lost_update_is_missed_by_what_builds_on_it_alone() {
    for seed in 1..40 {
        let (mut updates, _) = session(seed, 60);
        let complete = yrs_has(&updates);
        let lost = updates.remove(Random::from(seed).below(50));
        let mut history = History::default();
        let mut missed = 0;
        for update in &updates {
            missed += usize::from(history.append(update).unwrap().missing.is_some());
        }
        let lacks = ours(history.vector()) != complete;
        assert_eq!(
            (missed > 0, lacks),
            (lacks, history.vector().missing().is_some())
        );
        let contents = history.append(&lost).unwrap();
        assert_eq!(contents.missing, None);
        assert_eq!(ours(history.vector()), complete);
        assert_eq!(history.vector().missing(), None);
    }
}

#[test]
fn news_is_what_was_not_there_and_nothing_else() {
    for seed in 1..20 {
        let (updates, text) = session(seed, 200);
        let (half, _) = updates.split_at(Random::from(seed).below(200));
        let mut history = History::default();
        for update in half {
            history.append(update).unwrap();
        }
        let doc = Doc::new();
        for update in &updates {
            let update = Update::decode_v1(update).unwrap();
            doc.transact_mut().apply_update(update).unwrap();
        }
        let all = doc.transact().encode_diff_v1(&StateVector::default());
        let news = history.news_of(&all).unwrap();
        assert!(half.len() < 20 || news.len() < all.len());
        assert_eq!(read(&[history.state(), &news]), text);
        history.append(&news).unwrap();
        assert_eq!(read(&[history.state()]), text);
        assert_eq!(history.news_of(&all).as_deref(), Some(&EMPTY[..]));
        let theirs = doc.transact().state_vector().encode_v1();
        let theirs = Vector::decode(&theirs).unwrap();
        assert_eq!(theirs.rest_of(&all).unwrap().first(), Some(&0));
    }
}

#[test]
fn what_an_update_deletes_itself_is_left_out_and_nothing_else() {
    for seed in 1..20 {
        let (updates, text) = session(seed, 300);
        let all: Vec<&[u8]> = updates.iter().map(Vec::as_slice).collect();
        let merged = merge(all).unwrap().bytes;
        let less = lean(&merged).unwrap();
        assert!(check(&less).is_ok() && less.len() <= merged.len());
        assert_eq!(ours(&Vector::of(&less)), yrs_has(&updates));
        assert_eq!(read(&[&less]), text);
        // Who knows the contents and who does not go on together.
        let (half, rest) = updates.split_at(150);
        let half: Vec<&[u8]> = half.iter().map(Vec::as_slice).collect();
        let half = lean(&merge(half).unwrap().bytes).unwrap();
        let rest = rest.iter().map(Vec::as_slice);
        assert_eq!(
            read(
                &[half.as_slice()]
                    .into_iter()
                    .chain(rest)
                    .collect::<Vec<_>>()
            ),
            text
        );
    }
}

#[test]
fn a_full_document_has_room_again_when_its_text_is_deleted() {
    let doc = Doc::new();
    let text = doc.get_or_insert_text("t");
    let mut history = History::default();
    for _ in 0..20 {
        let before = doc.transact().state_vector();
        text.insert(&mut doc.transact_mut(), 0, &"y".repeat(100_000));
        history
            .append(&doc.transact().encode_diff_v1(&before))
            .unwrap();
    }
    let before = doc.transact().state_vector();
    let more = {
        text.insert(&mut doc.transact_mut(), 0, &"z".repeat(200_000));
        doc.transact().encode_diff_v1(&before)
    };
    assert_eq!(history.append(&more), Err(Rejected::TooLarge));
    let before = doc.transact().state_vector();
    text.remove_range(&mut doc.transact_mut(), 200_000, 500_000);
    history
        .append(&doc.transact().encode_diff_v1(&before))
        .unwrap();
    history.append(&more).unwrap();
    assert_eq!(read(&[history.state()]).len(), 1_700_000);
}

#[test]
fn blocks_that_wait_for_each_other_never_come() {
    // Client 1 begins behind what client 2 writes first, and that behind it.
    let circle = [
        2, 1, 2, 0, 0x84, 1, 0, 1, b'b', 1, 1, 0, 0x84, 2, 0, 1, b'a', 0,
    ];
    let mut history = History::default();
    assert!(history.append(&circle).unwrap().missing.is_some());
    assert_eq!(history.vector().encode(), [0]);
    let bad: [&[u8]; 4] = [&[], &[1], &[0xff, 0xff, 0xff, 0x7f], &[1, 2]];
    assert!(bad.iter().all(|bytes| Vector::decode(bytes).is_err()));
}

#[test]
fn what_has_ended_is_deleted_in_every_document_that_had_it() {
    for seed in 1..30 {
        let (updates, _) = session(seed, 60);
        let (known, offline) = updates.split_at(40);
        let mut history = History::default();
        for update in known {
            history.append(update).unwrap();
        }
        let all = history.state().to_vec();
        history.bury();
        let ended = history.vector().clone();
        assert_eq!(ours(&ended), yrs_has(known));
        // Whoever has it is seen, and whoever was told is not.
        let left = history.state().to_vec();
        assert_eq!(part_of_ended(&all, &ended), Ok(Part::OfEnded));
        let both = merge(vec![&all, &left]).unwrap().bytes;
        assert_eq!(part_of_ended(&both, &ended), Ok(Part::Knows));
        // The document that follows it is there alone, also for who has the old one.
        let next = editor(77);
        let text = next.get_or_insert_text("t");
        text.push(&mut next.transact_mut(), "next");
        let seeded = next
            .transact()
            .encode_state_as_update_v1(&StateVector::default());
        assert_eq!(part_of_ended(&seeded, &ended), Ok(Part::Nothing));
        history.append(&seeded).unwrap();
        assert_eq!(read(&[history.state()]), "next");
        assert_eq!(read(&[&all, history.state()]), "next");
        // What was written offline ends as well.
        let late = merge(offline.iter().map(Vec::as_slice).collect()).unwrap();
        let news = history.vector().rest_of(&late.bytes).unwrap();
        history.append(&bury(&news).unwrap()).unwrap();
        let state = history.state().to_vec();
        assert_eq!(read(&[&state]), "next");
        assert_eq!(read(&[&all, &late.bytes, &state]), "next");
        assert_eq!(
            yrs_has(&[state]),
            yrs_has(&[updates, vec![seeded]].concat())
        );
    }
}

#[test]
fn what_an_update_lacks_is_told_whatever_others_lack() {
    let write = |client, first| {
        let doc = editor(client);
        let text = doc.get_or_insert_text("t");
        text.push(&mut doc.transact_mut(), first);
        let before = doc.transact().state_vector();
        text.push(&mut doc.transact_mut(), "found");
        doc.transact().encode_diff_v1(&before)
    };
    let mut history = History::default();
    for client in [1, 2] {
        let missing = history.append(&write(client, "lost")).unwrap().missing;
        assert_eq!(missing.map(|id| (id.client, id.clock)), Some((client, 3)));
    }
    assert_eq!(history.append(&write(3, "")).unwrap().missing, None);
}

//! Documents of notes that are kept in the store: what is there after a crash, what it costs, and how much memory they take.

use super::bury::Part;
use super::history::Rejected;
use super::memory::Memory;
use super::reader::{put_bytes, put_number};
use super::tests::{editor, read};
use super::{Left, Seed, Version};
use crate::directory::local::Local;
use crate::ground::tasks::Executor;
use crate::socket::Sid;
use crate::store::{FILE_NAME, Store};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact};

const NOTE: &str = "note:n";

fn with_folder(test: impl AsyncFnOnce(Executor, &Path)) {
    let executor: Executor = Box::leak(Box::new(smol::LocalExecutor::new()));
    let random = getrandom::u64().unwrap();
    let folder = std::env::temp_dir().join(format!("siskin-kept-{random:016x}"));
    smol::block_on(executor.run(test(executor, &folder)));
    std::fs::remove_dir_all(folder).unwrap();
}

/// A server that begins: its directory, and its documents, which take so many bytes at most.
fn start(executor: Executor, folder: &Path, most: usize) -> (Rc<Local>, Memory) {
    let store = Rc::new(Store::open(executor, folder).unwrap());
    let local = Local::new(executor, store, false);
    for id in ["n", "m"] {
        if local.note_record(id).unwrap().is_none() {
            let note = json!({"user_id": "o", "data": {"content": {"md": "saved"}}});
            local
                .put_note(id, note.as_object().unwrap().clone())
                .unwrap();
        }
    }
    let memory = Memory::new(most);
    memory.keep_in(local.clone());
    (local, memory)
}

/// What a crash would leave now, in a folder of its own.
fn crashed(folder: &Path) -> PathBuf {
    let crashed = folder.join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    std::fs::copy(folder.join(FILE_NAME), crashed.join(FILE_NAME)).unwrap();
    crashed
}

/// Writes at the end, and returns the update.
fn write(doc: &Doc, what: &str) -> Vec<u8> {
    let text = doc.get_or_insert_text("t");
    let before = doc.transact().state_vector();
    text.push(&mut doc.transact_mut(), what);
    doc.transact().encode_diff_v1(&before)
}

async fn state(memory: &Memory) -> Option<(String, Version)> {
    let state = memory.state(NOTE).await.unwrap();
    state.map(|(bytes, version)| (read(&[&bytes]), version))
}

async fn text(memory: &Memory) -> String {
    state(memory).await.unwrap().0
}

#[test]
fn a_crash_costs_what_was_not_kept_and_the_first_content_is_kept_at_once() {
    with_folder(async |executor, folder| {
        let sid = Sid::random();
        let (_local, memory) = start(executor, folder, 1 << 30);
        assert!(memory.join(NOTE, sid, false));
        assert_eq!(state(&memory).await, None);
        let doc = editor(7);
        let seed = memory.seed(NOTE, &write(&doc, "first")).await;
        assert!(matches!(seed, Ok(Seed::Won(contents)) if contents.visible));
        memory.append(NOTE, &write(&doc, " lost")).await.unwrap();
        assert_eq!(memory.behind().len(), 1);
        let folder = &crashed(folder);
        let (local, memory) = start(executor, folder, 1 << 30);
        assert!(memory.join(NOTE, sid, false));
        assert_eq!(text(&memory).await, "first");
        assert!(memory.was_restored(NOTE) && !memory.was_restored(NOTE));
        // The second offer loses, also the first after a crash.
        let late = memory.seed(NOTE, &write(&editor(8), "second")).await;
        assert!(matches!(late, Ok(Seed::Lost(_))));
        // Who comes back sends what is missing.
        let all = doc
            .transact()
            .encode_state_as_update_v1(&StateVector::default());
        let unmended = memory.append(NOTE, &all).await;
        assert_eq!(unmended, Err(Rejected::Unmended));
        let news = memory.news_of(NOTE, &all).await.unwrap();
        memory.append(NOTE, &news).await.unwrap();
        memory.keep(NOTE).await;
        assert!(memory.behind().is_empty());
        local.durable().await.unwrap();
        let folder = &crashed(folder);
        let (local, memory) = start(executor, folder, 1 << 30);
        assert!(memory.join(NOTE, sid, false));
        assert_eq!(text(&memory).await, "first lost");
        // Somebody may come back with it, so it stays when the last one leaves.
        memory.leave(NOTE, sid, Left::Done).await;
        assert!(memory.clear_unused(NOTE).await);
        assert_eq!(memory.figures(), (0, 0));
        assert_eq!(local.document("n").unwrap().epoch, 0);
        assert!(memory.join(NOTE, sid, false));
        assert_eq!(text(&memory).await, "first lost");
    });
}

#[test]
fn a_document_that_nobody_comes_back_to_ends_with_the_last_one() {
    with_folder(async |executor, folder| {
        let (local, memory) = start(executor, folder, 1 << 30);
        let (one, two) = (Sid::random(), Sid::random());
        for (returns, first, last, epoch) in [
            (false, Left::Done, Left::Done, 1),
            (false, Left::Gone, Left::Done, 2),
            (true, Left::Done, Left::Done, 3),
            (false, Left::Done, Left::Gone, 3),
        ] {
            assert!(memory.join(NOTE, one, returns) && memory.join(NOTE, two, false));
            assert_eq!(state(&memory).await, None);
            memory.append(NOTE, &write(&editor(7), "x")).await.unwrap();
            memory.leave(NOTE, one, first).await;
            assert!(!memory.clear_unused(NOTE).await);
            memory.leave(NOTE, two, last).await;
            assert!(memory.clear_unused(NOTE).await);
            assert_eq!(local.document("n").unwrap().epoch, epoch);
        }
        assert!(memory.join(NOTE, one, true));
        assert_eq!(text(&memory).await, "x");
    });
}

#[test]
fn who_lost_the_connection_finds_the_document_that_others_left() {
    for (returns, how) in [(true, Left::Gone), (false, Left::Lost)] {
        with_folder(async |executor, folder| {
            let (_local, memory) = start(executor, folder, 1 << 30);
            let (away, here) = (Sid::random(), Sid::random());
            assert!(memory.join(NOTE, away, returns) && memory.join(NOTE, here, true));
            memory.append(NOTE, &write(&editor(7), "x")).await.unwrap();
            memory.leave(NOTE, away, how).await;
            memory.leave(NOTE, here, Left::Done).await;
            assert!(memory.clear_unused(NOTE).await);
            assert!(memory.join(NOTE, here, true));
            assert_eq!(text(&memory).await, "x");
        });
    }
}

#[test]
fn what_is_left_of_a_document_that_has_ended_is_nothing_until_the_next_one_begins() {
    with_folder(async |executor, folder| {
        let sid = Sid::random();
        let (local, memory) = start(executor, folder, 1 << 30);
        let old = editor(7);
        assert!(memory.join(NOTE, sid, false));
        let first = write(&old, "first");
        memory.seed(NOTE, &first).await.unwrap();
        memory.leave(NOTE, sid, Left::Lost).await;
        assert!(memory.clear_unused(NOTE).await && memory.ended(NOTE).is_empty());
        let note = json!({"user_id": "o", "data": {"content": {"md": "outside"}}});
        local
            .put_note("n", note.as_object().unwrap().clone())
            .unwrap();
        let mut offline = write(&old, " offline");
        for (crash, next) in [(false, "next"), (true, "more")] {
            local.durable().await.unwrap();
            let begun = crash.then(|| start(executor, &crashed(folder), 1 << 30));
            let memory = begun.as_ref().map_or(&memory, |(_, memory)| memory);
            assert!(memory.join(NOTE, sid, false));
            let all = [&first[..], &offline];
            let before = state(memory).await;
            if !crash {
                assert_eq!((before, memory.epoch(NOTE)), (None, Some(1)));
                assert!(memory.vector(NOTE).await.unwrap().is_empty());
                assert!(!memory.was_restored(NOTE));
            }
            assert!(
                !memory.ended(NOTE).is_empty()
                    && memory.part_of_ended(NOTE, &first).await == Part::OfEnded
            );
            let buried = memory.bury(NOTE, &offline).await.unwrap();
            let seed = write(&editor(if crash { 9 } else { 8 }), next);
            assert_eq!(memory.part_of_ended(NOTE, &seed).await, Part::Nothing);
            memory.append(NOTE, &seed).await.unwrap();
            let remains = memory.remains(NOTE).await.unwrap();
            let seen = read(&[all[0], all[1], &buried, &remains]);
            assert_eq!(
                (seen, text(memory).await.len()),
                (text(memory).await, if crash { 8 } else { 4 })
            );
            memory.leave(NOTE, sid, Left::Gone).await;
            assert!(memory.clear_unused(NOTE).await);
            offline = write(&old, " and on");
        }
    });
}

#[test]
fn what_is_no_update_in_the_store_is_left_out() {
    with_folder(async |executor, folder| {
        let (local, memory) = start(executor, folder, 1 << 30);
        let mut record = Vec::new();
        let nested = [
            &[1, 1, 7, 0, 8, 1, 1, b't', 1][..],
            &[117, 1].repeat(200_000),
            &[120, 0],
        ];
        for update in [
            &write(&editor(7), "good")[..],
            &nested.concat(),
            &[255, 255, 255, 127],
            // A block that builds on itself.
            &[1, 1, 26, 0, 0x84, 26, 0, 1, b'x', 0],
        ] {
            put_bytes(&mut record, update);
        }
        // And a length of more than there is.
        record.extend([200, 1, 0]);
        local.keep_document("n", 0, record, false).unwrap();
        assert!(memory.join(NOTE, Sid::random(), false));
        assert_eq!(text(&memory).await, "good");
        // It is written anew without them.
        memory.keep(NOTE).await;
        let kept = local.document("n").unwrap();
        assert_eq!((kept.records.len(), kept.next), (1, 2));
        assert!(kept.records[0].len() < 100);
    });
}

#[test]
fn typing_costs_as_many_bytes_as_it_makes() {
    with_folder(async |executor, folder| {
        let (local, memory) = start(executor, folder, 1 << 30);
        let doc = editor(7);
        assert!(memory.join(NOTE, Sid::random(), false));
        memory
            .seed(NOTE, &write(&doc, &"x".repeat(500_000)))
            .await
            .unwrap();
        let records = || local.document("n").unwrap().records;
        let (mut written, mut most) = (0, 0);
        for _ in 0..600 {
            memory.append(NOTE, &write(&doc, "y")).await.unwrap();
            memory.keep(NOTE).await;
            let records = records();
            written += records.last().unwrap().len();
            most = most.max(records.len());
        }
        assert!(most <= 258, "{most}");
        // Twice all of it, and what was typed.
        assert!(written < 1_100_000, "{written}");
        // Half a megabyte at once is kept as the merged state.
        memory
            .append(NOTE, &write(&doc, &"z".repeat(500_001)))
            .await
            .unwrap();
        memory.keep(NOTE).await;
        assert_eq!(records().len(), 1);
    });
}

#[test]
fn all_documents_have_a_bound_and_those_that_nobody_has_open_go_first() {
    with_folder(async |executor, folder| {
        let (_local, memory) = start(executor, folder, 300_000);
        let sids = [Sid::random(), Sid::random()];
        assert!(memory.join(NOTE, sids[0], true) && memory.join("note:m", sids[1], true));
        let (one, two) = (editor(7), editor(8));
        let large = "x".repeat(140_000);
        memory.append(NOTE, &write(&one, &large)).await.unwrap();
        memory.append("note:m", &write(&two, &large)).await.unwrap();
        let more = write(&one, &large);
        assert_eq!(memory.append(NOTE, &more).await, Err(Rejected::NoRoom));
        assert_eq!(memory.append("other", &more).await, Err(Rejected::NoRoom));
        memory.leave("note:m", sids[1], Left::Gone).await;
        // It is not kept yet, so it stays.
        assert_eq!(memory.append(NOTE, &more).await, Err(Rejected::NoRoom));
        memory.keep("note:m").await;
        memory.append(NOTE, &more).await.unwrap();
        assert_eq!(memory.figures().0, 1);
        // Nobody opens it while there is no room for it.
        assert!(memory.join("note:m", sids[1], true));
        assert!(memory.state("note:m").await.is_err());
        memory.leave(NOTE, sids[0], Left::Gone).await;
        assert!(memory.clear_unused(NOTE).await);
        assert!(memory.state("note:m").await.unwrap().is_some());
        memory.leave("note:m", sids[1], Left::Gone).await;
        assert!(memory.clear_unused("note:m").await && memory.figures() == (0, 0));
    });
}

#[test]
fn one_that_is_half_full_ends_though_somebody_may_come_back_with_it() {
    with_folder(async |executor, folder| {
        let (_local, memory) = start(executor, folder, 16 << 20);
        let (sid, doc) = (Sid::random(), editor(7));
        assert!(memory.join(NOTE, sid, true));
        let text = write(&doc, &"x".repeat(110_000));
        memory.append(NOTE, &text).await.unwrap();
        // Every other character of it is deleted: few bytes, many ranges.
        let mut deletions = vec![0, 1, 7];
        put_number(&mut deletions, 54_000);
        for clock in 0..54_000 {
            put_number(&mut deletions, 2 * clock);
            put_number(&mut deletions, 1);
        }
        memory.append(NOTE, &deletions).await.unwrap();
        assert!(memory.size(NOTE) < 1 << 20);
        memory.leave(NOTE, sid, Left::Lost).await;
        assert!(memory.clear_unused(NOTE).await);
        // The next one has room, and who comes back is known.
        assert!(memory.join(NOTE, sid, true));
        assert!(memory.state(NOTE).await.unwrap().is_none());
        assert_eq!(memory.epoch(NOTE), Some(1));
        assert!(
            !memory.ended(NOTE).is_empty()
                && memory.part_of_ended(NOTE, &text).await == Part::OfEnded
        );
        let first = write(&editor(8), "saved");
        assert!(matches!(
            memory.seed(NOTE, &first).await.unwrap(),
            Seed::Won(_)
        ));
        assert!(memory.size(NOTE) < 100, "{}", memory.size(NOTE));
    });
}

//! Notes that stay saveable, whatever their writers add; and their documents, which end when somebody else writes the note.

use super::tests::{raw, record, user, with_local};
use super::{Local, Record};
use crate::directory::{Emptying, MAX_FIELDS_BYTES, Refusal};
use serde_json::{Value, json};
use std::rc::Rc;

fn note(local: &Local, data: Value) {
    let note = json!({"user_id": "o", "title": "t", "data": data});
    local.put_note("n", record(note)).unwrap();
}

fn text(local: &Local) -> Value {
    local.note_record("n").unwrap().unwrap()["data"]["content"]["md"].clone()
}

fn texts(local: &Local) -> Vec<Value> {
    let versions = local.versions("n").unwrap();
    let text = |version: &Record| version["data"]["content"]["md"].clone();
    versions.iter().map(text).collect()
}

#[test]
fn junk_keeps_nobody_from_saving() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "o", "user").await;
        note(local, json!({"content": {"md": "first"}, "tags": [1]}));
        let save = async |data| {
            directory
                .save_note(&who, "n", &raw(data), Emptying::Allow)
                .await
        };
        let many = |from: usize| -> Value {
            (from..from + 256)
                .map(|i| (format!("junk {i}"), json!("x".repeat(900))))
                .collect()
        };
        let mut refused = 0;
        for round in 0..20 {
            refused += usize::from(save(many(256 * round)).await.is_err());
        }
        assert!((10..20).contains(&refused), "{refused}");
        let whole = local.note_record("n").unwrap().unwrap();
        assert!(Value::from(whole).to_string().len() < MAX_FIELDS_BYTES + 1000);
        // The content is saved, and what is there may be changed and become less.
        let both = json!({"content": {"md": "second"}, "new": "y".repeat(2000)});
        assert!(matches!(save(both).await, Err(Refusal::Denied(why)) if why.contains("no room")));
        save(json!({"content": {"md": "third"}, "tags": [1, 2], "junk 0": 1}))
            .await
            .unwrap();
        save(json!({"new": 1})).await.unwrap();
        let data = local.note_record("n").unwrap().unwrap()["data"].clone();
        assert_eq!(
            [&data["content"]["md"], &data["tags"], &data["new"]],
            [&json!("third"), &json!([1, 2]), &json!(1)]
        );
        local
            .patch_note("n", record(json!({"data": {"content": {"md": "fourth"}}})))
            .unwrap();
        assert_eq!(text(local), "fourth");
    });
}

#[test]
fn a_version_that_is_too_large_stops_no_save() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "o", "user").await;
        let large = |size: usize| json!({"content": {"md": "x".repeat(size << 20)}});
        let short = raw(json!({"content": {"md": "short"}}));
        // Together with it the note is more than the store takes at once.
        note(local, large(8));
        local.durable().await.unwrap();
        let other = json!({"data": large(8), "title": "other"});
        local.patch_note("n", record(other)).unwrap();
        local.durable().await.unwrap();
        assert!(texts(local).is_empty());
        // It is larger than all versions may be.
        note(local, large(13));
        local.durable().await.unwrap();
        directory
            .save_note(&who, "n", &short, Emptying::Allow)
            .await
            .unwrap();
        assert_eq!(text(local), "short");
        assert!(texts(local).is_empty());
        // All of them have a bound together; the newest stay.
        for size in [5, 6, 4] {
            note(local, large(size));
            local.durable().await.unwrap();
        }
        note(local, json!({"content": {"md": "last"}}));
        let sizes = texts(local);
        let sizes = sizes.iter().map(|text| text.as_str().unwrap().len() >> 20);
        assert_eq!(sizes.collect::<Vec<_>>(), [6, 4]);
    });
}

/// What is kept of the document, and its epoch.
fn kept(local: &Rc<Local>) -> (u64, Vec<Vec<u8>>) {
    let kept = local.document("n").unwrap();
    (kept.epoch, kept.records)
}

#[test]
fn a_document_lasts_until_somebody_else_writes_its_note() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "o", "user").await;
        assert_eq!(local.keep_document("n", 0, vec![1], false), Ok(()));
        assert_eq!(kept(local), (0, vec![]), "there is no such note");
        note(local, json!({"content": {"md": "first"}}));
        for number in 0..3 {
            local
                .keep_document("n", number, vec![number as u8], false)
                .unwrap();
        }
        local.keep_document("n", 3, vec![3], true).unwrap();
        local.keep_document("n", 4, vec![4], false).unwrap();
        let all = vec![vec![3], vec![4]];
        assert_eq!(kept(local), (0, all.clone()));
        // Its editors save, and somebody gives it another name.
        let saved = raw(json!({"content": {"md": "second"}}));
        directory
            .save_note(&who, "n", &saved, Emptying::Allow)
            .await
            .unwrap();
        let title = json!({"title": "u", "data": {"content": {"md": "second"}}});
        local.patch_note("n", record(title)).unwrap();
        assert_eq!(kept(local), (0, all.clone()));
        // Written over by somebody else, and by its editors again.
        let outside = || {
            let data = json!({"data": {"content": {"md": "outside"}}});
            local.patch_note("n", record(data)).unwrap();
        };
        outside();
        let fields = raw(json!({"tags": []}));
        directory
            .save_note(&who, "n", &fields, Emptying::Allow)
            .await
            .unwrap();
        directory
            .save_note(&who, "n", &saved, Emptying::Allow)
            .await
            .unwrap();
        assert_eq!(kept(local), (0, all));
        // And not by its editors.
        outside();
        let ended = local.document("n").unwrap();
        assert!(ended.outdated && ended.ended.is_empty());
        assert_eq!(kept(local), (1, vec![vec![3], vec![4]]), "what has ended");
        local.bury_document("n", 1, 0, vec![9], vec![7]).unwrap();
        let next = local.document("n").unwrap();
        assert!(!next.outdated && next.ended == [7]);
        assert_eq!(kept(local), (1, vec![vec![9]]));
        assert_eq!(local.end_document("n"), Ok(2));
        assert_eq!(kept(local), (2, vec![]));
        local.keep_document("n", 0, vec![9], false).unwrap();
        local.delete_note("n").unwrap();
        note(local, json!({"content": {"md": "anew"}}));
        let ended = local.document("n").unwrap();
        assert!(ended.outdated, "made again");
        assert_eq!(kept(local), (3, vec![vec![9]]));
        local.forget_document("n").unwrap();
        assert_eq!(kept(local), (0, vec![]));
    });
}

#[test]
fn what_is_left_of_the_documents_of_removed_notes_is_bounded() {
    with_local(false, async |local, _| {
        let make = |id: &str| {
            let note = json!({"user_id": "o", "data": {}});
            local.put_note(id, record(note)).unwrap();
        };
        let remove = |id: &str| {
            make(id);
            local.keep_document(id, 0, vec![1], false).unwrap();
            local.delete_note(id).unwrap();
            local.bury_document(id, 1, 1, vec![2], vec![]).unwrap();
        };
        remove("again");
        make("again");
        for n in 0..100 {
            remove(&format!("n{n}"));
        }
        let left = |id: &str| local.document(id).unwrap().records;
        assert_eq!(left("n0"), [[2]], "the oldest of a hundred");
        assert_eq!(left("again"), [[2]], "of a note that was made again");
        remove("n0");
        remove("one more");
        assert_eq!(left("n0"), [[2]], "removed once more");
        assert!(left("n1").is_empty(), "of one before the last hundred");
    });
}

#[test]
fn what_an_editor_had_of_an_ended_document_is_a_version_once() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "o", "user").await;
        let other = user(local, &directory, "x", "user").await;
        note(local, json!({"content": {"md": "before"}}));
        note(local, json!({"content": {"md": "outside"}}));
        let keep = async |who, text: &str| {
            let data = raw(json!({"content": {"md": text}}));
            directory.keep_version(who, "n", &data).await
        };
        for text in ["before", "outside", "offline", "offline", ""] {
            keep(&who, text).await.unwrap();
        }
        assert_eq!(texts(local), ["before", "offline"]);
        assert_eq!(text(local), "outside");
        assert!(keep(&other, "not mine").await.is_err());
    });
}

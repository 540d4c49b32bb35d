//! The local directory as events and backends see it.

use super::*;
use crate::directory::{
    Access, ChannelIds, Directory, Emptying, Identity, MessageEvent, Refusal, Saved,
};
use crate::ground::clock::now;
use crate::ground::tasks::Executor;
use crate::store::Store;
use crate::token::Claims;
use futures_lite::future;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::rc::Rc;

/// Runs `test` with a directory of its own.
pub(super) fn with_local(trust: bool, test: impl AsyncFnOnce(&Rc<Local>, Directory)) {
    let executor: Executor = Box::leak(Box::new(smol::LocalExecutor::new()));
    let random = getrandom::u64().unwrap();
    let folder = std::env::temp_dir().join(format!("siskin-local-{random:016x}"));
    smol::block_on(executor.run(async {
        let store = Rc::new(Store::open(executor, &folder).unwrap());
        let local = Local::new(executor, store, trust);
        test(&local, Directory::Local(local.clone())).await;
    }));
    std::fs::remove_dir_all(folder).unwrap();
}

fn claims(id: &str, role: &str) -> Claims {
    Claims {
        id: id.to_owned(),
        role: Some(role.to_owned()),
        ..Claims::default()
    }
}

pub(super) fn record(value: serde_json::Value) -> Record {
    value.as_object().unwrap().clone()
}

pub(super) fn raw(value: serde_json::Value) -> Box<RawValue> {
    to_raw_value(&value).unwrap()
}

pub(super) async fn user(
    local: &Rc<Local>,
    directory: &Directory,
    id: &str,
    role: &str,
) -> Identity {
    local.put_user(id, record(json!({"role": role}))).unwrap();
    directory.identify("t", &claims(id, role)).await.unwrap()
}

fn ids(channels: Result<ChannelIds, Refusal>) -> Vec<String> {
    match channels {
        Ok(ChannelIds::Now(ids)) => ids,
        _ => panic!("the store knows its channels"),
    }
}

#[test]
fn who_comes_again_is_looked_up_when_users_have_changed() {
    with_local(true, async |local, directory| {
        let who = Rc::new(directory.identify("t", &claims("u", "user")).await.unwrap());
        let again = async || directory.identify_again(&who).await;
        assert!(Rc::ptr_eq(&again().await.unwrap(), &who));
        let named = json!({"name": "Ann", "role": "user"});
        local.put_user("u", record(named)).unwrap();
        assert_eq!(again().await.unwrap().user.name, "Ann");
        let pending = json!({"role": "pending"});
        local.put_user("u", record(pending)).unwrap();
        assert!(again().await.is_err());
        local.delete_user("u").unwrap();
        assert_eq!(again().await.unwrap().user, who.user);
        directory.seen(&who, now());
        local
            .put_user("u", record(json!({"role": "user"})))
            .unwrap();
        let known = Rc::new(again().await.unwrap().as_ref().clone());
        local.write_seen().unwrap();
        let seen = directory.identify_again(&known).await.unwrap();
        assert!(seen.user.record.contains("last_active_at"));
    });
}

#[test]
fn who_has_no_entry_is_refused_unless_claims_are_trusted() {
    with_local(false, async |_, directory| {
        let refused = directory.identify("t", &claims("u", "user")).await;
        assert_eq!(refused.err(), Some(Refusal::Denied("no such user")));
    });
    with_local(true, async |local, directory| {
        let who = directory
            .identify("t", &claims("u", "admin"))
            .await
            .unwrap();
        assert_eq!(
            (who.user.name.as_str(), who.user.role.as_str()),
            ("u", "admin")
        );
        assert!(directory.recheck(&who).await.is_ok());
        assert!(
            directory
                .identify("t", &claims("u", "pending"))
                .await
                .is_err()
        );
        assert!(directory.identify("t", &claims("u", "root")).await.is_err());
        // An entry counts more than the token.
        local
            .put_user("u", record(json!({"role": "pending"})))
            .unwrap();
        assert!(
            directory
                .identify("t", &claims("u", "admin"))
                .await
                .is_err()
        );
        assert!(directory.recheck(&who).await.is_err());
    });
}

#[test]
fn a_user_has_a_public_record_and_loses_a_role_at_once() {
    with_local(false, async |local, directory| {
        let entry = json!({"name": "Ann", "role": "admin", "email": "a@b", "bio": "x", "gender": "y",
            "date_of_birth": "z", "profile_image_url": "p", "profile_banner_image_url": "q"});
        assert!(local.put_user("u", record(entry)).unwrap().created);
        let who = directory.identify("t", &claims("u", "user")).await.unwrap();
        let public: Record = serde_json::from_str(&who.user.record).unwrap();
        let fields: Vec<_> = public.keys().collect();
        assert_eq!(
            fields,
            ["created_at", "email", "id", "name", "role", "updated_at"]
        );
        assert_eq!(who.user.role, "admin");
        let change = local
            .put_user("u", record(json!({"role": "user"})))
            .unwrap();
        assert!(change.access_changed && !change.created);
        assert!(directory.recheck(&who).await.is_err());
        assert!(matches!(
            local.put_user("u", record(json!({"role": "x"}))),
            Err(RecordError::Invalid(_))
        ));
        assert!(matches!(
            local.put_user("a\nb", record(json!({}))),
            Err(RecordError::Invalid(_))
        ));
        local.delete_user("u").unwrap();
        assert_eq!(
            local.delete_user("u"),
            Err(RecordError::Missing("no such user"))
        );
        assert!(directory.recheck(&who).await.is_err());
    });
}

#[test]
fn being_seen_is_readable_at_once_and_written_once() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "u", "user").await;
        directory.durable().await.unwrap();
        let commits = local.store.commits();
        for _ in 0..100 {
            directory.seen(&who, now());
        }
        assert!(local.user("u").unwrap().unwrap()["last_active_at"].is_i64());
        directory.durable().await.unwrap();
        assert_eq!(local.store.commits(), commits, "kept in memory");
        local.write_seen().unwrap();
        directory.durable().await.unwrap();
        assert_eq!(local.store.commits(), commits + 1);
        assert!(local.user("u").unwrap().unwrap()["last_active_at"].is_i64());
    });
}

#[test]
fn members_come_and_go() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "u", "user").await;
        let members = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
        let change = local.put_channel("c", record(json!({"name": "C"})), members(&["u", "v"]));
        assert_eq!(change.unwrap().added, ["u", "v"]);
        local.put_channel("b", Record::new(), None).unwrap();
        assert_eq!(local.put_member("b", "u"), Ok(true));
        assert_eq!(local.put_member("b", "u"), Ok(false));
        assert_eq!(ids(directory.channels(&who).await), ["b", "c"]);
        directory.mark_channel_read(&who, "c").await.unwrap();
        let found = local.members("c", "", 9).unwrap().unwrap();
        assert!(found[0]["last_read_at"].is_i64() && found[1]["last_read_at"].is_null());
        assert!(directory.mark_channel_read(&who, "d").await.is_err());
        let change = local
            .put_channel("c", Record::new(), members(&["v"]))
            .unwrap();
        assert_eq!(
            (change.removed, change.created),
            (vec!["u".to_owned()], false)
        );
        assert_eq!(ids(directory.channels(&who).await), ["b"]);
        assert_eq!(local.delete_channel("c").unwrap(), ["v"]);
        assert_eq!(local.members("c", "", 9).unwrap(), None);
        assert_eq!(local.delete_user("u").unwrap(), ["b"]);
        assert_eq!(local.members("b", "", 9).unwrap(), Some(vec![]));
    });
}

#[test]
fn grants_open_notes_and_chats() {
    with_local(false, async |local, directory| {
        let owner = user(local, &directory, "o", "user").await;
        let reader = user(local, &directory, "r", "user").await;
        let writer = user(local, &directory, "w", "user").await;
        let stranger = user(local, &directory, "s", "user").await;
        let admin = user(local, &directory, "a", "admin").await;
        let grant = |id, permission| json!({"principal_type": "user", "principal_id": id, "permission": permission});
        let group = json!({"principal_type": "group", "principal_id": "s", "permission": "write"});
        let grants = json!([
            grant("r", "read"),
            grant("w", "read"),
            grant("w", "write"),
            group
        ]);
        let shared = record(json!({"user_id": "o", "title": "T", "access_grants": grants}));
        local.put_note("n", shared.clone()).unwrap();
        local.put_chat("c", shared).unwrap();
        let rows = [
            (&owner, Access::Write, Access::Write),
            (&reader, Access::Read, Access::Read),
            (&writer, Access::Write, Access::Write),
            (&stranger, Access::None, Access::None),
            (&admin, Access::Write, Access::Read),
        ];
        for (who, note, chat) in rows {
            let view = directory.note(who, "n").await.unwrap();
            assert_eq!(
                view.map_or(Access::None, |view| view.access),
                note,
                "{}",
                who.user.id
            );
            assert_eq!(
                directory.chat_access(who, "c").await.unwrap(),
                chat,
                "{}",
                who.user.id
            );
        }
        local
            .patch_note("n", record(json!({"access_grants": [grant("*", "read")]})))
            .unwrap();
        assert_eq!(
            directory
                .note(&stranger, "n")
                .await
                .unwrap()
                .unwrap()
                .access,
            Access::Read
        );
        let data = raw(json!({"content": {"md": "x"}}));
        let saved = directory
            .save_note(&stranger, "n", &data, Emptying::Refuse)
            .await;
        assert!(matches!(saved, Err(Refusal::Denied(_))));
        assert!(directory.mark_chat_read(&stranger, "c").await.is_err());
        assert!(directory.mark_chat_read(&owner, "c").await.unwrap() > Some(0));
        assert!(local.chat("c").unwrap().unwrap()["last_read_at"].is_i64());
        assert!(matches!(
            local.put_note("n", record(json!({"user_id": "o", "access_grants": [{}]}))),
            Err(RecordError::Invalid(_))
        ));
    });
}

#[test]
fn a_note_is_not_emptied_by_accident() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "o", "user").await;
        let full = json!({"content": {"md": "all of it"}, "tags": [1]});
        local
            .put_note("n", record(json!({"user_id": "o", "data": full})))
            .unwrap();
        let save = async |data, emptying| {
            let saved = directory.save_note(&who, "n", &raw(data), emptying).await;
            saved.map(|_| local.note_record("n").unwrap().unwrap()["data"].clone())
        };
        let empty = json!({"content": {"md": "", "html": "<p></p>", "json": null}});
        assert!(save(empty.clone(), Emptying::Refuse).await.is_err());
        assert!(
            save(json!({"content": null}), Emptying::Refuse)
                .await
                .is_err()
        );
        assert!(save(json!([]), Emptying::Allow).await.is_err());
        // No content: nothing happens to it. Other fields stay too.
        let kept = save(json!({"x": 1}), Emptying::Refuse).await.unwrap();
        assert_eq!(
            kept,
            json!({"content": {"md": "all of it"}, "tags": [1], "x": 1})
        );
        // A genuine edit may clear it; the text is in the versions.
        save(empty.clone(), Emptying::Allow).await.unwrap();
        save(empty, Emptying::Refuse).await.unwrap();
        let versions = local.versions("n").unwrap();
        let last = versions.last().unwrap();
        assert_eq!(last["data"]["content"]["md"], "all of it");
        let number = last["version"].as_u64().unwrap();
        let restored = local.restore_note("n", number).unwrap();
        assert_eq!(restored["data"]["content"]["md"], "all of it");
    });
}

#[test]
fn the_last_ten_versions_stay() {
    with_local(false, async |local, directory| {
        let who = user(local, &directory, "o", "user").await;
        for i in 0..14 {
            let note = json!({"user_id": "o", "data": {"content": {"md": format!("text {i}")}}});
            local.put_note("n", record(note)).unwrap();
        }
        let texts = |versions: Vec<Record>| -> Vec<String> {
            let text = |v: &Record| v["data"]["content"]["md"].as_str().unwrap().to_owned();
            versions.iter().map(text).collect()
        };
        let kept = texts(local.versions("n").unwrap());
        assert_eq!(
            kept,
            (3..13).map(|i| format!("text {i}")).collect::<Vec<_>>()
        );
        // Typing makes no version a keystroke, losing half of the text does.
        for text in ["text 13 a", "text 13 ab", "text 13 abc"] {
            let data = raw(json!({"content": {"md": text}}));
            directory
                .save_note(&who, "n", &data, Emptying::Allow)
                .await
                .unwrap();
        }
        assert_eq!(texts(local.versions("n").unwrap()), kept);
        let data = raw(json!({"content": {"md": "t"}}));
        directory
            .save_note(&who, "n", &data, Emptying::Allow)
            .await
            .unwrap();
        assert_eq!(
            texts(local.versions("n").unwrap()).last().unwrap(),
            "text 13 abc"
        );
        // Editors who aren't known to work on the saved content leave it as a version, too.
        let data = raw(json!({"content": {"md": "u"}}));
        directory
            .save_note(&who, "n", &data, Emptying::Refuse)
            .await
            .unwrap();
        assert_eq!(texts(local.versions("n").unwrap()).last().unwrap(), "t");
        local.delete_note("n").unwrap();
        assert_eq!(
            local.versions("n"),
            Err(RecordError::Missing("no such note"))
        );
    });
}

#[test]
fn an_event_is_saved_as_its_type_says() {
    for beside in [false, true] {
        saves_events(beside);
    }
}

fn saves_events(beside: bool) {
    with_local(false, async |local, directory| {
        let save = async |chat: &str, message: &str, kind: &str, data: Value| {
            let event = raw(json!({"type": kind, "data": data}));
            let event = MessageEvent::read(event.get(), event.get()).unwrap();
            let read = beside.then(|| Change::of(&event).into_owned());
            let saved = directory
                .save_event(None, chat, message, &event, read)
                .await;
            saved.unwrap()
        };
        let text = |content: &str| json!({"content": content});
        let message = |id| local.message_record("c", id).unwrap();
        local
            .put_chat("c", record(json!({"user_id": "o"})))
            .unwrap();
        // Content is appended to messages that exist only.
        let saved = save("c", "m", "message", text("x")).await;
        assert_eq!(saved, Saved::NoMessage);
        let saved = save("d", "m", "status", json!({})).await;
        assert_eq!(saved, Saved::NoMessage, "no such chat");
        for (kind, data) in [
            ("status", json!({"done": false})),
            ("message", text("Hel")),
            ("message", text("lo")),
            ("status", json!({"done": true})),
            ("source", json!({"id": 1})),
            ("citation", json!({"id": 2})),
            ("embeds", json!({"embeds": [1]})),
            ("embeds", json!({"embeds": [2, 1]})),
            ("files", json!({"files": [1]})),
            ("files", json!({"files": [2, 1]})),
        ] {
            let saved = save("c", "m", kind, data).await;
            assert_eq!(saved, Saved::Yes, "{kind}");
        }
        assert_eq!(
            Value::Object(message("m").unwrap()),
            json!({"id": "m", "content": "Hello", "statusHistory": [{"done": false}, {"done": true}],
                "sources": [{"id": 1}, {"id": 2}], "embeds": [2, 1, 1], "files": [2, 1, 1]})
        );
        for (replace, expected) in [
            (json!(false), json!([3, 2, 1, 1])),
            (json!(true), json!([3])),
        ] {
            let data = json!({"embeds": [3], "replace": replace});
            assert_eq!(save("c", "m", "embeds", data).await, Saved::Yes);
            assert_eq!(message("m").unwrap()["embeds"], expected);
            save(
                "c",
                "m",
                "embeds",
                json!({"embeds": [2, 1, 1], "replace": true}),
            )
            .await;
        }
        assert_eq!(save("c", "m", "replace", text("Bye")).await, Saved::Yes);
        assert_eq!(save("c", "new", "replace", text("Made")).await, Saved::Yes);
        assert_eq!(message("m").unwrap()["content"], "Bye");
        let all: Vec<_> = local.messages("c", "", 9).unwrap().unwrap();
        assert_eq!((all.len(), all[1]["content"].as_str()), (2, Some("Made")));
        // Content that isn't text is left alone.
        let parts = json!({"content": [{"type": "text"}]});
        local.put_message("c", "p", record(parts)).unwrap();
        let saved = save("c", "p", "message", text("x")).await;
        assert_eq!(saved, Saved::NoMessage);
        assert!(message("p").unwrap()["content"].is_array());
        local.delete_chat("c").unwrap();
        assert!(message("m").is_none());
        assert_eq!(local.chats(Some("o"), "", 9).unwrap(), Vec::<Record>::new());
    });
}

#[test]
fn an_event_of_another_shape_or_type_leaves_no_trace() {
    with_local(false, async |local, directory| {
        local
            .put_chat("c", record(json!({"user_id": "o"})))
            .unwrap();
        local.put_message("c", "m", Record::new()).unwrap();
        for event in [
            json!({"type": "status"}),
            json!({"type": "message"}),
            json!({"type": "message", "data": {"content": 7}}),
            json!({"type": "replace", "data": "x"}),
            json!({"type": "files", "data": {"files": {}}}),
            json!({"type": "source", "data": {"type": "code_execution"}}),
            json!({"type": "citation", "data": 1}),
            json!({"type": "chat:title", "data": "x"}),
        ] {
            let event = raw(event);
            let event = MessageEvent::read(event.get(), event.get()).unwrap();
            for beside in [false, true] {
                let read = beside.then(|| Change::of(&event).into_owned());
                let saved = directory.save_event(None, "c", "m", &event, read).await;
                assert_eq!(saved, Ok(Saved::No), "{}", event.raw);
            }
        }
        let message = local.message_record("c", "m").unwrap();
        assert_eq!(message, Some(record(json!({"id": "m"}))));
    });
}

#[test]
fn large_changes_of_one_message_at_once_are_all_kept() {
    with_local(false, async |local, directory| {
        local
            .put_chat("c", record(json!({"user_id": "o"})))
            .unwrap();
        let save = async |n: usize| {
            let event = raw(json!({"type": "status", "data": {"n": n}}));
            let event = MessageEvent::read(event.get(), event.get()).unwrap();
            let read = Some(Change::of(&event).into_owned());
            let saved = directory.save_event(None, "c", "m", &event, read).await;
            assert_eq!(saved, Ok(Saved::Yes));
        };
        let both = future::zip(save(0), save(1));
        future::zip(both, save(2)).await;
        let message = local.message_record("c", "m").unwrap().unwrap();
        assert_eq!(message["statusHistory"].as_array().unwrap().len(), 3);
    });
}

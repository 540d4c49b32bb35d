//! Messages between instances, as they are written and read.

use super::*;
use crate::ground::random_input::{Random, rounds};

fn emitted(message: &str) -> Emit<'_> {
    match decode(message.as_bytes(), "me").unwrap() {
        PeerMessage::Emit(emit) => emit,
        other => panic!("{other:?}"),
    }
}

/// As python-socketio 5.16 writes it, with its blanks.
#[test]
fn a_message_of_python_is_read() {
    let emit = emitted(
        r#"{"method": "emit", "event": "a\"b", "data": [{"x": "\u00e4"}, 2], "binary": false, "namespace": "/", "room": "user:1", "skip_sid": "s", "callback": ["user:1", "/", 7], "host_id": "h"}"#,
    );
    assert_eq!(
        (&*emit.event, emit.args.json()),
        ("a\"b", r#"{"x": "\u00e4"}, 2"#)
    );
    assert_eq!(
        (emit.rooms, emit.except),
        (Some(vec!["user:1".into()]), vec!["s".into()])
    );
    let reply = emit.reply.unwrap();
    assert_eq!((&*reply.host, &*reply.room, reply.id), ("h", "user:1", 7));
}

#[test]
fn events_with_names_that_socket_io_keeps_for_itself_are_skipped() {
    for name in ["connect", "connect_error", "disconnect", "newListener"] {
        let message = format!(r#"{{"method":"emit","event":"{name}","room":"r","host_id":"h"}}"#);
        let skipped = decode(message.as_bytes(), "me");
        assert_eq!(skipped, Err(BadMessage("reserved event name")), "{name}");
    }
}

#[test]
fn rooms_and_data_come_in_all_shapes() {
    let with = |data: &str, room: &str, skip: &str| {
        format!(
            r#"{{"method":"emit","event":"e","data":{data},"room":{room},"skip_sid":{skip},"host_id":"h"}}"#
        )
    };
    for (data, json) in [
        ("[null]", ""),
        ("null", ""),
        ("[]", ""),
        ("[[1]]", "[1]"),
        ("5", "5"),
        ("[ 1 ]", "1"),
    ] {
        assert_eq!(
            emitted(&with(data, "null", "null")).args.json(),
            json,
            "{data}"
        );
    }
    let message = with("[]", r#"["a","b"]"#, r#"["c","d"]"#);
    let emit = emitted(&message);
    assert_eq!(emit.rooms, Some(vec!["a".into(), "b".into()]));
    assert_eq!(emit.except, ["c", "d"]);
    assert_eq!(
        decode(with("[]", "5", "null").as_bytes(), "me"),
        Ok(PeerMessage::NotForUs)
    );
}

#[test]
fn what_we_write_is_what_we_read() {
    let args = Args::from_json(r#"{"_placeholder":true,"num":0},1"#)
        .with_attachments(vec![vec![0, 255, 7]]);
    let except = ["x", "y"];
    let target = Target::room("r\"oom").but(&except);
    let call = |waits| {
        let call = Call { id: 3, waits };
        emit_message("other", &target, "é", &args, Some(call))
    };
    for waits in [true, false] {
        let message = call(waits);
        assert_eq!(emitted(&message).reply.unwrap().waits, waits);
    }
    let message = call(true);
    let emit = emitted(&message);
    assert_eq!((&*emit.event, &emit.args, &*emit.nsp), ("é", &args, "/"));
    assert_eq!(
        (emit.rooms, emit.except.len()),
        (Some(vec!["r\"oom".into()]), 2)
    );
    let reply = emit.reply.unwrap();
    assert_eq!(
        (&*reply.host, &*reply.room, reply.id),
        ("other", "r\"oom", 3)
    );

    let reply = ReplyTo {
        host: "me".into(),
        ..reply
    };
    let answer = callback_message(&reply, &args);
    let expected = PeerMessage::Callback(Callback {
        id: 3,
        args: args.clone(),
    });
    assert_eq!(decode(answer.as_bytes(), "me"), Ok(expected));
    assert_eq!(decode(answer.as_bytes(), "else"), Ok(PeerMessage::NotForUs));
    let here = here_message(&reply, "b");
    assert_eq!(
        decode(here.as_bytes(), "me"),
        Ok(PeerMessage::Here {
            id: 3,
            host: "b".into()
        })
    );
    assert_eq!(
        decode(gone_message(&reply).as_bytes(), "me"),
        Ok(PeerMessage::Gone { id: 3 })
    );
}

/// Every one of these is what python-socketio's own json.dumps gives, but for blanks.
#[test]
fn our_messages_have_the_fields_of_pythons() {
    let plain = emit_message("h", &Target::room("r"), "e", &Args::from_json("1"), None);
    assert_eq!(
        plain,
        r#"{"method":"emit","event":"e","data":[1],"binary":false,"namespace":"/","room":"r","skip_sid":null,"callback":null,"host_id":"h"}"#
    );
    let blob = Args::from_json(r#"{"_placeholder":true,"num":0}"#).with_attachments(vec![vec![1]]);
    let all = Target {
        nsp: "/",
        to: To::All,
        except: &["s"],
    };
    assert_eq!(
        emit_message("h", &all, "e", &blob, None),
        r#"{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":0}],"AQ=="],"binary":true,"namespace":"/","room":null,"skip_sid":"s","callback":null,"host_id":"h"}"#
    );
    assert_eq!(
        disconnect_message("h", "s"),
        r#"{"method":"disconnect","sid":"s","namespace":"/","host_id":"h"}"#
    );
    assert_eq!(
        enter_message("h", "s", "r"),
        r#"{"method":"enter_room","sid":"s","room":"r","namespace":"/","host_id":"h"}"#
    );
    assert_eq!(
        close_message("h", "r"),
        r#"{"method":"close_room","room":"r","namespace":"/","host_id":"h"}"#
    );
    assert!(plain.ends_with(&tail("h")));
}

#[test]
fn our_own_come_back_and_are_not_for_us() {
    let own = emit_message("me", &Target::room("r"), "e", &Args::none(), None);
    assert_eq!(decode(own.as_bytes(), "me"), Ok(PeerMessage::NotForUs));
}

#[test]
fn malformed_ones_are_told() {
    for wrong in [
        "",
        "[]",
        "{",
        r#"{"method":"emit"}"#,
        r#"{"method":"emit","data":[],"host_id":"h"}"#,
        r#"{"method":"emit","event":1,"data":[],"host_id":"h"}"#,
        r#"{"method":"emit","event":"e","data":[NaN],"host_id":"h"}"#,
        r#"{"method":"emit","event":"e","data":[[1],"AQ=="],"binary":true,"host_id":"h"}"#,
        r#"{"method":"emit","event":"e","data":[[{"_placeholder":true}],"?"],"binary":true,"host_id":"h"}"#,
        r#"{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":1}],"AQ=="],"binary":true,"host_id":"h"}"#,
        r#"{"method":"emit","event":"e","data":[[[{"a":{"_placeholder":true}}]],"AQ=="],"binary":true,"host_id":"h"}"#,
        r#"{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":0}]],"binary":true,"host_id":"h"}"#,
        r#"{"method":"callback","host_id":"me","id":1,"args":[{"num":-1,"_placeholder":true}],"attachments":["AQ=="]}"#,
        r#"{"method":"emit","event":"e","data":[],"callback":[1],"host_id":"h"}"#,
        r#"{"method":"callback","host_id":"me","id":-1,"args":[]}"#,
        r#"{"method":"callback","host_id":"me","id":1,"args":5}"#,
        r#"{"method":"enter_room","sid":"s","host_id":"h"}"#,
        r#"{"method":"what","host_id":"h"}"#,
    ] {
        assert!(decode(wrong.as_bytes(), "me").is_err(), "{wrong}");
    }
}

#[test]
fn random_messages_never_panic() {
    let mut random = Random::new();
    let good = r#"{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":0}],"AQ=="],"binary":true,"namespace":"/","room":["a"],"skip_sid":"s","callback":["a","/",1],"host_id":"h"}"#;
    for _ in 0..rounds() {
        let _ = decode(&random.spoil(good.as_bytes()), "me");
    }
}

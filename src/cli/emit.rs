//! `siskin emit`: sends an event through the running instance's HTTP API.

use super::{Failure, Outcome, request};
use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};
use std::io::Read;

/// send an event to a user, a room or a session through the running instance
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "emit",
    example = r#"{command_name} --user ann events '{{"data": {{"type": "notification", "data": {{"type": "info", "content": "The backup is done"}}}}}}'"#,
    example = r#"df --output=pcent / | jq -R . | jq -s . | {command_name} --room channel:ops disk -"#,
    note = "It reads the same settings as the running instance: SISKIN_LISTEN says where it is, SISKIN_API_KEY opens it."
)]
pub struct Emit {
    /// the user whose sessions get it
    #[argh(option)]
    user: Option<String>,
    /// the room whose members get it
    #[argh(option)]
    room: Option<String>,
    /// the one session (sid) that gets it
    #[argh(option)]
    session: Option<String>,
    /// a session (sid) that doesn't get it
    #[argh(option)]
    skip: Vec<String>,
    /// the event's name
    #[argh(positional)]
    event: String,
    /// the event's data as JSON; - reads it from standard input; without it the event has no data
    #[argh(positional)]
    data: Option<String>,
}

pub fn run(emit: &Emit) -> Outcome {
    let body = body(emit)?;
    let config = super::settings()?;
    let answer = request::send(&config, "POST", "/api/v1/emit", body.to_string().as_bytes())?;
    match answer.status {
        200..300 => super::say(&format!("{}\n", answer.text())),
        _ => return Err(answer.failure()),
    }
    Ok(())
}

/// What the API is asked.
fn body(emit: &Emit) -> Result<Value, Failure> {
    let targets = [
        ("user_id", &emit.user),
        ("room", &emit.room),
        ("session_id", &emit.session),
    ];
    let mut given = targets
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    let (Some((name, value)), None) = (given.next(), given.next()) else {
        let text = "Say who gets it: one of --user, --room and --session.";
        return Err(Failure::Wrong(text.into()));
    };
    let mut body = json!({"event": emit.event, "skip_sid": emit.skip, name: value});
    if let (Some(data), Some(body)) = (&emit.data, body.as_object_mut()) {
        body.insert("data".into(), read(data)?);
    }
    Ok(body)
}

fn read(data: &str) -> Result<Value, Failure> {
    let mut text = data.to_owned();
    if data == "-" {
        text.clear();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        read.map_err(|error| Failure::Failed(format!("standard input can't be read: {error}")))?;
    }
    let advice = "text stands in double quotes, as in '\"done\"'";
    serde_json::from_str(&text)
        .map_err(|error| Failure::Wrong(format!("the data is no JSON: {error}; {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(typed: &[&str]) -> Result<Value, Failure> {
        body(&Emit::from_args(&["emit"], typed).ok().unwrap())
    }

    #[test]
    fn the_command_becomes_a_request() {
        let body = asked(&["--user", "ann", "--skip", "s1", "events", r#"{"a":1}"#]).unwrap();
        assert_eq!(
            body,
            json!({"user_id": "ann", "event": "events", "data": {"a": 1}, "skip_sid": ["s1"]})
        );
        let body = asked(&["--room", "r", "ping"]).unwrap();
        assert_eq!(body, json!({"room": "r", "event": "ping", "skip_sid": []}));
    }

    #[test]
    fn it_needs_one_target_and_json() {
        for typed in [
            &["ping"][..],
            &["--user", "a", "--room", "b", "ping"],
            &["--user", "a", "ping", "done"],
        ] {
            assert!(matches!(asked(typed), Err(Failure::Wrong(_))), "{typed:?}");
        }
    }
}

//! `/api/v1/notes`: notes, who may read and write them, and their earlier versions.
//!
//! Who has a note open gets `events:note` on every change; who may no longer read it leaves.

use super::Answer;
use super::input::Ask;
use super::reply::{Problem, Reply};
use crate::directory::Access;
use crate::directory::local::Record;
use crate::events::{document, note as editors};
use crate::house::House;
use crate::socket::{Args, Target};
use serde_json::json;

pub async fn list(ask: Ask) -> Answer {
    let notes = ask.local()?.notes(ask.after(), ask.limit())?;
    Ok(Reply::json(&json!({"notes": notes})))
}

pub async fn one(ask: Ask) -> Answer {
    match ask.local()?.note_record(ask.name())? {
        Some(note) => Ok(Reply::json(&note)),
        None => Err(Problem::missing("There is no such note.")),
    }
}

pub async fn put(ask: Ask) -> Answer {
    let (house, local, id) = (ask.house.clone(), ask.local()?, ask.name().to_owned());
    let note: Record = ask.json().await?;
    editors::settle(&house, &id).await;
    let (created, note) = local.put_note(&id, note)?;
    local.durable().await?;
    tell(&house, &id, &note).await;
    Ok(Reply::put(created, &note))
}

pub async fn patch(ask: Ask) -> Answer {
    let (house, local, id) = (ask.house.clone(), ask.local()?, ask.name().to_owned());
    let changes: Record = ask.json().await?;
    editors::settle(&house, &id).await;
    let note = local.patch_note(&id, changes)?;
    local.durable().await?;
    tell(&house, &id, &note).await;
    Ok(Reply::json(&note))
}

pub async fn delete(ask: Ask) -> Answer {
    let local = ask.local()?;
    local.delete_note(ask.name())?;
    local.durable().await?;
    ask.house.editing.forget(ask.name());
    let [listening, editing] = rooms(ask.name());
    for sid in ask.house.hub.members(&editing) {
        document::put_out(&ask.house, ask.name(), sid).await;
    }
    for room in [listening, editing] {
        ask.house.backplane.close_room(&room);
    }
    Ok(Reply::done())
}

pub async fn versions(ask: Ask) -> Answer {
    let versions = ask.local()?.versions(ask.name())?;
    Ok(Reply::json(&json!({"versions": versions})))
}

pub async fn restore(ask: Ask) -> Answer {
    let local = ask.local()?;
    let version = ask.second().parse();
    let version = version.map_err(|_| Problem::missing("There is no such version."))?;
    editors::settle(&ask.house, ask.name()).await;
    let note = local.restore_note(ask.name(), version)?;
    local.durable().await?;
    tell(&ask.house, ask.name(), &note).await;
    Ok(Reply::json(&note))
}

/// The note has changed.
async fn tell(house: &House, id: &str, note: &Record) {
    house.editing.changed_outside(id);
    for room in rooms(id) {
        put_out(house, id, &room).await;
    }
    let [room, _] = rooms(id);
    let args = Args::one(&json!(note));
    house
        .backplane
        .emit(&Target::room(&room), "events:note", &args);
}

/// Who listens to a note, and who edits it.
fn rooms(id: &str) -> [String; 2] {
    [format!("note:{id}"), format!("doc_note:{id}")]
}

/// Makes everybody leave the room who may not read the note.
async fn put_out(house: &House, id: &str, room: &str) {
    for sid in house.hub.members(room) {
        let Some(who) = house.sessions.who(sid) else {
            continue;
        };
        let note = house.directory.note(&who, id).await;
        let access = note.map(|note| note.map_or(Access::None, |note| note.access));
        if access == Ok(Access::None) {
            house.backplane.leave(sid, room);
            if room.starts_with("doc_") {
                document::put_out(house, id, sid).await;
            }
        }
    }
}

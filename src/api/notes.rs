//! `/api/v1/notes`: notes, who may read and write them, and their earlier versions.
//!
//! Who has a note open gets `events:note` on every change; who may no longer read it leaves.

use super::Answer;
use super::input::Ask;
use super::reply::{Problem, Reply};
use crate::directory::local::Record;
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
    let (house, local, id) = (ask.house, ask.local()?, ask.name().to_owned());
    let note: Record = ask.json().await?;
    house.notes.save_before_outside(&id).await;
    let (created, note) = local.put_note(&id, note)?;
    local.durable().await?;
    house.documents.note_changed(&id, &note).await;
    Ok(Reply::put(created, &note))
}

pub async fn patch(ask: Ask) -> Answer {
    let (house, local, id) = (ask.house, ask.local()?, ask.name().to_owned());
    let changes: Record = ask.json().await?;
    house.notes.save_before_outside(&id).await;
    let note = local.patch_note(&id, changes)?;
    local.durable().await?;
    house.documents.note_changed(&id, &note).await;
    Ok(Reply::json(&note))
}

pub async fn delete(ask: Ask) -> Answer {
    let local = ask.local()?;
    local.delete_note(ask.name())?;
    local.durable().await?;
    ask.house.documents.note_removed(ask.name()).await;
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
    ask.house.notes.save_before_outside(ask.name()).await;
    let note = local.restore_note(ask.name(), version)?;
    local.durable().await?;
    ask.house.documents.note_changed(ask.name(), &note).await;
    Ok(Reply::json(&note))
}

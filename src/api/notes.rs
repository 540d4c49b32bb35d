//! `/api/v1/notes`: notes, who may read and write them, and their earlier versions.
//!
//! Who has a note open gets `events:note` on every change; who may no longer read it leaves.

use super::ApiResult;
use super::input::ApiRequest;
use super::reply::{Problem, Reply};
use crate::directory::local::Record;
use serde_json::json;

pub fn list(request: ApiRequest) -> ApiResult {
    let notes = request.local()?.notes(request.after(), request.limit())?;
    Ok(Reply::json(&json!({"notes": notes})))
}

pub async fn one(request: ApiRequest) -> ApiResult {
    let (local, id) = (request.local()?, request.name());
    // What editors have saved a moment ago is shown once no crash can undo it; should the disk fail, it is shown all the same.
    let found = local.note_record(id)?;
    let _ = local.durable().await;
    match found {
        Some(note) => Ok(Reply::json(&note)),
        None => Err(Problem::missing("There is no such note.")),
    }
}

pub async fn put(request: ApiRequest) -> ApiResult {
    let (house, local, id) = (request.house, request.local()?, request.name().to_owned());
    let note: Record = request.json().await?;
    house.notes.save_before_outside(&id).await;
    let (created, note) = local.put_note(&id, note)?;
    house.notes.written_outside(&id, note.get("data"));
    local.durable().await?;
    house.documents.note_changed(&id, &note).await;
    Ok(Reply::put(created, &note))
}

pub async fn patch(request: ApiRequest) -> ApiResult {
    let (house, local, id) = (request.house, request.local()?, request.name().to_owned());
    let changes: Record = request.json().await?;
    house.notes.save_before_outside(&id).await;
    let data = changes.get("data").cloned();
    let note = local.patch_note(&id, changes)?;
    house.notes.written_outside(&id, data.as_ref());
    local.durable().await?;
    house.documents.note_changed(&id, &note).await;
    Ok(Reply::json(&note))
}

pub async fn delete(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    local.delete_note(request.name())?;
    request.house.documents.note_removed(request.name()).await;
    local.durable().await?;
    Ok(Reply::done())
}

pub async fn versions(request: ApiRequest) -> ApiResult {
    let local = request.local()?;
    let versions = local.versions(request.name())?;
    let _ = local.durable().await;
    Ok(Reply::json(&json!({"versions": versions})))
}

pub async fn restore(request: ApiRequest) -> ApiResult {
    let (house, local, id) = (request.house, request.local()?, request.name());
    let version = request.second().parse();
    let version = version.map_err(|_| Problem::missing("There is no such version."))?;
    house.notes.save_before_outside(id).await;
    let note = local.restore_note(id, version)?;
    house.notes.written_outside(id, note.get("data"));
    local.durable().await?;
    house.documents.note_changed(id, &note).await;
    Ok(Reply::json(&note))
}

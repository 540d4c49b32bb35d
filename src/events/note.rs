//! Notes: `join-note` to hear of their saves, and saving what their documents bring, a moment after the last change.
//!
//! What is to be saved is never dropped: not by a later update that brings no content, not by everybody leaving,
//! not by a directory that is away for a while, not by SIGTERM.

use super::payload::{Auth, Id};
use super::{Fault, Sender, Work, document, enter, log_level, session, tell};
use crate::directory::local::is_empty_content;
use crate::directory::{Access, Refusal};
use crate::house::House;
use crate::metrics;
use crate::socket::{Args, Object, Target};
use crate::state::editing::{Fields, Pending};
use crate::state::others::Others;
use log::Level;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Between two attempts to save while the directory is away.
const RETRY: Duration = Duration::from_secs(5);
/// How often somebody who waits for a save looks whether it is done.
const LOOK: Duration = Duration::from_millis(5);
/// How long a change from outside waits for the editors' last one to be saved.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Payload {
    auth: Object<Auth>,
    note_id: Id,
}

/// The room of those who hear of a note's saves.
fn room(note_id: &str) -> String {
    format!("note:{note_id}")
}

/// `{auth: {token}, note_id}` of a reader.
pub fn join(from: Sender, args: &Args<'_>) -> Work {
    let Some(Payload { auth, note_id }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    if let Err(fault) = session::same_user(&from, &auth.0.token) {
        return Work::refuse(fault);
    }
    Work::later(async move {
        let Sender { house, sid, who } = &from;
        if house.directory.note_access(who, &note_id).await? < Access::Read {
            return Err(Fault::Denied("no such note, or no access to it"));
        }
        enter(house, *sid, &room(&note_id)).await?;
        Ok(Args::none())
    })
}

/// Does a note's content show nothing?
pub fn is_empty(content: &RawValue) -> bool {
    let content = serde_json::from_str(content.get());
    content.is_ok_and(|content| is_empty_content(Some(&content)))
}

/// The fields of an update's `data`; none when there is nothing in it. `Err`: it is not an object.
pub fn fields(data: Option<&RawValue>) -> Result<Option<Fields>, serde_json::Error> {
    let fields: Option<Fields> = data.map_or(Ok(None), |data| serde_json::from_str(data.get()))?;
    Ok(fields.filter(|fields| !fields.is_empty()))
}

/// Saves these fields a moment after the last change. Other instances that are about to save the note don't: these are newer.
pub async fn save_later(from: &Sender, note_id: &str, fields: Fields) {
    let Sender { house, sid, who } = from;
    house.others.begin_task(&item(note_id)).await;
    let pending = Pending::new(who.clone(), *sid, fields, Instant::now());
    match house.editing.put(note_id, pending) {
        Some(true) => keep_saving(house, note_id.into()),
        Some(false) => {}
        None => {
            metrics::refused("bytes of notes to save");
            let level = log_level(house, *sid, "bytes of notes to save", Level::Warn);
            log::log!(
                level,
                "{sid} brings more to save of note {note_id:?} than may wait"
            );
            tell(house, *sid, "The note is too large to be saved");
        }
    }
}

/// Saves until there is nothing more to save, then clears the document if nobody has it open.
fn keep_saving(house: &Rc<House>, note_id: Rc<str>) {
    let (weak, others) = (Rc::downgrade(house), house.others.clone());
    let saving = async move {
        let item = item(&note_id);
        let mut wait = None;
        loop {
            let stopped = match wait.take() {
                Some(until) => stopped(&others, &item, until).await,
                None => false,
            };
            let Some(house) = weak.upgrade() else { return };
            if stopped {
                house.editing.forget(&note_id);
            }
            match house.editing.due(&note_id) {
                // By somebody who may give up: then it is due again.
                None if house.editing.is_saving(&note_id) => {
                    smol::Timer::after(LOOK).await;
                }
                None => {
                    others.end_task(&item).await;
                    if house.editing.finish(&note_id) {
                        document::clear(&house, &note_id).await;
                        return;
                    }
                    others.begin_task(&item).await;
                }
                Some(due) if due > Instant::now() => wait = Some(due),
                Some(_) => {
                    if !save(&house, &note_id).await {
                        wait = Some(Instant::now() + RETRY);
                    }
                }
            }
        }
    };
    house.executor.spawn(saving).detach();
}

/// Waits until then. Whether another instance said meanwhile that it has something newer to save.
async fn stopped(others: &Others, item: &str, until: Instant) -> bool {
    let stopped = async {
        others.task_stopped(item).await;
        true
    };
    let due = async {
        smol::Timer::at(until).await;
        false
    };
    futures_lite::future::or(stopped, due).await
}

/// What the task that saves a note is about, for all instances: its document.
fn item(note_id: &str) -> String {
    format!("note:{note_id}")
}

/// Saves what waits. `false`: it can't be saved now, and still waits, as it does when the caller stops waiting for this.
async fn save(house: &Rc<House>, note_id: &str) -> bool {
    while house.editing.is_saving(note_id) {
        smol::Timer::after(LOOK).await;
    }
    let Some(saving) = house.editing.begin(note_id) else {
        return true;
    };
    let pending = &saving.pending;
    match write(house, note_id, pending).await {
        Ok(note) => {
            let content = pending.fields.get("content");
            if content.is_some_and(|content| !is_empty(content)) {
                house.editing.ground(note_id);
            }
            saving.done();
            if let Some(note) = note {
                let (room, args) = (room(note_id), Args::from_json(note.get()));
                let target = Target::room(&room);
                house.backplane.emit(&target, "events:note", &args);
            }
            true
        }
        Err(Refusal::Unavailable(why)) => {
            log::debug!("note {note_id:?} is not saved yet: {why}");
            false
        }
        Err(Refusal::Denied(why)) => {
            metrics::refused("note save");
            let (sid, user) = (pending.sid, &pending.who.user.id);
            let level = log_level(house, sid, why, Level::Warn);
            log::log!(level, "note {note_id:?} is not saved for {user}: {why}");
            saving.done();
            tell(house, sid, &format!("The note was not saved: {why}"));
            true
        }
    }
}

/// Hands what waits to the directory; the whole note, unless others tell it.
async fn write(
    house: &House,
    note_id: &str,
    pending: &Pending,
) -> Result<Option<Box<RawValue>>, Refusal> {
    let emptying = house.editing.emptying(note_id);
    let data = to_raw_value(&pending.fields);
    let data = data.map_err(|_| Refusal::Denied("the note's data is not JSON"))?;
    let directory = &house.directory;
    directory
        .save_note(&pending.who, note_id, &data, emptying)
        .await
}

/// Somebody is about to change the note from outside: what its editors did before is saved before.
pub async fn settle(house: &Rc<House>, note_id: &str) {
    let saving = save(house, note_id);
    let late = async {
        smol::Timer::after(SETTLE).await;
        false
    };
    if !futures_lite::future::or(saving, late).await {
        log::warn!("note {note_id:?} changes before its editors' last change is saved");
    }
}

/// Saves all that waits, now; for a server that goes down. The caller limits the time.
pub async fn flush(house: &Rc<House>) {
    let unsaved = house.editing.unsaved();
    let save_one = |note_id: Rc<str>| {
        let (executor, house) = (house.executor, house.clone());
        executor.spawn(async move {
            if !save(&house, &note_id).await {
                log::error!("note {note_id:?}: its last changes can't be saved and are lost");
            }
        })
    };
    let saves: Vec<_> = unsaved.into_iter().map(save_one).collect();
    for save in saves {
        save.await;
    }
}

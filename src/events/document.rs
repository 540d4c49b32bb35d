//! `ydoc:*`: documents that several edit at once. Those named `note:{id}` are notes, and are saved.

mod awareness;
mod news;

use super::payload::DocumentId;
use super::{Answer, Fault, Sender, Work, enter, log_level, note, tell};
use crate::directory::{Access, NoteView};
use crate::house::House;
use crate::metrics;
use crate::socket::{Args, Sid, Target};
use crate::state::documents::bytes::{ints, read_bytes};
use crate::state::documents::{Away, Rejected, Seed};
pub use awareness::awareness;
use log::Level;
pub use news::keep_in_step;
use news::{News, state_event, to_others};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a server that goes down looks whether documents are closed.
const LOOK: Duration = Duration::from_millis(5);
/// Nobody can reach the documents now.
const AWAY: Fault = Fault::Unavailable("the documents can't be reached");
/// The longest colour of a cursor that is passed on.
const MAX_COLOR_BYTES: usize = 64;

#[derive(Deserialize)]
struct Named {
    document_id: DocumentId,
}

#[derive(Deserialize)]
struct Join<'a> {
    document_id: DocumentId,
    #[serde(borrow)]
    user_color: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Update<'a> {
    document_id: DocumentId,
    #[serde(borrow)]
    update: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    initialize: Option<bool>,
}

/// A document's one name: `note_X` is `note:X`.
struct Document {
    id: String,
    room: String,
}

impl Document {
    fn new(id: &str) -> Self {
        let id = match id.strip_prefix("note_") {
            Some(note_id) => format!("note:{note_id}"),
            None => id.to_owned(),
        };
        let room = format!("doc_{id}");
        Self { id, room }
    }

    /// The note that it is.
    fn note(&self) -> Option<&str> {
        self.id.strip_prefix("note:")
    }

    fn is_open(&self, from: &Sender) -> Result<(), Fault> {
        let Sender { house, sid, .. } = from;
        match house.hub.is_in(*sid, &self.room) && house.documents.is_open(&self.id, *sid) {
            true => Ok(()),
            false => Err(Fault::Denied("not in this document")),
        }
    }
}

/// `ydoc:document:join`: opens a document, for a note's readers. The sender gets its state, the others hear of the sender.
pub fn join(from: Sender, args: &Args<'_>) -> Work {
    let Some(Join {
        document_id,
        user_color,
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    let color = user_color.map(RawValue::get);
    let color = color.and_then(|json| serde_json::from_str::<String>(json).ok());
    let color = color.filter(|color| color.len() <= MAX_COLOR_BYTES);
    let document = Document::new(&document_id);
    Work::later(async move {
        let opened = open(&from, &document, color.as_deref().unwrap_or("#000000")).await;
        if let Err(Fault::Unavailable(_) | Fault::Full(_)) = opened {
            tell(&from.house, from.sid, "Failed to join document");
        }
        opened
    })
}

async fn open(from: &Sender, document: &Document, color: &str) -> Answer {
    let Sender { house, sid, who } = from;
    let view = view(from, document).await?;
    match house.documents.join(&document.id, *sid).await {
        Ok(true) => {}
        Ok(false) => return Err(Fault::Full("open documents of a session")),
        Err(Away) => return Err(AWAY),
    }
    if let Err(fault) = enter(house, *sid, &document.room).await {
        close(house, document, *sid).await;
        return Err(fault);
    }
    if let (Some(note_id), Some(view)) = (document.note(), &view) {
        let empty = note::is_empty(&view.content);
        house
            .editing
            .opened(note_id, *sid, view.access, empty, Instant::now());
    }
    send_state_and_content(from, document, view).await?;
    let joined = json!({
        "document_id": document.id,
        "user_id": who.user.id,
        "user_name": who.user.name,
        "user_color": color,
    });
    to_others(from, document, "ydoc:user:joined", &Args::one(&joined));
    Ok(Args::none())
}

/// The note behind the document as the sender sees it; documents that are no notes are everybody's.
async fn view(from: &Sender, document: &Document) -> Result<Option<NoteView>, Fault> {
    let Some(note_id) = document.note() else {
        return Ok(None);
    };
    match from.house.directory.note(&from.who, note_id).await? {
        Some(view) if view.access >= Access::Read => Ok(Some(view)),
        _ => Err(Fault::Denied("no such note, or no access to it")),
    }
}

async fn send_state_and_content(
    from: &Sender,
    document: &Document,
    before: Option<NoteView>,
) -> Result<(), Fault> {
    let state = from.house.documents.state(&document.id).await;
    let state = state.map_err(|Away| AWAY)?;
    // The document may have been saved and cleared while we came in: then what was saved before is old.
    let view = match state {
        None => view(from, document).await?,
        Some(_) => before,
    };
    let content = view.map(|view| view.content);
    let content = content.as_ref().map_or("null", |content| content.get());
    send_state(from, document, state, Some(content)).await
}

/// `ydoc:document:state`: the state again.
pub fn state(from: Sender, args: &Args<'_>) -> Work {
    let Some(Named { document_id }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    let document = Document::new(&document_id);
    Work::later(async move {
        document.is_open(&from)?;
        let state = from.house.documents.state(&document.id).await;
        let state = state.map_err(|Away| AWAY)?;
        send_state(&from, &document, state, None).await?;
        Ok(Args::none())
    })
}

async fn send_state(
    from: &Sender,
    document: &Document,
    state: Option<Vec<u8>>,
    content: Option<&str>,
) -> Result<(), Fault> {
    let state = state_event(&from.house, document, state, content).await;
    document.is_open(from)?;
    let target = Target::sid(from.sid);
    from.house.hub.emit(&target, "ydoc:document:state", &state);
    Ok(())
}

/// `ydoc:document:update`: a change by somebody who may write, for all others; with `data`, to be saved.
pub fn update(from: Sender, args: &Args<'_>) -> Work {
    let Some(payload) = args.object::<Update<'_>>() else {
        return Work::refuse(Fault::Payload);
    };
    let update = match payload
        .update
        .map(|raw| read_bytes(raw.get(), args.attachments()))
    {
        None => None,
        Some(Some(update)) if update.is_empty() => None,
        Some(Some(update)) => Some(update),
        Some(None) => return Work::refuse(Fault::Payload),
    };
    let Ok(fields) = note::fields(payload.data) else {
        return Work::refuse(Fault::Payload);
    };
    let document = Document::new(&payload.document_id);
    let first = payload.initialize == Some(true);
    Work::later(async move {
        may_write(&from, &document).await?;
        let answer = match update {
            Some(update) if first => match seed(&from, &document, &update).await {
                Err(theirs) => return Ok(theirs),
                Ok(answer) => answer,
            },
            Some(update) => append(&from, &document, &update).await,
            None => Args::none(),
        };
        if let (Some(note_id), Some(fields)) = (document.note(), fields) {
            note::save_later(&from, note_id, fields).await;
        }
        Ok(answer)
    })
}

/// Only who has the document open may change it, and only who may write the note.
async fn may_write(from: &Sender, document: &Document) -> Result<(), Fault> {
    document.is_open(from)?;
    let Some(note_id) = document.note() else {
        return Ok(());
    };
    let Sender { house, sid, .. } = from;
    let access = match house.editing.access(note_id, *sid, Instant::now()) {
        Some(access) => access,
        None => {
            let access = house.directory.note_access(&from.who, note_id).await?;
            house.editing.learned(note_id, *sid, access, Instant::now());
            document.is_open(from)?;
            access
        }
    };
    match access {
        Access::Write => Ok(()),
        _ => Err(Fault::Denied("no write access to the note")),
    }
}

async fn append(from: &Sender, document: &Document, update: &[u8]) -> Args<'static> {
    let news = News::new(from, document, update);
    let (documents, tell) = (&from.house.documents, || news.outgoing());
    match documents.append(&document.id, update, &tell).await {
        Ok(contents) if contents.is_empty() => {}
        Ok(_) => news.emit_here(),
        Err(rejected) => refuse(from, document, rejected),
    }
    Args::none()
}

/// The document's first content. `Ok` with what to answer when it was the first, or could not be; `Err` with
/// the state that was there before.
async fn seed(
    from: &Sender,
    document: &Document,
    update: &[u8],
) -> Result<Args<'static>, Args<'static>> {
    let news = News::new(from, document, update);
    let (documents, tell) = (&from.house.documents, || news.outgoing());
    match documents.seed(&document.id, update, &tell).await {
        Ok(Seed::Lost(state)) => Err(Args::from_json(ints(&state))),
        Ok(Seed::Won(contents)) => {
            if let Some(note_id) = document.note().filter(|_| contents.visible) {
                from.house.editing.ground(note_id);
            }
            if !contents.is_empty() {
                news.emit_here();
            }
            Ok(Args::from_json(ints(update)))
        }
        Err(rejected) => {
            refuse(from, document, rejected);
            Ok(Args::from_json("null"))
        }
    }
}

fn refuse(from: &Sender, document: &Document, rejected: Rejected) {
    let (sid, id) = (from.sid, &document.id);
    match rejected {
        Rejected::Malformed => {
            metrics::refused("document update");
            let level = log_level(&from.house, sid, "document update", Level::Info);
            log::log!(level, "{sid} sent an update of {id:?} that is none");
        }
        Rejected::TooLarge => {
            metrics::refused("bytes of a document");
            let level = log_level(&from.house, sid, "bytes of a document", Level::Info);
            log::log!(
                level,
                "{sid} sent an update of {id:?} that it has no room for"
            );
            tell(&from.house, sid, "The document is too large");
        }
        // Nobody else gets to see what is not stored: whoever opens the document later would miss it for good, and with it
        // all that builds on it. The sender still has it, and sends what the document lacks when it joins again.
        Rejected::Away => {
            metrics::refused("documents unavailable");
            log::debug!("{sid} sent an update of {id:?} that can't be stored now");
            tell(
                &from.house,
                sid,
                "The document can't be changed at the moment",
            );
        }
    }
}

/// `ydoc:document:leave`: closes a document.
pub fn leave(from: Sender, args: &Args<'_>) -> Work {
    let Some(Named { document_id }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    let document = Document::new(&document_id);
    Work::later(async move {
        document.is_open(&from)?;
        close(&from.house, &document, from.sid).await;
        let left = json!({ "document_id": document.id, "user_id": from.who.user.id });
        to_others(&from, &document, "ydoc:user:left", &Args::one(&left));
        Ok(Args::none())
    })
}

/// The socket is gone: its documents are closed.
pub fn gone(house: &Rc<House>, sid: Sid) {
    for id in house.documents.of(sid) {
        let (executor, house) = (house.executor, house.clone());
        house.closing.set(house.closing.get() + 1);
        let close = async move {
            close(&house, &Document::new(&id), sid).await;
            house.closing.set(house.closing.get() - 1);
        };
        executor.spawn(close).detach();
    }
}

/// Waits until the documents are closed that sockets left behind. The caller limits the time.
pub async fn closed(house: &House) {
    while house.closing.get() > 0 {
        smol::Timer::after(LOOK).await;
    }
}

/// The session may not read the note any more, or the note is gone.
pub async fn put_out(house: &House, note_id: &str, sid: Sid) {
    close(house, &Document::new(&format!("note:{note_id}")), sid).await;
}

/// A session closes a document; the last one clears it, unless it is not saved yet: then saving does.
async fn close(house: &House, document: &Document, sid: Sid) {
    house.backplane.leave(sid, &document.room);
    house.documents.leave(&document.id, sid).await;
    match document.note() {
        Some(note_id) => {
            house.editing.closed(note_id, sid);
            clear(house, note_id).await;
        }
        None => drop(house.documents.clear_unused(&document.id).await),
    }
}

/// Clears a note's document when nobody has it open and everything is saved.
pub async fn clear(house: &House, note_id: &str) {
    if !house.editing.is_pending(note_id) {
        let id = format!("note:{note_id}");
        house.documents.clear_unused(&id).await;
    }
}

//! `ydoc:*`: documents that several edit at once.

use super::payload::DocumentId;
use super::{EventResult, Work};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::documents::{Document, Kind, Opening, Unreadable, Update};
use crate::app::notes::Fields;
use crate::ground::json;
use crate::ground::tasks::aside;
use crate::peers::documents::bytes::read_bytes;
use crate::peers::documents::vector::Vector;
use crate::socket::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::rc::Rc;

/// The longest colour of a cursor that is passed on.
const MAX_COLOR_BYTES: usize = 64;
/// The largest awareness update, in bytes: cursors and names of those who edit.
const MAX_AWARENESS_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
struct Named {
    document_id: DocumentId,
}

/// What is left of a change of which another field is wrong.
#[derive(Deserialize)]
struct Begins<'a> {
    document_id: DocumentId,
    #[serde(borrow)]
    initialize: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Join<'a> {
    document_id: DocumentId,
    #[serde(borrow)]
    user_color: Option<&'a RawValue>,
    #[serde(borrow)]
    vector: Option<&'a RawValue>,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
struct State<'a> {
    document_id: DocumentId,
    #[serde(borrow)]
    vector: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Change<'a> {
    document_id: DocumentId,
    #[serde(borrow)]
    update: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    initialize: Option<bool>,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
struct Awareness<'a> {
    document_id: DocumentId,
    #[serde(borrow)]
    update: &'a RawValue,
}

/// `ydoc:document:join`: opens a document.
pub fn join(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(Join {
        document_id,
        user_color,
        vector,
        epoch,
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    let color = user_color.map(RawValue::get);
    let color = color.and_then(|json| serde_json::from_str::<String>(json).ok());
    let color = color.filter(|color| color.len() <= MAX_COLOR_BYTES);
    let document = Rc::new(Document::new(&document_id));
    let opening = Rc::new(Opening {
        color: color.unwrap_or_else(|| "#000000".to_owned()),
        vector: read_vector(vector, args),
        epoch,
        page: false,
    });
    Work::join(document.room.clone(), move |first| {
        let (from, document, opening) = (from.clone(), document.clone(), opening.clone());
        async move {
            let documents = house.documents;
            documents.open(&from, &document, &opening, first).await?;
            Ok(Args::none())
        }
    })
}

/// `ydoc:document:state`: the state again.
pub fn state(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(State {
        document_id,
        vector,
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    let vector = read_vector(vector, args);
    Work::later(async move {
        let (document, documents) = (Document::new(&document_id), house.documents);
        documents
            .resend_state(&from, &document, vector.as_ref())
            .await?;
        Ok(Args::none())
    })
}

/// A state vector; one that is none is not there.
fn read_vector(json: Option<&RawValue>, args: &Args<'_>) -> Option<Vector> {
    let bytes = read_bytes(json?.get(), args.attachments())?;
    Vector::decode(&bytes).ok()
}

/// `ydoc:document:update`: a change; with `data`, to be saved.
pub fn update(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(change) = args.object::<Change<'_>>() else {
        return Work::Now(refuse_change(house, &from, args));
    };
    // Before anything that takes as long as the payload is large.
    let document = Document::new(&change.document_id);
    if let Err(fault) = house.documents.check_open(from.sid, &document) {
        let (documents, kind) = (house.documents, change.kind());
        return Work::Now(documents.refuse_sender(&from, &document, kind, fault));
    }
    match change.read(args.attachments()) {
        Ok(update) => {
            Work::later(async move { house.documents.update(&from, &document, update).await })
        }
        Err(part) => {
            let (documents, kind) = (house.documents, change.kind());
            Work::Now(Ok(documents.refuse_unreadable(&from, &document, kind, part)))
        }
    }
}

/// A change of which a field is wrong that it could do without: whoever has the document open is told so by its name.
fn refuse_change(house: &'static House, from: &Sender, args: &Args<'_>) -> EventResult {
    let begins: Option<Begins<'_>> = args.object();
    let begins = begins.ok_or(Fault::Payload)?;
    let (document, documents) = (Document::new(&begins.document_id), house.documents);
    documents.check_open(from.sid, &document)?;
    let kind = match begins.initialize.map(RawValue::get) {
        None | Some("false") => Kind::Change,
        Some(_) => Kind::First,
    };
    Ok(documents.refuse_unreadable(from, &document, kind, Unreadable::Change))
}

/// The same, if it takes longer to read than a turn may: read beside our thread, once it is known to be of a member.
pub fn large_update(house: &'static House, from: Sender, args: Args<'static>) -> Work {
    Work::later(async move {
        let (args, id) = aside(move || {
            let id = args.field("document_id").and_then(|id| id.ok());
            (args, id)
        })
        .await;
        let id: DocumentId = id.ok_or(Fault::Payload)?;
        let document = Document::new(&id);
        if let Err(fault) = house.documents.check_open(from.sid, &document) {
            // So large are updates alone.
            let (documents, kind) = (house.documents, Kind::Change);
            return documents.refuse_sender(&from, &document, kind, fault);
        }
        let read = move || {
            let change: Change<'_> = args.object()?;
            Some((change.kind(), change.read(args.attachments())))
        };
        let documents = house.documents;
        let read = aside(read).await;
        let (kind, read) = read.unwrap_or((Kind::Change, Err(Unreadable::Change)));
        match read {
            Ok(update) => documents.update(&from, &document, update).await,
            Err(part) => Ok(documents.refuse_unreadable(&from, &document, kind, part)),
        }
    })
}

impl Change<'_> {
    fn kind(&self) -> Kind {
        match (self.update, self.initialize) {
            (None, _) => Kind::Fields,
            (Some(_), Some(true)) => Kind::First,
            (Some(_), _) => Kind::Change,
        }
    }

    fn read(&self, attachments: &[Vec<u8>]) -> Result<Update, Unreadable> {
        let bytes = match self.update {
            None => None,
            Some(raw) => Some(read_bytes(raw.get(), attachments).ok_or(Unreadable::Update)?),
        };
        Ok(Update {
            bytes: bytes.filter(|bytes| !bytes.is_empty()),
            initialize: self.initialize == Some(true),
            epoch: self.epoch,
            fields: fields(self.data)?,
        })
    }
}

/// The fields of an update's `data`, to be stored, so without half characters; none when there is nothing in it.
fn fields(data: Option<&RawValue>) -> Result<Option<Fields>, Unreadable> {
    let Some(data) = data.map(RawValue::get) else {
        return Ok(None);
    };
    let fields: Option<Fields> =
        serde_json::from_str(&json::mend(data)).map_err(|_| match data.starts_with('{') {
            // It is JSON, so nothing else can be wrong with it.
            true => Unreadable::ManyFields,
            false => Unreadable::Fields,
        })?;
    Ok(fields.filter(|fields| !fields.0.is_empty()))
}

/// `ydoc:document:leave`: closes a document.
pub fn leave(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(Named { document_id }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    Work::later(async move {
        let document = Document::new(&document_id);
        house.joins.end(from.sid, &document.room);
        house.documents.close(&from, &document).await?;
        Ok(Args::none())
    })
}

/// `ydoc:awareness:update`: cursors and the like, passed on to the others.
pub fn awareness(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(Awareness {
        document_id,
        update,
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    let update = read_bytes(update.get(), args.attachments());
    let Some(update) = update.filter(|update| update.len() <= MAX_AWARENESS_BYTES) else {
        return Work::refuse(Fault::Payload);
    };
    let document = Document::new(&document_id);
    match house.documents.pass_awareness(&from, &document, &update) {
        Ok(()) => Work::done(),
        Err(_) if house.joins.waits(from.sid, &document.room) => {
            house.documents.show_early(from.sid, &document, &update);
            Work::done()
        }
        Err(fault) => Work::refuse(fault),
    }
}

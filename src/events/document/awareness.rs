//! `ydoc:awareness:update`: cursors and names of those who edit.

use super::super::payload::DocumentId;
use super::super::{Fault, Work};
use super::news::{text, to_others};
use super::{Document, Sender};
use crate::socket::Args;
use crate::state::documents::bytes::{ints, read_bytes};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The largest awareness update, in bytes: cursors and names of those who edit.
const MAX_AWARENESS_BYTES: usize = 64 << 10;

/// `ydoc:awareness:update`: cursors and the like, passed on to the others.
pub fn awareness(from: Sender, args: &Args<'_>) -> Work {
    #[derive(Deserialize)]
    struct Awareness<'a> {
        document_id: DocumentId,
        #[serde(borrow)]
        update: &'a RawValue,
    }
    let Some(Awareness {
        document_id,
        update,
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    let document = Document::new(&document_id);
    if let Err(fault) = document.is_open(&from) {
        return Work::refuse(fault);
    }
    let update = read_bytes(update.get(), args.attachments());
    let Some(update) = update.filter(|update| update.len() <= MAX_AWARENESS_BYTES) else {
        return Work::refuse(Fault::Payload);
    };
    let json = format!(
        r#"{{"document_id":{},"user_id":{},"update":{}}}"#,
        text(&document.id),
        text(&from.who.user.id),
        ints(&update),
    );
    to_others(
        &from,
        &document,
        "ydoc:awareness:update",
        &Args::from_json(json),
    );
    Work::done()
}

//! `join-note`: to hear of a note's saves.

use super::Work;
use super::payload::{Auth, Id};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::identity;
use crate::socket::{Args, Object};
use serde::Deserialize;

#[derive(Deserialize)]
struct Payload {
    auth: Object<Auth>,
    note_id: Id,
}

/// `{auth: {token}, note_id}` of a reader.
pub fn join(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(Payload { auth, note_id }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    if let Err(fault) = identity::same_user(house.core, &from, &auth.0.token) {
        return Work::refuse(fault);
    }
    Work::later(async move {
        house.notes.listen(&from, &note_id).await?;
        Ok(Args::none())
    })
}

//! `join-note`: to hear of a note's saves.

use super::Work;
use super::payload::{Auth, Id};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::identity;
use crate::ground::rooms;
use crate::socket::{Args, Object};
use serde::Deserialize;
use std::rc::Rc;

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
    let note_id: Rc<str> = (&*note_id).into();
    Work::join(rooms::of_note(&note_id), move |_| {
        let (from, note_id) = (from.clone(), note_id.clone());
        async move {
            house.notes.listen(&from, &note_id).await?;
            Ok(Args::none())
        }
    })
}

//! What those who have a document open hear of it: its updates, its state.

use super::{Document, Sender};
use crate::backplane::{Backplane, Outgoing};
use crate::house::House;
use crate::socket::{Args, Sid, Target};
use crate::state::documents::bytes::ints;
use crate::state::documents::{Away, EMPTY};
use serde::Serialize;
use std::cell::OnceCell;
use std::rc::Rc;

/// An update for everybody else who has the document open. It is written once it is known to be stored.
pub struct News<'a> {
    from: &'a Sender,
    document: &'a Document,
    update: &'a [u8],
    args: OnceCell<Args<'static>>,
}

impl<'a> News<'a> {
    const EVENT: &'static str = "ydoc:document:update";

    pub fn new(from: &'a Sender, document: &'a Document, update: &'a [u8]) -> Self {
        Self {
            from,
            document,
            update,
            args: OnceCell::new(),
        }
    }

    fn args(&self) -> &Args<'static> {
        self.args.get_or_init(|| {
            Args::from_json(format!(
                r#"{{"document_id":{},"user_id":{},"update":{},"socket_id":"{}"}}"#,
                text(&self.document.id),
                text(&self.from.who.user.id),
                ints(self.update),
                self.from.sid.as_str(),
            ))
        })
    }

    /// What tells the other instances.
    pub fn outgoing(&self) -> Option<Outgoing> {
        for_others(self.from, self.document, |backplane, others| {
            backplane.outgoing(others, Self::EVENT, self.args())
        })
    }

    /// Tells the sessions of this instance.
    pub fn emit_here(&self) {
        for_others(self.from, self.document, |backplane, others| {
            backplane.emit_here(others, Self::EVENT, self.args())
        });
    }
}

/// An event for everybody else who has it open.
pub fn to_others(from: &Sender, document: &Document, event: &str, args: &Args<'_>) {
    for_others(from, document, |backplane, others| {
        backplane.emit(others, event, args)
    });
}

/// Everybody else who has it open, as a target.
fn for_others<T>(
    from: &Sender,
    document: &Document,
    tell: impl FnOnce(&Backplane, &Target<'_>) -> T,
) -> T {
    let except = [from.sid.as_str()];
    let others = Target::room(&document.room).but(&except);
    tell(&from.house.backplane, &others)
}

pub async fn state_event(
    house: &House,
    document: &Document,
    state: Option<Vec<u8>>,
    content: Option<&str>,
) -> Args<'static> {
    let sessions = house.documents.users(&document.id).await;
    let sessions: Vec<&str> = sessions.iter().map(Sid::as_str).collect();
    let mut json = format!(
        r#"{{"document_id":{},"state":{},"sessions":{}"#,
        text(&document.id),
        ints(state.as_deref().unwrap_or(&EMPTY)),
        text(&sessions),
    );
    if let Some(content) = content {
        json.push_str(r#","content":"#);
        json.push_str(content);
    }
    json.push('}');
    Args::from_json(json)
}

/// Keeps the sessions here in step with what other instances do. What those published while this one could not hear
/// it is lost, and so is what was refused while Redis was away: so everybody gets the state, and sends what that lacks.
pub async fn keep_in_step(house: Rc<House>) {
    loop {
        for id in house.documents.missed().await {
            let document = Document::new(&id);
            match house.documents.state(&id).await {
                Ok(state) => {
                    let state = state_event(&house, &document, state, None).await;
                    let here = Target::room(&document.room);
                    house.hub.emit(&here, "ydoc:document:state", &state);
                }
                Err(Away) => log::debug!("who has {id:?} open may lack updates"),
            }
        }
    }
}

/// Our own text as JSON.
pub fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

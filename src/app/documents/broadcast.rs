//! What those who have a document open hear of it: its updates.

use super::name::Document;
use crate::app::core::{Core, Sender};
use crate::ground::tasks::aside;
use crate::peers::documents::LIGHT;
use crate::peers::documents::bytes::{ints, ints_between};
use crate::peers::{Outgoing, Peers};
use crate::socket::{Args, Frame, Target, plain_event};
use serde::Serialize;
use std::cell::OnceCell;

/// The event.
pub const UPDATE: &str = "ydoc:document:update";

/// An update for everybody else who has the document open. It is written once it is known to be stored.
pub struct Broadcast<'a> {
    peers: &'a Peers,
    from: &'a Sender,
    document: &'a Document,
    update: &'a [u8],
    args: OnceCell<Args<'static>>,
    /// What this instance's sessions get, if it was made before.
    frame: OnceCell<Frame>,
}

impl<'a> Broadcast<'a> {
    pub fn new(
        peers: &'a Peers,
        from: &'a Sender,
        document: &'a Document,
        update: &'a [u8],
    ) -> Self {
        Self {
            peers,
            from,
            document,
            update,
            args: OnceCell::new(),
            frame: OnceCell::new(),
        }
    }

    /// Writes a large one beside our thread.
    pub async fn prepare(&self) {
        if self.update.len() <= LIGHT {
            return;
        }
        let ((head, tail), update) = (self.around(), self.update.to_vec());
        if self.peers.is_alone() {
            let write = move || plain_event(UPDATE, [&head, &ints(&update), &tail]);
            let _ = self.frame.set(aside(write).await.into());
        } else {
            let json = aside(move || ints_between(&head, &update, &tail)).await;
            let _ = self.args.set(Args::from_json(json));
        }
    }

    /// What stands before and after the update.
    fn around(&self) -> (String, String) {
        let (document, user) = (text(&self.document.id), text(&self.from.who.user.id));
        let head = format!(r#"{{"document_id":{document},"user_id":{user},"update":"#);
        let tail = format!(r#","socket_id":"{}"}}"#, self.from.sid.as_str());
        (head, tail)
    }

    fn args(&self) -> &Args<'static> {
        self.args.get_or_init(|| {
            let (head, tail) = self.around();
            Args::from_json(ints_between(&head, self.update, &tail))
        })
    }

    /// What tells the other instances.
    pub fn outgoing(&self) -> Option<Outgoing> {
        let except = [self.from.sid.as_str()];
        let others = Target::room(&self.document.room).but(&except);
        self.peers.outgoing(&others, UPDATE, self.args())
    }

    /// Tells the sessions of this instance.
    pub fn emit_here(&self) {
        let except = [self.from.sid.as_str()];
        let others = Target::room(&self.document.room).but(&except);
        match self.frame.get() {
            Some(frame) => self.peers.hub().emit_encoded(&others, UPDATE, frame),
            None => drop(self.peers.emit_here(&others, UPDATE, self.args())),
        }
    }
}

/// An event for everybody else who has it open.
pub fn to_others(core: &Core, from: &Sender, document: &Document, event: &str, args: &Args<'_>) {
    let except = [from.sid.as_str()];
    let others = Target::room(&document.room).but(&except);
    core.emit_for(from, &others, event, args);
}

/// Our own text as JSON.
pub fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

//! What those who have a document open hear of it: its updates, its state.

use super::name::Document;
use crate::app::core::{Core, Sender};
use crate::peers::documents::EMPTY;
use crate::peers::documents::bytes::ints;
use crate::peers::{Outgoing, Peers};
use crate::socket::{Args, Sid, Target};
use serde::Serialize;
use std::cell::OnceCell;

/// An update for everybody else who has the document open. It is written once it is known to be stored.
pub struct Broadcast<'a> {
    peers: &'a Peers,
    from: &'a Sender,
    document: &'a Document,
    update: &'a [u8],
    args: OnceCell<Args<'static>>,
}

impl<'a> Broadcast<'a> {
    const EVENT: &'static str = "ydoc:document:update";

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
        let except = [self.from.sid.as_str()];
        let others = Target::room(&self.document.room).but(&except);
        self.peers.outgoing(&others, Self::EVENT, self.args())
    }

    /// Tells the sessions of this instance.
    pub fn emit_here(&self) {
        let except = [self.from.sid.as_str()];
        let others = Target::room(&self.document.room).but(&except);
        self.peers.emit_here(&others, Self::EVENT, self.args());
    }
}

/// An event for everybody else who has it open.
pub fn to_others(peers: &Peers, from: &Sender, document: &Document, event: &str, args: &Args<'_>) {
    let except = [from.sid.as_str()];
    let others = Target::room(&document.room).but(&except);
    peers.emit(&others, event, args);
}

/// The arguments of `ydoc:document:state`; with `content` for who joins.
pub async fn state_args(
    core: &Core,
    document: &Document,
    state: Option<Vec<u8>>,
    content: Option<&str>,
) -> Args<'static> {
    let sessions = core.documents.users(&document.id).await;
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

/// Our own text as JSON.
pub fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

//! What the sender of a change is told: that it could not be taken, in the event `error` and in the ack.

use super::name::Document;
use super::{Documents, Fault, Sender};
use crate::app::core::{DENIED, TOO_LARGE, UNAVAILABLE};
use crate::peers::documents::Rejected;
use crate::peers::documents::update::Contents;
use crate::socket::{Args, Sid};
use log::Level;

/// Further reasons why an update is not stored, as clients are told.
const MALFORMED: &str = "malformed";
const NO_ROOM: &str = "no room";
/// Its note is gone.
pub(super) const REMOVED: &str = "removed";
/// It is kept, and counts once what it builds on has come.
const INCOMPLETE: &str = "incomplete";

const NO_UPDATE: &str = "The change is no update of a document";

/// What was sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Fields alone.
    Fields,
    /// An update.
    Change,
    /// An update, as the first content: its ack is the state, or null.
    First,
}

/// What of a change can't be read.
#[derive(Clone, Copy)]
pub enum Unreadable {
    /// The update is no bytes.
    Update,
    /// What is to be saved is no object.
    Fields,
    /// What is to be saved has more fields than it may.
    ManyFields,
    /// Something beside those is of another type than it may be.
    Change,
}

impl Documents {
    /// The sender may not change the document, or nobody can tell. Returns the ack.
    ///
    /// # Errors
    /// The same fault, where nothing but fields was sent.
    pub fn refuse_sender(
        &'static self,
        from: &Sender,
        document: &Document,
        kind: Kind,
        fault: Fault,
    ) -> Result<Args<'static>, Fault> {
        let sid = from.sid;
        let (reason, message) = match fault {
            _ if self.is_strange(sid, document) => return Err(fault),
            Fault::Unavailable(_) => {
                self.owes(from, document, kind);
                (UNAVAILABLE, "The document can't be changed at the moment")
            }
            Fault::Denied(_) if kind != Kind::Fields => {
                (DENIED, "You may not change this document")
            }
            _ => return Err(fault),
        };
        log::debug!("{sid} may not change {:?}: {fault:?}", document.id);
        self.core
            .send_document_error(sid, &document.id, reason, message);
        Ok(match kind {
            Kind::Fields => return Err(fault),
            Kind::First => Args::from_json("null"),
            _ => not_stored(reason),
        })
    }

    /// Whether the session never had the document open, or has left it: that is none of its business.
    fn is_strange(&self, sid: Sid, document: &Document) -> bool {
        self.check_open(sid, document).is_err() && !self.gaps.was_put_out(sid, document)
    }

    /// It is stored, and counts if nothing is missing before it.
    pub(super) fn answer_stored(
        &'static self,
        sid: Sid,
        document: &Document,
        contents: &Contents,
    ) -> Args<'static> {
        self.was_taken(sid, document);
        match contents.missing {
            None => Args::none(),
            Some(missing) => {
                self.close_gap(sid, document, missing);
                not_stored(INCOMPLETE)
            }
        }
    }

    /// The update can't be stored. Returns the ack.
    pub(super) fn refuse(
        &'static self,
        from: &Sender,
        document: &Document,
        rejected: Rejected,
        kind: Kind,
    ) -> Args<'static> {
        let (core, id, sid) = (self.core, &document.id, from.sid);
        let (reason, message) = match rejected {
            Rejected::Malformed => {
                let level = core.limit_reached(sid, "document update", Level::Info);
                log::log!(level, "{sid} sent an update of {id:?} that is none");
                (MALFORMED, NO_UPDATE)
            }
            Rejected::TooLarge => {
                let level = core.limit_reached(sid, "bytes of a document", Level::Info);
                log::log!(
                    level,
                    "{sid} sent an update of {id:?} that it has no room for"
                );
                (
                    TOO_LARGE,
                    "The document is too large. It may take more once everybody has closed it",
                )
            }
            Rejected::NoRoom => {
                crate::metrics::refused("bytes of all documents");
                log::debug!("{sid} sent an update of {id:?} that there is no room for");
                self.owes(from, document, kind);
                (NO_ROOM, "The server has no room for more in its documents")
            }
            // Nobody else gets to see what is not stored: whoever opens the document later would miss it for good, and
            // with it all that builds on it. The sender still has it, and is asked for it when it can be stored.
            Rejected::Away | Rejected::Unmended => {
                crate::metrics::refused("documents unavailable");
                log::debug!("{sid} sent an update of {id:?} that can't be stored now");
                self.owes(from, document, kind);
                (UNAVAILABLE, "The document can't be changed at the moment")
            }
        };
        core.send_document_error(sid, id, reason, message);
        not_stored(reason)
    }

    /// A part of the change can't be read, and nothing of it is taken. Returns the ack.
    pub fn refuse_unreadable(
        &self,
        from: &Sender,
        document: &Document,
        kind: Kind,
        part: Unreadable,
    ) -> Args<'static> {
        let (core, id, sid) = (self.core, &document.id, from.sid);
        let (reason, message) = match part {
            Unreadable::Update => (MALFORMED, NO_UPDATE),
            Unreadable::Fields => (MALFORMED, "What is to be saved is no object"),
            Unreadable::Change => (MALFORMED, "The change is not understood"),
            Unreadable::ManyFields => (TOO_LARGE, "What is to be saved has too many fields"),
        };
        let level = core.limit_reached(sid, "document update", Level::Info);
        log::log!(
            level,
            "{sid} sent a change of {id:?} that is none: {message}"
        );
        core.send_document_error(sid, id, reason, message);
        match kind {
            Kind::First => Args::from_json("null"),
            _ => not_stored(reason),
        }
    }
}

/// The ack of an update that is not stored.
pub(super) fn not_stored(reason: &str) -> Args<'static> {
    Args::from_json(format!(r#"{{"stored":false,"reason":"{reason}"}}"#))
}

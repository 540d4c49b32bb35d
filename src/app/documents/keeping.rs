//! What is kept of a note's document beside the note, and what becomes of those who come back with another one.

use super::{Document, Documents, Update};
use crate::app::core::{Fault, Sender};
use crate::app::notes::Fields;
use crate::ground::names::note_of_document;
use crate::peers::documents::QUIET;
use crate::socket::Args;
use serde_json::value::RawValue;
use smol::Timer;
use std::rc::Rc;
use std::time::Instant;

impl Documents {
    /// A document that was kept says what its note says: its editors work on the saved content.
    pub(super) fn follow_restored(&self, document: &Document) {
        if let Some(note_id) = document.note()
            && self.core.documents.was_restored(&document.id)
        {
            self.notes.set_based(note_id);
        }
    }

    /// Keeps what has changed, should no save of the note do so: those who only send updates have it on disk, too.
    pub(super) fn keep_later(&'static self, document: &Document) {
        if document.note().is_none() || self.core.directory.local().is_none() {
            return;
        }
        let keep = || async {
            while let Some(due) = self.next_due() {
                // Another one may be due before that.
                Timer::at(due.min(Instant::now() + QUIET)).await;
                let now = Instant::now();
                for (id, _) in self.behind().filter(|(_, due)| *due <= now) {
                    self.core.documents.keep(&id).await;
                }
                // The store says what is wrong with it.
                let _ = self.core.directory.durable().await;
            }
        };
        self.keeping.start(&self.following, "keeps documents", keep);
    }

    fn next_due(&self) -> Option<Instant> {
        self.behind().map(|(_, due)| due).min()
    }

    /// Documents that are not kept yet, and when they are to be. The next save of its note keeps one, if it is not put off for
    /// as long as somebody types.
    fn behind(&self) -> impl Iterator<Item = (Rc<str>, Instant)> {
        let is_dirty = |id: &str| note_of_document(id).is_some_and(|id| self.notes.is_dirty(id));
        let behind = self.core.documents.behind().into_iter();
        behind.map(move |(id, (soon, latest))| match is_dirty(&id) {
            true => (id, latest),
            false => (id, soon),
        })
    }

    /// Keeps all that is not kept yet, for a server that goes down.
    pub async fn keep_all(&self) {
        for (id, _) in self.core.documents.behind() {
            self.core.documents.keep(&id).await;
        }
    }

    /// Whether it builds on a document that has ended: somebody else wrote the note meanwhile.
    pub(super) fn is_outdated(&self, document: &Document, update: &Update) -> bool {
        let now = || self.core.documents.epoch(&document.id);
        let is_other = |known: u64| now().is_some_and(|now| known != now);
        update.epoch.is_some_and(is_other)
    }

    /// What was saved outside wins; what the sender had of a document that has ended becomes a version of the note, unless it is
    /// known.
    ///
    /// # Errors
    /// It can't be kept.
    pub(super) async fn keep_version(
        &self,
        from: &Sender,
        document: &Document,
        fields: Option<Fields>,
    ) -> Result<Args<'static>, Fault> {
        if let Some((note_id, fields)) = document.note().zip(fields) {
            let data = RawValue::from_string(fields.json()).map_err(|_| Fault::Payload)?;
            let directory = &self.core.directory;
            directory.keep_version(&from.who, note_id, &data).await?;
        }
        Ok(Args::none())
    }
}

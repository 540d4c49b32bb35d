//! What is kept of a note's document beside the note, and what becomes of those who come back with another one.

use super::{AWAY, Document, Documents, Update};
use crate::app::core::{Core, Fault, Sender};
use crate::app::notes::Fields;
use crate::ground::names::note_of_document;
use crate::peers::documents::QUIET;
use crate::socket::Args;
use serde_json::value::RawValue;
use smol::Timer;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What could not be written is looked at again after this.
const RETRY: Duration = Duration::from_secs(5);

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
    /// Should the disk take nothing, its editors are told, until it does.
    pub(super) fn keep_later(&'static self, document: &Document) {
        if document.note().is_none() || self.core.directory.local().is_none() {
            return;
        }
        let keep = || async {
            // What the store has taken, and may not be on disk.
            let mut taken = BTreeSet::new();
            while let Some(due) = self.next_due(&taken) {
                // Another one may be due before that.
                Timer::at(due.min(Instant::now() + QUIET)).await;
                self.keep_due(&mut taken).await;
                if !self.are_on_disk(&mut taken).await {
                    Timer::after(RETRY).await;
                }
            }
        };
        self.keeping.start(&self.following, "keeps documents", keep);
    }

    /// When something is to be done next: at once where it is not known yet whether it is on disk.
    fn next_due(&self, taken: &BTreeSet<Rc<str>>) -> Option<Instant> {
        let at_once = taken.first().map(|_| Instant::now());
        self.behind().map(|(_, due)| due).chain(at_once).min()
    }

    /// Hands to the store what is due.
    async fn keep_due(&self, taken: &mut BTreeSet<Rc<str>>) {
        let now = Instant::now();
        for (id, _) in self.behind().filter(|(_, due)| *due <= now) {
            match (self.core.documents.keep(&id).await, note_of_document(&id)) {
                (false, Some(note_id)) => self.notes.not_written(note_id),
                _ => drop(taken.insert(id)),
            }
        }
    }

    /// Whether what the store has taken is on disk, which then is known. Else its editors are told, and the store tries again;
    /// what is wrong with it is said by itself.
    async fn are_on_disk(&self, taken: &mut BTreeSet<Rc<str>>) -> bool {
        let written = taken.is_empty() || self.core.directory.durable().await.is_ok();
        for note_id in taken.iter().filter_map(|id| note_of_document(id)) {
            match written {
                true => self.notes.written(note_id),
                false => self.notes.not_written(note_id),
            }
        }
        if written {
            taken.clear();
        }
        written
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

    /// The content of an edit may come when somebody outside has overwritten it: that becomes a version.
    ///
    /// # Errors
    /// It can't be kept.
    pub(super) async fn keep_overwritten(
        &self,
        from: &Sender,
        document: &Document,
        update: &mut Update,
    ) -> Result<(), Fault> {
        let overwritten = |note_id: &&str| self.notes.is_overwritten(note_id);
        if let Some(note_id) = document.note().filter(overwritten)
            && update.has_content()
        {
            self.notes.brought(note_id, from.sid, true);
            let kept = self.keep_version(from, document, update.fields.clone());
            Box::pin(kept).await?;
            update.drop_content();
        }
        Ok(())
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
            let Core {
                directory,
                documents,
                ..
            } = self.core;
            let keep = async || directory.keep_version(&from.who, note_id, &data).await;
            // Versions may be read and written as a whole.
            documents
                .in_turn(&document.id, "kept", keep)
                .await
                .ok_or(AWAY)??;
        }
        Ok(Args::none())
    }
}

//! The documents of notes, kept beside them, so that neither a crash nor everybody's going costs the history that editors
//! share.
//!
//! A document has a head and records, each bytes that whoever keeps them understands. The head says which state of the
//! note they belong to, by its `updated_at`: a note that somebody else has written since is not what its document says any
//! more. Then the document has ended, and its next one has a higher epoch. So it is with a note that is removed, should another one be
//! made with its id: what is left of the documents of the last [`REMOVED`] such notes stays.

use super::records::{Local, Record};
use crate::store::{Batch, StoreError, Table, key};

/// Notes that are gone, and of whose documents is known that they have ended.
const REMOVED: usize = 100;

/// What is kept of a document.
#[derive(Debug, Default, PartialEq)]
pub struct KeptDocument {
    /// How many documents the note had before.
    pub epoch: u64,
    /// The records, oldest first.
    pub records: Vec<Vec<u8>>,
    /// The number of the next record.
    pub next: u64,
    /// What of them has ended, as whoever keeps them writes it.
    pub ended: Vec<u8>,
    /// Somebody else has written the note since: all of it has ended.
    pub outdated: bool,
}

impl KeptDocument {
    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(Vec::len).sum()
    }
}

/// What a document is kept with.
pub(super) struct Head {
    epoch: u64,
    /// `updated_at` of the note that it belongs to.
    of: i64,
    /// What of its records has ended.
    ended: Vec<u8>,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (epoch, rest) = bytes.split_first_chunk()?;
        let (of, ended) = rest.split_first_chunk()?;
        Some(Self {
            epoch: u64::from_le_bytes(*epoch),
            of: i64::from_le_bytes(*of),
            ended: ended.to_vec(),
        })
    }

    fn put(&self, batch: &mut Batch, note_id: &str) {
        let numbers = [self.epoch.to_le_bytes(), self.of.to_le_bytes()];
        let bytes = [&numbers.concat()[..], &self.ended].concat();
        batch.put(Table::Documents, key(note_id, ""), bytes);
    }
}

impl Local {
    /// What is kept of a note's document.
    pub fn document(&self, note_id: &str) -> Result<KeptDocument, StoreError> {
        let Some(head) = self.head(note_id)? else {
            return Ok(KeptDocument::default());
        };
        let note = self.record(Table::Notes, note_id)?;
        let outdated = note.is_none_or(|note| updated_at(&note) != head.of);
        let prefix = key(note_id, "");
        let found = self
            .store
            .scan(Table::Documents, &prefix, &prefix, usize::MAX)?;
        let last = found.last().and_then(|(key, _)| key.rsplit('\0').next());
        let last = last.and_then(|number| number.parse::<u64>().ok());
        Ok(KeptDocument {
            epoch: head.epoch + u64::from(outdated),
            ended: head.ended,
            outdated,
            next: last.map_or(0, |last| last + 1),
            records: found.into_iter().map(|(_, record)| record).collect(),
        })
    }

    /// Whether a note's document is kept, and somebody else has written the note since its editors did.
    pub fn is_document_outdated(&self, note_id: &str) -> bool {
        let (head, note) = (self.head(note_id), self.record(Table::Notes, note_id));
        let of = head.ok().flatten().map(|head| head.of);
        let at = note.ok().flatten().map(|note| updated_at(&note));
        of.is_some_and(|of| Some(of) != at)
    }

    /// Adds a record to a note's document; `whole`: in place of all others. It reaches the disk together with what is saved
    /// of the note right after it.
    pub fn keep_document(
        &self,
        note_id: &str,
        number: u64,
        record: Vec<u8>,
        whole: bool,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        if self.head(note_id)?.is_none() {
            let Some(note) = self.record(Table::Notes, note_id)? else {
                return Ok(());
            };
            let head = Head {
                epoch: 0,
                of: updated_at(&note),
                ended: Vec::new(),
            };
            head.put(&mut batch, note_id);
        }
        if whole {
            self.forget_records(&mut batch, note_id)?;
        }
        batch.put(
            Table::Documents,
            key(note_id, &format!("{number:020}")),
            record,
        );
        self.store.write(batch)
    }

    /// What has ended of a note's document of this epoch, and the record of what is left, in place of all others.
    pub fn bury_document(
        &self,
        note_id: &str,
        epoch: u64,
        number: u64,
        record: Vec<u8>,
        ended: Vec<u8>,
    ) -> Result<(), StoreError> {
        let note = self.record(Table::Notes, note_id)?;
        let now = note.as_ref().map_or(0, updated_at);
        let of = match self.head(note_id)? {
            Some(head) if head.epoch == epoch => head.of,
            _ => now,
        };
        let mut batch = Batch::new();
        self.forget_records(&mut batch, note_id)?;
        Head { epoch, of, ended }.put(&mut batch, note_id);
        if note.is_none() {
            self.document_outlives(&mut batch, note_id)?;
        }
        let place = key(note_id, &format!("{number:020}"));
        batch.put(Table::Documents, place, record);
        self.store.write(batch)
    }

    /// Forgets a note's document; returns the epoch of the next one.
    pub fn end_document(&self, note_id: &str) -> Result<u64, StoreError> {
        let Some(mut head) = self.head(note_id)? else {
            return Ok(0);
        };
        let note = self.record(Table::Notes, note_id)?;
        head.epoch += 1;
        head.of = note.as_ref().map_or(0, updated_at);
        head.ended = Vec::new();
        let mut batch = Batch::new();
        self.forget_records(&mut batch, note_id)?;
        head.put(&mut batch, note_id);
        self.store.write(batch)?;
        Ok(head.epoch)
    }

    /// The note is written: its document still says what it says, or says it now (`follows`).
    pub(super) fn document_follows(
        &self,
        batch: &mut Batch,
        note_id: &str,
        before: &Record,
        after: &Record,
        follows: bool,
    ) -> Result<(), StoreError> {
        if let Some(mut head) = self.head(note_id)?
            && (follows || head.of == updated_at(before))
        {
            head.of = updated_at(after);
            head.put(batch, note_id);
        }
        Ok(())
    }

    /// Nothing stays of a note's document.
    pub fn forget_document(&self, note_id: &str) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        self.delete_document(&mut batch, note_id)?;
        self.store.write(batch)
    }

    /// The note is removed, its document is known as one of the last; nothing stays of those before them.
    pub(super) fn document_outlives(
        &self,
        batch: &mut Batch,
        note_id: &str,
    ) -> Result<(), StoreError> {
        // No note has an empty id, and no id has this character.
        let place = key("", "");
        let removed = self.store.get(Table::Documents, &place)?;
        let removed = String::from_utf8(removed.unwrap_or_default()).unwrap_or_default();
        let others = removed.split('\0').filter(|id| *id != note_id);
        let mut ids: Vec<&str> = others.chain([note_id]).collect();
        for id in ids.drain(..ids.len().saturating_sub(REMOVED)) {
            if self.record(Table::Notes, id)?.is_none() {
                self.delete_document(batch, id)?;
            }
        }
        batch.put(Table::Documents, place, ids.join("\0"));
        Ok(())
    }

    fn delete_document(&self, batch: &mut Batch, note_id: &str) -> Result<(), StoreError> {
        self.forget_records(batch, note_id)?;
        if self.head(note_id)?.is_some() {
            batch.delete(Table::Documents, key(note_id, ""));
        }
        Ok(())
    }

    fn forget_records(&self, batch: &mut Batch, note_id: &str) -> Result<(), StoreError> {
        for number in self.seconds(Table::Documents, note_id)? {
            if !number.is_empty() {
                batch.delete(Table::Documents, key(note_id, &number));
            }
        }
        Ok(())
    }

    pub(super) fn head(&self, note_id: &str) -> Result<Option<Head>, StoreError> {
        let head = self.store.get(Table::Documents, &key(note_id, ""))?;
        Ok(head.as_deref().and_then(Head::read))
    }
}

fn updated_at(note: &Record) -> i64 {
    note.get("updated_at")
        .and_then(|at| at.as_i64())
        .unwrap_or(0)
}

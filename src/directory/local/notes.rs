//! Notes, their grants and their earlier versions.
//!
//! # A note is never emptied by accident
//! - A save from editors without `content` leaves the saved content alone.
//! - A save from editors that would leave content empty over content that isn't is refused, unless the caller
//!   can prove that it is an edit of the saved content ([`Emptying`]).
//! - Before a save the note as it was becomes a version, of which the last [`MAX_VERSIONS`] stay. Saves of
//!   editors come twice a second, so theirs only make one when the note was somebody else's, when the newest
//!   version is [`VERSION_INTERVAL`] old, or when more than half of the text goes. A backend's always does, and so
//!   does the first of editors who aren't known to work on the saved content ([`Emptying::Refuse`]).
//!
//! # A note can always be saved
//! What editors save beside the content has an allowance ([`MAX_FIELDS_BYTES`]): what is over it is left out, and the content
//! is saved all the same. All versions together have one, too; one that is larger is not kept.

use super::grants;
use super::records::{
    Local, Record, RecordError, check_id, denied, encode, object, owner, second, text,
};
use crate::directory::content;
use crate::directory::types::{
    Access, Emptying, FIELD_OVERHEAD, Identity, LEFT_OUT, MAX_FIELDS_BYTES, NoteView, Refusal,
};
use crate::ground::clock::since_epoch;
use crate::store::{Batch, StoreError, Table, key};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;

/// The most versions of a note.
const MAX_VERSIONS: usize = 10;

/// The most bytes of all versions of a note.
const MAX_VERSIONS_BYTES: usize = 12 << 20;

/// While one user edits, a version is made this often.
const VERSION_INTERVAL: Duration = Duration::from_secs(60);

/// The fields of a note that make its versions.
const VERSIONED: [&str; 4] = ["title", "data", "updated_at", "updated_by"];

/// Which saves make a version of the note as it was.
#[derive(Clone, Copy, PartialEq)]
enum Versioning {
    Always,
    /// As the module's documentation says of editors.
    Sparse,
}

/// How a note is saved.
struct Saving<'a> {
    by: &'a str,
    versioning: Versioning,
    /// Its content is what its document says.
    from_document: bool,
}

impl<'a> Saving<'a> {
    fn by_backend(by: &'a str) -> Self {
        Self {
            by,
            versioning: Versioning::Always,
            from_document: false,
        }
    }
}

/// What events of clients need.
impl Local {
    pub(in crate::directory) fn note(
        &self,
        who: &Identity,
        note_id: &str,
    ) -> Result<Option<NoteView>, Refusal> {
        let Some(note) = self.record(Table::Notes, note_id)? else {
            return Ok(None);
        };
        let access = access(who, &note);
        if access < Access::Read {
            return Ok(None);
        }
        Ok(Some(NoteView {
            access,
            content: raw(saved_content(&note).unwrap_or(&Value::Null))?,
        }))
    }

    pub(in crate::directory) async fn save_note(
        &self,
        who: &Identity,
        note_id: &str,
        data: &RawValue,
        emptying: Emptying,
    ) -> Result<(), Refusal> {
        let Some(before) = self.record(Table::Notes, note_id)? else {
            return denied("no such note");
        };
        if access(who, &before) < Access::Write {
            return denied("no write access to the note");
        }
        let Ok(data) = crate::ground::json::owned::<Record>(data.get()) else {
            return denied("the note's data is not an object");
        };
        let mut note = before.clone();
        let from_document = data.contains_key("content");
        let left_out = merge_within(&mut note, data);
        let emptied =
            content::is_empty(saved_content(&note)) && !content::is_empty(saved_content(&before));
        if emptied && emptying == Emptying::Refuse {
            return denied("an empty document would replace the note's content");
        }
        let versioning = match emptying {
            Emptying::Refuse => Versioning::Always,
            Emptying::Allow => Versioning::Sparse,
        };
        let saving = Saving {
            by: &who.user.id,
            versioning,
            from_document,
        };
        self.save(note_id, Some(&before), &mut note, &saving)?;
        self.store.durable().await?;
        match left_out {
            true => denied(LEFT_OUT),
            false => Ok(()),
        }
    }

    /// Keeps as a version what an editor had of a note when somebody else changed it. What is known already is not kept
    /// twice.
    pub(in crate::directory) async fn keep_version(
        &self,
        who: &Identity,
        note_id: &str,
        data: &RawValue,
    ) -> Result<(), Refusal> {
        let Some(mut note) = self.record(Table::Notes, note_id)? else {
            return denied("no such note");
        };
        if access(who, &note) < Access::Write {
            return denied("no write access to the note");
        }
        let Ok(data) = crate::ground::json::owned::<Record>(data.get()) else {
            return denied("the note's data is not an object");
        };
        let content = data.get("content");
        if content::is_empty(content) || content == saved_content(&note) {
            return Ok(());
        }
        // Looked for as it is encoded: to read all versions would take long.
        let same = serde_json::json!({ "content": content }).to_string();
        let same = same.as_bytes();
        let same = same.get(1..same.len() - 1).unwrap_or(same);
        let prefix = key(note_id, "");
        let versions = self.store.scan(Table::Versions, &prefix, "", usize::MAX)?;
        let mut versions = versions.iter().map(|(_, version)| version);
        if versions.any(|version| memchr::memmem::find(version, same).is_some()) {
            return Ok(());
        }
        merge_within(&mut note, data);
        note.insert("updated_at".to_owned(), nanoseconds().into());
        note.insert("updated_by".to_owned(), who.user.id.clone().into());
        let mut batch = Batch::new();
        self.put_version(&mut batch, note_id, &note)?;
        self.store.write(batch)?;
        Ok(self.store.durable().await?)
    }
}

/// What backends do.
impl Local {
    /// A note, whole.
    pub fn note_record(&self, id: &str) -> Result<Option<Record>, StoreError> {
        self.record(Table::Notes, id)
    }

    /// Up to `limit` notes by id, those after `after`; without their data.
    pub fn notes(&self, after: &str, limit: usize) -> Result<Vec<Record>, StoreError> {
        let found = self.records(Table::Notes, "", after, limit)?.into_iter();
        let bare = found.map(|(_, mut note)| {
            note.remove("data");
            note
        });
        Ok(bare.collect())
    }

    /// Makes the note or replaces it; whether it was made, and the note. Content may be emptied:
    /// a backend that asks for it means it, and the note as it was becomes a version.
    pub fn put_note(&self, id: &str, note: Record) -> Result<(bool, Record), RecordError> {
        check_id("a note's id", id)?;
        check_note(&note)?;
        let user_id = text(&note, "user_id")?.unwrap_or("").to_owned();
        check_id("user_id", &user_id)?;
        let before = self.record(Table::Notes, id)?;
        let mut note = note;
        note.insert("id".to_owned(), id.into());
        for (field, value) in [
            ("title", json!("")),
            ("data", json!({})),
            ("access_grants", json!([])),
        ] {
            if note.get(field).is_none_or(Value::is_null) {
                note.insert(field.to_owned(), value);
            }
        }
        self.save(
            id,
            before.as_ref(),
            &mut note,
            &Saving::by_backend(&user_id),
        )?;
        Ok((before.is_none(), note))
    }

    /// Changes what `changes` names: `data` and `meta` are merged field by field, all else is replaced.
    pub fn patch_note(&self, id: &str, changes: Record) -> Result<Record, RecordError> {
        check_note(&changes)?;
        let Some(before) = self.record(Table::Notes, id)? else {
            return Err(RecordError::Missing("no such note"));
        };
        let mut note = before.clone();
        for (field, value) in changes {
            match (field.as_str(), value) {
                ("id" | "created_at" | "updated_at", _) => {}
                ("data" | "meta", Value::Object(value)) => merge(&mut note, &field, value),
                (_, Value::Null) => {}
                (_, value) => {
                    note.insert(field, value);
                }
            }
        }
        check_id("user_id", owner(&note))?;
        let by = owner(&note).to_owned();
        self.save(id, Some(&before), &mut note, &Saving::by_backend(&by))?;
        Ok(note)
    }

    /// Removes the note and its versions. Its document ends in a step of its own.
    pub fn delete_note(&self, id: &str) -> Result<(), RecordError> {
        if self.record(Table::Notes, id)?.is_none() {
            return Err(RecordError::Missing("no such note"));
        }
        let mut batch = Batch::new();
        batch.delete(Table::Notes, id);
        for number in self.seconds(Table::Versions, id)? {
            batch.delete(Table::Versions, key(id, &number));
        }
        if self.head(id)?.is_some() {
            self.document_outlives(&mut batch, id)?;
        }
        Ok(self.store.write(batch)?)
    }

    /// The earlier states of a note, oldest first.
    pub fn versions(&self, id: &str) -> Result<Vec<Record>, RecordError> {
        if self.record(Table::Notes, id)?.is_none() {
            return Err(RecordError::Missing("no such note"));
        }
        let found = self.records(Table::Versions, &key(id, ""), "", usize::MAX)?;
        Ok(found.into_iter().map(|(_, version)| version).collect())
    }

    /// Makes an earlier state the present one; the present one becomes a version.
    pub fn restore_note(&self, id: &str, version: u64) -> Result<Record, RecordError> {
        let Some(before) = self.record(Table::Notes, id)? else {
            return Err(RecordError::Missing("no such note"));
        };
        let Some(old) = self.record(Table::Versions, &version_key(id, version))? else {
            return Err(RecordError::Missing("no such version"));
        };
        let mut note = before.clone();
        for field in ["title", "data"] {
            if let Some(value) = old.get(field) {
                note.insert(field.to_owned(), value.clone());
            }
        }
        let by = owner(&note).to_owned();
        self.save(id, Some(&before), &mut note, &Saving::by_backend(&by))?;
        Ok(note)
    }

    /// Writes the note, and the version that it replaces.
    fn save(
        &self,
        id: &str,
        before: Option<&Record>,
        note: &mut Record,
        saving: &Saving<'_>,
    ) -> Result<(), StoreError> {
        let created_at = before.and_then(|b| b.get("created_at").cloned());
        note.insert(
            "created_at".to_owned(),
            created_at.unwrap_or(nanoseconds().into()),
        );
        note.insert("updated_at".to_owned(), nanoseconds().into());
        note.insert("updated_by".to_owned(), saving.by.into());
        let mut batch = Batch::new();
        batch.put(Table::Notes, id, encode(note));
        let Some(before) = before else {
            return self.store.write(batch);
        };
        let said = saving.from_document || saved_content(before) == saved_content(note);
        if said {
            self.document_follows(&mut batch, id, before, note, saving.from_document)?;
        }
        let alone = batch.clone();
        self.add_version(&mut batch, id, before, note, saving.versioning)?;
        match self.store.write(batch) {
            // With a version it is more than the store takes at once.
            Err(StoreError::TooLarge) => self.store.write(alone),
            written => written,
        }
    }

    /// Adds the note as it was to its versions, and removes the oldest beyond the limit.
    fn add_version(
        &self,
        batch: &mut Batch,
        id: &str,
        before: &Record,
        after: &Record,
        versioning: Versioning,
    ) -> Result<(), StoreError> {
        if ["title", "data"]
            .iter()
            .all(|field| before.get(*field) == after.get(*field))
        {
            return Ok(());
        }
        if versioning == Versioning::Sparse {
            let newest = self.seconds(Table::Versions, id)?.pop();
            let newest = newest.map(|newest| self.record(Table::Versions, &key(id, &newest)));
            if !makes_version(before, after, newest.transpose()?.flatten().as_ref()) {
                return Ok(());
            }
        }
        self.put_version(batch, id, before)
    }

    /// Adds a state of the note to its versions, and removes the oldest beyond the limits. One that is too large is not kept.
    fn put_version(&self, batch: &mut Batch, id: &str, before: &Record) -> Result<(), StoreError> {
        let prefix = key(id, "");
        let mut versions = self.store.scan(Table::Versions, &prefix, "", usize::MAX)?;
        let newest = versions.last().and_then(|(key, _)| second(key));
        let newest = newest.and_then(|number| number.parse::<u64>().ok());
        let number = newest.unwrap_or(0) + 1;
        let fields = VERSIONED
            .iter()
            .filter_map(|field| before.get_key_value(*field));
        let mut version: Record = fields.map(|(f, v)| (f.clone(), v.clone())).collect();
        version.insert("version".to_owned(), number.into());
        version.insert("kept_at".to_owned(), nanoseconds().into());
        let version = encode(&version);
        let mut bytes = version.len();
        if bytes > MAX_VERSIONS_BYTES {
            log::warn!("note {id:?}: a version of {bytes} bytes is too large to be kept");
            return Ok(());
        }
        batch.put(Table::Versions, version_key(id, number), version);
        versions.reverse();
        let stays = |(_, old): &&(String, Vec<u8>)| {
            bytes += old.len();
            bytes <= MAX_VERSIONS_BYTES
        };
        let staying = versions.iter().take(MAX_VERSIONS - 1).take_while(stays);
        let staying = staying.count();
        for (old, _) in versions.drain(..).skip(staying) {
            batch.delete(Table::Versions, old);
        }
        Ok(())
    }
}

/// Does an editor's save make a version?
fn makes_version(before: &Record, after: &Record, newest: Option<&Record>) -> bool {
    let size = |note| content::size(saved_content(note));
    if size(before) == 0 {
        return false;
    }
    let kept_at = newest.and_then(|v| v.get("kept_at")?.as_i64());
    let interval = i64::try_from(VERSION_INTERVAL.as_nanos()).unwrap_or(i64::MAX);
    // One of a time that has yet to come was kept before the clock was set back.
    let age = |at| nanoseconds().saturating_sub(at).saturating_abs();
    let due = kept_at.is_none_or(|at| age(at) >= interval);
    due || before.get("updated_by") != after.get("updated_by") || size(after) < size(before) / 2
}

fn access(who: &Identity, note: &Record) -> Access {
    if owner(note) == who.user.id || who.user.role == "admin" {
        return Access::Write;
    }
    grants::granted(note, &who.user.id)
}

fn saved_content(note: &Record) -> Option<&Value> {
    note.get("data")?.get("content")
}

/// Sets fields of a note's `data`, as an editor's save does: those beside the content within their allowance. Whether some were
/// left out.
fn merge_within(note: &mut Record, mut data: Record) -> bool {
    let size = |(name, value): (&String, &Value)| match name.as_str() {
        "content" => 0,
        _ => name.len() + value.to_string().len() + FIELD_OVERHEAD,
    };
    let present = note.get("data").and_then(Value::as_object);
    let mut bytes: usize = present.map_or(0, |present| present.iter().map(size).sum());
    let fields = data.len();
    data.retain(|name, value| {
        let old = present.and_then(|present| present.get_key_value(name));
        let (old, new) = (old.map_or(0, size), size((name, value)));
        let fits = new <= old || bytes - old + new <= MAX_FIELDS_BYTES;
        if fits {
            bytes = bytes - old + new;
        }
        fits
    });
    let left_out = data.len() < fields;
    merge(note, "data", data);
    left_out
}

/// Sets the fields of the object `field`, which becomes one if it isn't.
fn merge(note: &mut Record, field: &str, changes: Record) {
    match note.get_mut(field) {
        Some(Value::Object(present)) => present.extend(changes),
        _ => {
            note.insert(field.to_owned(), changes.into());
        }
    }
}

fn check_note(note: &Record) -> Result<(), RecordError> {
    text(note, "title")?;
    text(note, "user_id")?;
    object(note, "data")?;
    object(note, "meta")?;
    grants::check(note)
}

/// 20 digits, so that versions sort by number.
fn version_key(id: &str, version: u64) -> String {
    key(id, &format!("{version:020}"))
}

/// Notes carry their times in nanoseconds, as the reference's do.
fn nanoseconds() -> i64 {
    i64::try_from(since_epoch().as_nanos()).unwrap_or(i64::MAX)
}

fn raw(value: &Value) -> Result<Box<RawValue>, Refusal> {
    serde_json::value::to_raw_value(value)
        .map_err(|_| Refusal::Unavailable("the note can't be encoded"))
}

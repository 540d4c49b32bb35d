//! Notes: what may be done with them, what is in them, saving.

use super::client::UpstreamRequest;
use super::rest::{Outcome, is_uuid};
use super::version::NoteForm;
use super::watch::AWAY;
use super::webui::{NOTE_ACCESS_HOLDS, OpenWebui, access_key};
use crate::directory::content::is_empty;
use crate::directory::types::{Access, Echo, Emptying, Identity, NoteView, Refusal};
use crate::ground::json;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Instant;

/// Versions of a note: to as many one is added.
const MOST_VERSIONS: usize = 100;

#[derive(Deserialize)]
struct Note {
    id: String,
    data: Option<BTreeMap<String, Box<RawValue>>>,
    #[serde(default)]
    write_access: bool,
}

/// A note as the answer to a save has it.
#[derive(Deserialize)]
struct SavedNote {
    updated_at: Option<u64>,
}

impl OpenWebui {
    /// Never from the cache: an editor that opens the note begins with this content.
    pub(in crate::directory) async fn note(
        &self,
        who: &Identity,
        note_id: &str,
    ) -> Result<Option<NoteView>, Refusal> {
        if self.rest.watch.is_away() {
            return Err(AWAY);
        }
        let key = access_key(&who.user.id, "note", note_id);
        let ask = async || {
            let view = self.fetch(who, note_id).await?;
            Ok((view.as_ref().map_or(Access::None, |view| view.access), view))
        };
        let (_, view) = self.learn(&who.user.id, key, ask).await?;
        Ok(view)
    }

    pub(in crate::directory) async fn note_access(
        &self,
        who: &Identity,
        note_id: &str,
    ) -> Result<Access, Refusal> {
        let key = access_key(&who.user.id, "note", note_id);
        if let Some(access) = self.access.get(&key, NOTE_ACCESS_HOLDS, Instant::now()) {
            return Ok(access);
        }
        match self.note(who, note_id).await {
            Ok(view) => Ok(view.map_or(Access::None, |view| view.access)),
            Err(refusal) => self.access.last(&key, Instant::now()).ok_or(refusal),
        }
    }

    async fn fetch(&self, who: &Identity, note_id: &str) -> Result<Option<NoteView>, Refusal> {
        self.fetch_note(who, note_id).await?.map(view).transpose()
    }

    async fn fetch_note(&self, who: &Identity, note_id: &str) -> Result<Option<Note>, Refusal> {
        if !is_uuid(note_id) {
            return Ok(None);
        }
        let path = format!("/api/v1/notes/{note_id}");
        match self
            .rest
            .send_anyway(UpstreamRequest::get(&path, &who.token))
            .await?
        {
            Outcome::Success(body) => its(self.rest.parse(&path, &body)?, note_id).map(Some),
            Outcome::TooLarge => Err(Refusal::Denied("the note is too large")),
            Outcome::Refused(_) => Ok(None),
        }
    }

    /// Tried also while Open WebUI counts as away: whoever saves has nothing better to do.
    pub(in crate::directory) async fn save_note(
        &self,
        who: &Identity,
        note_id: &str,
        data: &RawValue,
        emptying: Emptying,
    ) -> Result<Echo, Refusal> {
        if !is_uuid(note_id) {
            return Err(Refusal::Denied("no such note"));
        }
        if emptying == Emptying::Refuse && empties(data) {
            let saved = self.fetch(who, note_id).await?;
            let content = saved.and_then(|note| json::owned(note.content.get()).ok());
            if !is_empty(content.as_ref()) {
                let why = "an empty document would replace the note's content";
                return Err(Refusal::Denied(why));
            }
        }
        let path = format!("/api/v1/notes/{note_id}/update");
        let version = &self.rest.watch.version;
        let asked = Instant::now();
        let mut outcome = self.post(who, note_id, &path, data).await?;
        // Maybe it is another version by now.
        if matches!(outcome, Outcome::Refused(StatusCode::UNPROCESSABLE_ENTITY))
            && version.ask().await
        {
            outcome = self.post(who, note_id, &path, data).await?;
        }
        self.learn_of_save(who, note_id, &outcome, asked);
        match outcome {
            Outcome::Success(note) => {
                let saved: Option<SavedNote> = self.rest.parse(&path, &note)?;
                Ok(self.echo(saved.and_then(|note| note.updated_at)))
            }
            Outcome::TooLarge => Ok(self.echo(None)),
            Outcome::Refused(status) => Err(Refusal::Denied(match status {
                StatusCode::NOT_FOUND => "no such note",
                StatusCode::PAYLOAD_TOO_LARGE => "the note is too large",
                StatusCode::UNPROCESSABLE_ENTITY => "Open WebUI does not take the note's data",
                StatusCode::UNAUTHORIZED => "Open WebUI refuses the token",
                _ => "no write access to the note",
            })),
        }
    }

    /// Keeps what an editor had of the note when somebody else changed it where the page keeps versions.
    pub(in crate::directory) async fn keep_version(
        &self,
        who: &Identity,
        note_id: &str,
        data: &RawValue,
    ) -> Result<(), Refusal> {
        let note = self.fetch_note(who, note_id).await?;
        let note = note.ok_or(Refusal::Denied("no such note"))?;
        if let Some(versions) = versions_with(&note, data)
            && let Ok(versions) = RawValue::from_string(versions)
        {
            self.save_note(who, note_id, &versions, Emptying::Allow)
                .await?;
        }
        Ok(())
    }

    /// Whoever has saved it may write it, and who may not is asked for anew.
    fn learn_of_save(&self, who: &Identity, note_id: &str, outcome: &Outcome, asked: Instant) {
        let key = access_key(&who.user.id, "note", note_id);
        match outcome {
            Outcome::Refused(_) => self.access.forget(&key),
            _ if self.changes.since(&who.user.id, asked) || self.changes.since(&key, asked) => {}
            _ => self.access.put(key, Access::Write, asked),
        }
    }

    /// What reaches us of what it has emitted about a save.
    fn echo(&self, updated_at: Option<u64>) -> Echo {
        match self.shares_redis() {
            true => updated_at.map_or(Echo::Unknown, Echo::At),
            false => Echo::None,
        }
    }
}

/// What an older version wants to be told again.
#[derive(Deserialize)]
struct Kept {
    title: Box<RawValue>,
    access_control: Option<Box<RawValue>>,
    access_grants: Option<Box<RawValue>>,
}

impl OpenWebui {
    async fn post(
        &self,
        who: &Identity,
        note_id: &str,
        path: &str,
        data: &RawValue,
    ) -> Result<Outcome, Refusal> {
        let mut body = format!(r#"{{"data":{}"#, data.get());
        let form = self.rest.watch.version.form();
        if form != NoteForm::Data {
            let path = format!("/api/v1/notes/{note_id}");
            let request = UpstreamRequest::get(&path, &who.token);
            let kept: Kept = match self.rest.send_anyway(request).await? {
                Outcome::Success(body) => self.rest.parse(&path, &body)?,
                refused => return Ok(refused),
            };
            let null = RawValue::NULL;
            let access = match form {
                NoteForm::WithGrants => Some(("access_grants", kept.access_grants)),
                NoteForm::WithControl => Some(("access_control", kept.access_control)),
                NoteForm::WithTitle | NoteForm::Data => None,
            };
            let access =
                access.map(|(name, value)| (name, value.unwrap_or_else(|| null.to_owned())));
            for (name, value) in [Some(("title", kept.title)), access].into_iter().flatten() {
                body.push_str(&format!(r#","{name}":{value}"#));
            }
        }
        body.push('}');
        let request = UpstreamRequest::post(path, &who.token, body);
        self.rest.send_anyway(request).await
    }
}

/// Does it set content that shows nothing?
fn empties(data: &RawValue) -> bool {
    let data: Option<Value> = json::owned(data.get()).ok();
    let content = data.as_ref().and_then(|data| data.get("content"));
    content.is_some() && is_empty(content)
}

fn its(note: Note, note_id: &str) -> Result<Note, Refusal> {
    match note.id.eq_ignore_ascii_case(note_id) {
        true => Ok(note),
        false => Err(Refusal::Denied("Open WebUI answered with another note")),
    }
}

/// The versions of a note with one more: what was in `data`. `None`, if that is known or shows nothing, or they are too many.
fn versions_with(note: &Note, data: &RawValue) -> Option<String> {
    let known = |name: &str| json::owned::<Value>(note.data.as_ref()?.get(name)?.get()).ok();
    let content = json::owned::<Value>(data.get())
        .ok()?
        .get_mut("content")?
        .take();
    let mut versions = match known("versions") {
        Some(Value::Array(versions)) => versions,
        _ => Vec::new(),
    };
    let is_known = known("content").as_ref() == Some(&content) || versions.contains(&content);
    if is_empty(Some(&content)) || is_known || versions.len() >= MOST_VERSIONS {
        return None;
    }
    versions.push(content);
    Some(format!(r#"{{"versions":{}}}"#, Value::Array(versions)))
}

fn view(note: Note) -> Result<NoteView, Refusal> {
    let content = note.data.and_then(|mut data| data.remove("content"));
    Ok(NoteView {
        access: match note.write_access {
            true => Access::Write,
            false => Access::Read,
        },
        content: content.unwrap_or_else(|| RawValue::NULL.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_open_webui_answers_it() {
        let json = r#"{"id":"A1","user_id":"u","title":"T","data":{"content":{"md":"x"},"files":null},"write_access":true,"meta":null}"#;
        let view = |json, id| its(serde_json::from_str(json).unwrap(), id).and_then(view);
        let note = view(json, "a1").unwrap();
        assert_eq!(
            (note.access, note.content.get()),
            (Access::Write, r#"{"md":"x"}"#)
        );
        let json = r#"{"id":"a1","user_id":"u","title":"T","data":null}"#;
        let note = view(json, "a1").unwrap();
        assert_eq!((note.access, note.content.get()), (Access::Read, "null"));
        assert!(view(json, "b2").is_err());
    }

    #[test]
    fn what_an_editor_had_is_one_version_more() {
        let with = |data: &str, had: &str| {
            let json = format!(r#"{{"id":"a1","data":{data}}}"#);
            let data = RawValue::from_string(format!(r#"{{"content":{had}}}"#)).unwrap();
            versions_with(&serde_json::from_str(&json).unwrap(), &data)
        };
        let (data, had) = (
            r#"{"content":{"md":"now"},"versions":[{"md":"1"}]}"#,
            r#"{"md":"2"}"#,
        );
        let both = Some(r#"{"versions":[{"md":"1"},{"md":"2"}]}"#.to_owned());
        assert_eq!(with(data, had), both);
        assert!(with("null", had).is_some() && with(r#"{"versions":null}"#, had).is_some());
        for known in [r#"{"md":"now"}"#, r#"{"md":"1"}"#, r#"{"md":" "}"#] {
            assert_eq!(with(data, known), None, "{known}");
        }
    }

    #[test]
    fn only_blank_content_empties() {
        let empties = |json: &str| empties(&RawValue::from_string(json.into()).unwrap());
        assert!(empties(r#"{"content":null}"#) && empties(r#"{"content":{"md":" "}}"#));
        assert!(!empties(r#"{"files":[]}"#) && !empties(r#"{"content":{"md":"x"}}"#));
    }
}

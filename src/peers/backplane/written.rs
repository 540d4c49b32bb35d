//! What somebody outside wrote in a note, for those who edit it: one of all hears it whole.
//!
//! A page of Open WebUI puts it in its editor, and with that in the document: if two do, it stands there twice. So one that
//! may write gets it, of whichever instance is first; the others the event without the content, which comes to them with the document.

use super::Backplane;
use crate::ground::names::document_of_note;
use crate::ground::{json, rooms};
use crate::redis::CommandError;
use crate::socket::{Args, Object, Sid, Target};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// After this long nobody has a page that could put it in the document.
const NOBODY: Duration = Duration::from_secs(1);
/// Seconds for which is known that one has it.
const KNOWN: &str = "60";

/// A session that edits a note and may write it.
pub(super) type Writer = Box<dyn Fn(&str) -> Option<Sid>>;

type Fields = BTreeMap<String, Box<RawValue>>;

/// A note with its content.
struct Written {
    at: u64,
    /// The event without the content.
    rest: Args<'static>,
}

impl Backplane {
    /// From now on one of those who edit a note puts in it what somebody outside wrote.
    pub fn set_writer(&self, writer: impl Fn(&str) -> Option<Sid> + 'static) {
        let _ = self.writer.set(Box::new(writer));
    }

    /// Tells those who edit the note. Returns their room, which is left out when all others are told.
    pub(super) fn tell_editors(
        self: &Rc<Self>,
        note_id: &str,
        event: &'static str,
        args: &Args<'_>,
    ) -> Option<String> {
        // A page of before 0.11, which calls it otherwise, leaves the content alone.
        let writer = self.writer.get().filter(|_| event == rooms::NOTE_EVENT)?;
        let written = Written::read(args)?;
        let room = rooms::of_document(&document_of_note(note_id));
        let (this, one) = (self.clone(), writer(note_id));
        let (note_id, args, editors) =
            (note_id.to_owned(), args.clone().into_owned(), room.clone());
        self.tasks.spawn("tells a note's editors", async move {
            let wholly = this.who_puts_it(&note_id, &editors, one, written.at).await;
            for sid in &wholly {
                this.hub.emit(&Target::sid(*sid), event, &args);
            }
            let wholly: Vec<&str> = wholly.iter().map(Sid::as_str).collect();
            let others = Target::room(&editors).but(&wholly);
            this.hub.emit(&others, event, &written.rest);
        });
        Some(room)
    }

    /// Who hears it whole: one who may write. Is there none anywhere, all who look at it.
    async fn who_puts_it(
        &self,
        note_id: &str,
        editors: &str,
        one: Option<Sid>,
        at: u64,
    ) -> Vec<Sid> {
        if self.hub.members(editors).is_empty() {
            return Vec::new();
        }
        if one.is_none() {
            smol::Timer::after(NOBODY).await;
        }
        match (self.is_first(note_id, at).await, one) {
            (false, _) => Vec::new(),
            (true, Some(sid)) => vec![sid],
            (true, None) => self.hub.members(editors),
        }
    }

    /// Whether no other instance has told one of its editors. While Redis is away, rather two do than none.
    async fn is_first(&self, note_id: &str, at: u64) -> bool {
        let key = self.redis.key(&format!("siskin:written:{note_id}:{at}"));
        let mut set = redis::cmd("SET");
        set.arg(key).arg(1).arg("NX").arg("EX").arg(KNOWN);
        let set: Result<Option<String>, CommandError> = self.redis.query(set).await;
        set.map_or(true, |set| set.is_some())
    }
}

impl Written {
    fn read(args: &Args<'_>) -> Option<Self> {
        let Object(mut note) = args.first::<Object<Fields>>()?;
        let at = json::text(note.get("updated_at")?.get()).ok()?;
        let mut data: Fields = json::text(note.get("data")?.get()).ok()?;
        data.remove("content")
            .filter(|content| content.get() != "null")?;
        note.insert("data".into(), serde_json::value::to_raw_value(&data).ok()?);
        Some(Self {
            at,
            rest: Args::one(&note),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_alone_is_left_out() {
        let json = r#"{"id":"n","title":"T","data":{"content":{"md":"x"},"files":[1]},"updated_at":7,"big":1.50}"#;
        let written = Written::read(&Args::from_json(json)).unwrap();
        assert_eq!(written.at, 7);
        assert_eq!(
            written.rest.json(),
            r#"{"big":1.50,"data":{"files":[1]},"id":"n","title":"T","updated_at":7}"#
        );
        for nothing in [
            r#"{"updated_at":7,"data":{"files":[]}}"#,
            r#"{"updated_at":7,"data":{"content":null}}"#,
            r#"{"updated_at":7}"#,
            r#"{"data":{"content":{}}}"#,
            "[]",
        ] {
            assert!(
                Written::read(&Args::from_json(nothing)).is_none(),
                "{nothing}"
            );
        }
    }
}

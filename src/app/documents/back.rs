//! Who comes back with a document that has ended, beside Open WebUI: the first of them goes on with it, should nobody have begun
//! another one.
//!
//! Its page writes a paragraph into a document that is emptied, and begins none where one is. So what the first one has is there
//! again, and it puts in it what was written outside, when it is told as Open WebUI tells it. That takes its place: what is typed
//! before is gone. So until then nobody may type: a page takes nothing from its user between a state that it can't read and the next
//! one. Whoever else comes back waits for that, at whichever instance: what they wrote ends, and they are shown what is there.

use super::ended::CONTENT;
use super::gaps::Editor;
use super::old::{Came, Old};
use super::refusals::not_stored;
use super::states::STATE;
use super::{Documents, Left, Update};
use crate::app::core::{Fault, Sender, TOO_LARGE};
use crate::app::documents::Document;
use crate::app::notes::Fields;
use crate::directory::NoteView;
use crate::ground::rooms;
use crate::peers::documents::update::begins;
use crate::socket::{Args, Sid, Target};
use serde_json::value::RawValue;
use smol::Timer;
use smol::future::zip;
use std::time::{Duration, Instant};

/// A page puts what was written in place of what it shows once so long nothing has changed in its editor, cursors of others
/// included.
const SETTLES: Duration = Duration::from_millis(850);
/// How long is waited for what it writes then.
const WRITES: Duration = Duration::from_secs(3);
/// How often is looked for it.
const LOOK: Duration = Duration::from_millis(10);

impl Documents {
    /// The page takes nothing that is typed into it until it gets a state that it can read.
    pub(super) fn hold(&self, sid: Sid, document: &Document) {
        let id = super::broadcast::text(&document.id);
        let args = Args::from_json(format!(r#"{{"document_id":{id},"state":[255]}}"#));
        self.core.hub.emit(&Target::sid(sid), STATE, &args);
    }

    /// Somebody who has the note open here and may write it, and takes what is written.
    pub fn writer(&self, note_id: &str) -> Option<Sid> {
        let document = Document::of_note(note_id);
        let takes = |sid| !self.gaps.is_held(sid, &document);
        self.notes.writer(note_id, takes)
    }

    /// The sender has said what it has, which is of a document that has ended.
    pub(super) fn comes_back(
        &'static self,
        from: &Sender,
        document: &Document,
        update: Vec<u8>,
        content: Option<Fields>,
    ) {
        self.gaps.has(from.sid, document, Old::Waits);
        // What others write would put off what it says that it shows.
        self.core.peers.leave(from.sid, &document.room);
        let came = |came: &mut Came| {
            *came = Came::default();
            came.content = content;
            came.stirred = Some(Instant::now());
            came.add(update.clone());
        };
        self.came(from.sid, document, came);
        let (from, document) = (from.clone(), Document::new(&document.id));
        self.gaps.asking.spawn("takes somebody back", async move {
            let unsaved = self.unsaved(&from, &document, &update).await;
            let kept = self.keep_version(&from, &document, unsaved);
            let take = async || self.take_back(&from, &document).await;
            let documents = &self.core.documents;
            let taken = documents.in_turn(&document.id, "back", take);
            let (kept, taken) = zip(Box::pin(kept), taken).await;
            if let Err(fault) = kept {
                log::debug!("what {} had is no version: {fault:?}", from.sid);
            }
            if taken.is_none() {
                self.show_back(&from, &document).await;
            }
        });
    }

    /// What it shows, before it is shown something else, if there is something unsaved in it: that becomes a version. What it only
    /// deleted is not seen.
    async fn unsaved(&self, from: &Sender, document: &Document, update: &[u8]) -> Option<Fields> {
        if !self.core.documents.adds_to_ended(&document.id, update) {
            return None;
        }
        let content = || self.came(from.sid, document, |came| came.content.take());
        let mut found = content().flatten();
        if found.is_none() {
            self.show_update(from.sid, document, "[0,0]");
            found = within(CONTENT, || content().flatten()).await;
        }
        found
    }

    /// Waits until it would put what was written in place of what it shows at once.
    async fn settles(&self, sid: Sid, document: &Document) {
        let late = Instant::now() + WRITES;
        let settled = || {
            let stirred = self.came(sid, document, |came| came.stirred).flatten();
            stirred.map(|stirred| stirred + SETTLES)
        };
        while let Some(then) = settled().filter(|then| (Instant::now()..late).contains(then)) {
            Timer::at(then).await;
        }
    }

    /// It is shown what is there: in its turn.
    async fn take_back(&'static self, from: &Sender, document: &Document) {
        if self.check_open(from.sid, document).is_err() {
            return;
        }
        let next = || self.came(from.sid, document, Came::next).flatten();
        if self.core.documents.revive(&document.id).await
            && let (Ok(Some(NoteView { content, .. })), ()) =
                zip(self.view(from, document), self.settles(from.sid, document)).await
        {
            while let Some(update) = next() {
                self.append(from, document, update, true).await;
            }
            return self.go_on(from, document, &content).await;
        }
        if !self.enter_again(from.sid, document).await {
            return;
        }
        let had = next().unwrap_or_default();
        if let Err(rejected) = self.bury(from, document, &had).await {
            log::debug!("what {} had does not end: {rejected:?}", from.sid);
        }
        // What it wrote after that, before it took nothing any more.
        while let Some(update) = next() {
            self.append(from, document, update, true).await;
        }
        self.show(from, document, Old::Left).await;
    }

    async fn show_back(&'static self, from: &Sender, document: &Document) {
        if self.enter_again(from.sid, document).await {
            self.show(from, document, Old::Left).await;
        }
    }

    async fn enter_again(&self, sid: Sid, document: &Document) -> bool {
        let entered = self.core.enter(sid, &document.room).await.is_ok();
        // Nobody may have been here to hear of what came meanwhile.
        self.core.documents.look_again(&document.id);
        if !entered {
            self.close_for(sid, document, Left::Gone).await;
        }
        entered
    }

    /// Its document is there again: it puts in it what was written.
    async fn go_on(&'static self, from: &Sender, document: &Document, written: &RawValue) {
        let sid = from.sid;
        if !self.enter_again(sid, document).await {
            return;
        }
        self.gaps.has(sid, document, Old::Writes);
        if self.try_show(from, document).await.is_err() {
            return;
        }
        self.tell_written(sid, document, written);
        // Should it show that already, it says so.
        self.show_update(sid, document, "[0,0]");
        let has_written = || (self.gaps.old(sid, document) != Old::Writes).then_some(());
        if within(WRITES, has_written).await.is_none() {
            self.gaps.has(sid, document, Old::No);
        } else if self.check_open(sid, document).is_ok() {
            let begins = self.came(sid, document, |came| came.begins.take());
            let documents = &self.core.documents;
            documents.goes_on_from(&document.id, begins.flatten()).await;
        }
    }

    /// Tells a page what was written, as Open WebUI does.
    fn tell_written(&self, sid: Sid, document: &Document, content: &RawValue) {
        if let Some(note_id) = document.note() {
            let id = super::broadcast::text(note_id);
            let json = format!(r#"{{"id":{id},"data":{{"content":{content}}}}}"#);
            let args = Args::from_json(json);
            let target = Target::sid(sid);
            self.core.hub.emit(&target, rooms::NOTE_EVENT, &args);
        }
    }

    /// What comes of who waits for its turn.
    pub(super) fn take_waiting(
        &self,
        from: &Sender,
        document: &Document,
        update: &mut Update,
    ) -> Option<Result<Args<'static>, Fault>> {
        let content = update.fields.clone().filter(Fields::has_content);
        update.drop_content();
        let bytes = update.bytes.take();
        let add = |came: &mut Came| {
            came.content = content.or(came.content.take());
            bytes.is_none_or(|bytes| came.add(bytes))
        };
        match self.came(from.sid, document, add) {
            Some(false) => Some(Ok(not_stored(TOO_LARGE))),
            _ => None,
        }
    }

    /// What comes of who was told what was written: that.
    pub(super) fn take_written(
        &self,
        from: &Sender,
        document: &Document,
        update: &mut Update,
    ) -> Option<Result<Args<'static>, Fault>> {
        if update.has_content() && (update.bytes.is_some() || !self.lacks_state(from.sid, document))
        {
            let begins = update.bytes.as_deref().and_then(begins);
            self.came(from.sid, document, |came| came.begins = begins);
            self.gaps.has(from.sid, document, Old::No);
        }
        None
    }

    fn came<T>(
        &self,
        sid: Sid,
        document: &Document,
        change: impl FnOnce(&mut Came) -> T,
    ) -> Option<T> {
        let came = |editor: &mut Editor| change(&mut editor.came);
        self.gaps.with(sid, &document.id, came)
    }
}

/// Looks for something for a while.
async fn within<T>(limit: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let late = Instant::now() + limit;
    loop {
        let found = find();
        if found.is_some() || Instant::now() > late {
            return found;
        }
        Timer::after(LOOK).await;
    }
}

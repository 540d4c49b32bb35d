//! What a document lacks and its senders have: they are asked for it, each in the way that its program understands.
//!
//! Our provider says at its join what it has, and is told what is here. The page of Open WebUI sends all it has when it is
//! told that there is nothing, which is done only where there is something: so nobody writes first content on top of it.

use super::broadcast::text;
use super::name::Document;
use super::old::{Came, Old};
use super::states::{STATE, Told};
use super::{Documents, Kind};
use crate::app::core::Sender;
use crate::ground::rooms;
use crate::ground::tasks::Tasks;
use crate::peers::documents::MAX_OPEN;
use crate::peers::documents::bytes::{ints, read_bytes};
use crate::peers::documents::update::Id;
use crate::peers::documents::vector::Vector;
use crate::socket::{Args, Hub, Mark, Sid, Target, To};
use serde::Deserialize;
use serde_json::value::RawValue;
use smol::Timer;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after it was asked a sender is asked again, while the gap is there.
const AGAIN: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// Who did not help is asked once more when it sends on, so long after that.
const REST: Duration = Duration::from_secs(60);
/// A document of so many bytes is asked for whenever a page comes: it may have been edited while it was away.
const SMALL: usize = 64 << 10;
/// The largest cursor that is remembered of who waits to open a document.
const MOST_EARLY: usize = 1 << 10;

/// Those who have documents open here.
pub struct Gaps {
    sessions: RefCell<HashMap<Sid, Vec<Editor>>>,
    /// What sessions showed of their cursors while they waited to open a document.
    early: RefCell<HashMap<Sid, Vec<Early>>>,
    pub(super) asking: Tasks,
}

/// A document, and the cursor that is shown in it.
type Early = (String, Vec<u8>);

/// A session with one document.
pub(super) struct Editor {
    id: String,
    /// It is our provider, or one that understands as much.
    pub(super) syncs: bool,
    /// It came with something, by what it said.
    brings: bool,
    /// It has shown its cursor, as a page of Open WebUI does.
    greeted: bool,
    page: bool,
    /// The end of the last state that it was sent, if it is a page.
    state_ends: Option<Mark>,
    /// It is being asked.
    asked: bool,
    /// What the last update of it that had a gap builds on.
    lacks: Option<Id>,
    /// It has it open no more, and has not said so: it may not read it any more.
    put_out: bool,
    /// It would open it, and may not: it is opened for it as soon as it may, as for one that says what it has or does not.
    waits: Option<Program>,
    /// It was told of a gap: its next update may be all it has.
    told: bool,
    /// What it was asked for last in vain, and when.
    vain: Option<(Id, Instant)>,
    /// What of it could not be taken, for no fault of its own.
    pub(super) owed: Option<Kind>,
    /// It is asked for that once it can be, and how often it was since something of it was taken.
    pub(super) collecting: bool,
    pub(super) tries: u32,
    /// The state that it was sent last.
    state: Told,
    /// It may have a document that has ended.
    old: Old,
    /// Where what it had when it came would go on, if it is of a document that goes on after it had ended.
    pub(super) since: Option<Id>,
    /// What came of it while it waits to be shown this one.
    pub(super) came: Came,
}

/// What is known of a session's program.
#[derive(Clone, Copy, Default)]
pub struct Program {
    /// It says what it has.
    pub syncs: bool,
    /// It is a page of Open WebUI.
    pub page: bool,
}

impl Gaps {
    pub fn new(asking: Tasks) -> Self {
        Self {
            sessions: RefCell::default(),
            early: RefCell::default(),
            asking,
        }
    }

    /// `theirs`: what it has, if it says so. `writes`: it may have something that the document lacks.
    pub fn opened(
        &self,
        sid: Sid,
        document: &Document,
        theirs: Option<&Vector>,
        page: bool,
        writes: bool,
    ) {
        let syncs = theirs.is_some();
        self.closed(sid, document);
        let mut sessions = self.sessions.borrow_mut();
        sessions.entry(sid).or_default().push(Editor {
            id: document.id.clone(),
            syncs,
            brings: theirs.is_some_and(|theirs| !theirs.is_empty()),
            greeted: syncs || !writes,
            page,
            state_ends: None,
            asked: false,
            lacks: None,
            told: false,
            put_out: false,
            waits: None,
            vain: None,
            owed: None,
            collecting: false,
            tries: 0,
            state: Told::default(),
            old: Old::No,
            since: None,
            came: Came::default(),
        });
    }

    pub fn closed(&self, sid: Sid, document: &Document) {
        let mut sessions = self.sessions.borrow_mut();
        if let Some(open) = sessions.get_mut(&sid) {
            open.retain(|editor| editor.id != document.id);
            if open.is_empty() {
                sessions.remove(&sid);
            }
        }
    }

    /// The session is gone.
    pub fn forget(&self, sid: Sid) {
        self.sessions.borrow_mut().remove(&sid);
        self.early.borrow_mut().remove(&sid);
    }

    fn is_early(&self, sid: Sid, document: &Document, cursor: &[u8]) {
        let mut early = self.early.borrow_mut();
        let cursors = early.entry(sid).or_default();
        cursors.retain(|(id, _)| *id != document.id);
        if cursors.len() < MAX_OPEN && cursor.len() <= MOST_EARLY {
            cursors.push((document.id.clone(), cursor.to_vec()));
        }
    }

    fn was_early(&self, sid: Sid, document: &Document) -> Option<Vec<u8>> {
        let mut early = self.early.borrow_mut();
        let cursors = early.get_mut(&sid)?;
        let at = cursors.iter().position(|(id, _)| *id == document.id)?;
        let (_, cursor) = cursors.swap_remove(at);
        if cursors.is_empty() {
            early.remove(&sid);
        }
        Some(cursor)
    }

    /// The session lost its access: it is told so when it goes on.
    pub fn put_out(&self, sid: Sid, document: &Document, program: Program) {
        self.closed(sid, document);
        self.waits(sid, document, program);
        self.with(sid, &document.id, |editor| editor.put_out = true);
    }

    /// The session may not open the document now.
    pub fn waits(&self, sid: Sid, document: &Document, program: Program) {
        let known = self.sessions.borrow().get(&sid).map_or(0, Vec::len);
        if known < MAX_OPEN && self.program(sid, document).is_none() {
            self.opened(sid, document, Some(&Vector::default()), false, false);
            self.with(sid, &document.id, |editor| editor.waits = Some(program));
        }
    }

    /// Those who may not open the document, or could not until now.
    pub fn waiting(&self, document: &Document) -> Vec<(Sid, Program)> {
        let sessions = self.sessions.borrow();
        let waits = |open: &Vec<Editor>| {
            let editor = open.iter().find(|editor| editor.id == document.id);
            editor.and_then(|editor| editor.waits)
        };
        let all = sessions.iter();
        all.filter_map(|(sid, open)| Some((*sid, waits(open)?)))
            .collect()
    }

    /// What the session is; `None` if it has nothing to do with the document.
    pub fn program(&self, sid: Sid, document: &Document) -> Option<Program> {
        self.with(sid, &document.id, |editor| Program {
            syncs: editor.syncs,
            page: editor.page,
        })
    }

    pub fn was_put_out(&self, sid: Sid, document: &Document) -> bool {
        self.with(sid, &document.id, |editor| editor.put_out) == Some(true)
    }

    pub(super) fn with<T>(
        &self,
        sid: Sid,
        id: &str,
        change: impl FnOnce(&mut Editor) -> T,
    ) -> Option<T> {
        let mut sessions = self.sessions.borrow_mut();
        let open = sessions.get_mut(&sid)?;
        open.iter_mut().find(|editor| editor.id == id).map(change)
    }

    /// Whether the session may be asked for this now; then it is, until it is no more.
    fn begin(&self, sid: Sid, id: &str, missing: Id) -> bool {
        let now = Instant::now();
        let begin = self.with(sid, id, |editor| {
            let vain = editor
                .vain
                .is_some_and(|(what, when)| what == missing && now.duration_since(when) < REST);
            let begins = !editor.asked && !vain;
            editor.asked |= begins;
            editor.lacks = Some(missing);
            begins
        });
        begin == Some(true)
    }

    /// Whether the session ever built on something that was not here.
    pub fn lacks(&self, sid: Sid, document: &Document) -> bool {
        self.with(sid, &document.id, |editor| editor.lacks.is_some()) == Some(true)
    }

    /// Whether the session was told of a gap since this was asked last.
    pub fn was_told(&self, sid: Sid, document: &Document) -> bool {
        let told = |editor: &mut Editor| std::mem::take(&mut editor.told);
        self.with(sid, &document.id, told) == Some(true)
    }

    /// Whether the session came with something of the document, or of another one.
    pub fn brings(&self, sid: Sid, document: &Document) -> bool {
        self.with(sid, &document.id, |editor| editor.brings) == Some(true)
    }

    /// The session is sent this state.
    pub fn was_sent(&self, sid: Sid, document: &Document, state: Told) {
        self.with(sid, &document.id, |editor| editor.state = state);
    }

    /// The state that the session was sent last.
    pub fn sent(&self, sid: Sid, document: &Document) -> Option<Told> {
        self.with(sid, &document.id, |editor| editor.state.clone())
    }

    /// What the session has is known to be this; returns what was known before.
    pub fn has(&self, sid: Sid, document: &Document, old: Old) -> Old {
        let set = |editor: &mut Editor| {
            if old == Old::Left {
                editor.state_ends = None;
            }
            std::mem::replace(&mut editor.old, old)
        };
        self.with(sid, &document.id, set).unwrap_or_default()
    }

    /// Whether the session is known to have the last state that it was sent.
    pub fn has_state(&self, sid: Sid, document: &Document, hub: &Hub) -> bool {
        let ends = self.with(sid, &document.id, |editor| editor.state_ends);
        ends.flatten().is_some_and(|mark| hub.has_passed(sid, mark))
    }

    /// Whether it is a page that takes nothing that is typed until it is shown what is there.
    pub fn is_held(&self, sid: Sid, document: &Document) -> bool {
        let held = |editor: &mut Editor| editor.page && editor.old.waits();
        self.with(sid, &document.id, held) == Some(true)
    }

    /// Whether it hears nothing of the document for a while.
    pub fn is_away(&self, sid: Sid, document: &Document) -> bool {
        self.old(sid, document) == Old::Waits
    }

    /// What is known of what the session has.
    pub fn old(&self, sid: Sid, document: &Document) -> Old {
        let old = self.with(sid, &document.id, |editor| editor.old);
        old.unwrap_or_default()
    }
}

impl Documents {
    /// A session's update builds on something that is not here: it is asked for it, and after 2, 4 and 8 s again.
    pub(super) fn close_gap(&'static self, sid: Sid, document: &Document, missing: Id) {
        if !self.gaps.begin(sid, &document.id, missing) {
            return;
        }
        let document = Document::new(&document.id);
        log::debug!("{sid} builds on what {:?} lacks", document.id);
        let ask = async move {
            let mut left = Some(missing);
            let pauses = AGAIN.into_iter().map(Some).chain([None]);
            for pause in pauses {
                left = self.ask(sid, &document).await;
                let (Some(_), Some(pause)) = (left, pause) else {
                    break;
                };
                Timer::after(pause).await;
            }
            self.gaps.with(sid, &document.id, |editor| {
                editor.asked = false;
                editor.vain = left.map(|left| (left, Instant::now()));
            });
        };
        self.gaps.asking.spawn("closes a gap", ask);
    }

    /// Asks a session for what it has and the document lacks, if its gap is still there. Returns what is missing.
    async fn ask(&self, sid: Sid, document: &Document) -> Option<Id> {
        let lacks = self.gaps.with(sid, &document.id, |editor| editor.lacks);
        let missing = lacks.flatten()?;
        // Should nobody be able to tell, it is asked next time.
        let Some(vector) = self.core.documents.vector(&document.id).await else {
            return Some(missing);
        };
        let is_told = !vector.has(missing) && self.tell_of_gap(sid, document, &vector.encode());
        is_told.then_some(missing)
    }

    /// `false` when it does not have the document open any more.
    pub(super) fn tell_of_gap(&self, sid: Sid, document: &Document, vector: &[u8]) -> bool {
        let syncs = self.gaps.with(sid, &document.id, |editor| {
            editor.told = true;
            editor.syncs
        });
        let (Some(syncs), Ok(())) = (syncs, self.check_open(sid, document)) else {
            return false;
        };
        let mut json = format!(r#"{{"document_id":{},"state":[0,0]"#, text(&document.id));
        if syncs {
            json = json + r#","vector":"# + &ints(vector);
        }
        let args = Args::from_json(json + "}");
        self.core.hub.emit(&Target::sid(sid), STATE, &args);
        true
    }

    /// A session waits to open a document, and shows its cursor; a page does that once, so it counts when it is in.
    pub fn show_early(&self, sid: Sid, document: &Document, cursor: &[u8]) {
        self.gaps.is_early(sid, document, cursor);
    }

    /// It is in.
    pub(super) fn greet_early(&'static self, from: &Sender, document: &Document) {
        if let Some(cursor) = self.gaps.was_early(from.sid, document) {
            self.pass_awareness(from, document, &cursor).ok();
        }
    }

    /// A session shows its cursor. The first time, if it is a page that may have been edited while it was away, it is asked.
    pub(super) fn greeted(&'static self, from: &Sender, document: &Document, cursor: &[u8]) {
        let sid = from.sid;
        let first = |editor: &mut Editor| {
            editor.came.stirred = Some(Instant::now());
            !std::mem::replace(&mut editor.greeted, true)
        };
        if self.gaps.with(sid, &document.id, first) != Some(true) {
            return;
        }
        // Pages write cursors as JSON, under the number that their client has in the document.
        let Some(page) = std::str::from_utf8(cursor).ok().and_then(Page::read) else {
            return;
        };
        let old = |editor: &mut Editor| {
            editor.page = true;
            editor.old
        };
        let old = self.gaps.with(sid, &document.id, old);
        self.mark_state(sid, document);
        match old {
            Some(Old::No) => {}
            Some(Old::AskedInVain) if !page.moved => {
                return self.greeted_in_vain(from, document, page.client);
            }
            Some(old) if old.is_asked() => return self.hold(sid, document),
            _ => return,
        }
        let (from, document) = (from.clone(), Document::new(&document.id));
        self.gaps.asking.spawn("greets a page", async move {
            let id = &document.id;
            let Some(vector) = self.core.documents.vector(id).await else {
                return self.owes(&from, &document, Kind::Change);
            };
            let told = vector.encode();
            let away = page.moved || vector.knows(page.client);
            if told.len() > 1 && (away || self.core.documents.size(id) <= SMALL) {
                self.tell_of_gap(sid, &document, &told);
            }
        });
    }

    /// A state was sent to the session, which says what it shows whenever it hears of a change, if it is a page; or which had a document
    /// that has ended.
    pub(super) fn mark_state(&self, sid: Sid, document: &Document) {
        let marks = |editor: &mut Editor| editor.page || editor.old == Old::Left;
        if self.gaps.with(sid, &document.id, marks) == Some(true) {
            let mark = self.core.hub.mark(sid);
            self.gaps
                .with(sid, &document.id, |editor| editor.state_ends = mark);
        }
    }

    /// Whether the session is a page, or had another document, and may not have the state yet.
    pub(super) fn lacks_state(&self, sid: Sid, document: &Document) -> bool {
        let ends = self
            .gaps
            .with(sid, &document.id, |editor| editor.state_ends);
        let ends = ends.flatten();
        ends.is_some_and(|mark| !self.core.hub.has_passed(sid, mark))
    }

    /// A page has sent what the document of a note lacked, without the content that is to be saved: it sends that half a second
    /// after it heard of a change, so it hears of one that changes nothing.
    pub(super) fn ask_for_content(&self, sid: Sid, document: &Document) {
        let page = |editor: &mut Editor| editor.page;
        if document.note().is_some() && self.gaps.with(sid, &document.id, page) == Some(true) {
            self.show_update(sid, document, "[0,0]");
        }
    }

    /// An update that is nobody's, for one session.
    pub(super) fn show_update(&self, sid: Sid, document: &Document, update: &str) {
        let id = text(&document.id);
        let json =
            format!(r#"{{"document_id":{id},"user_id":"","update":{update},"socket_id":""}}"#);
        let args = Args::from_json(json);
        let target = Target::sid(sid);
        self.core.hub.emit(&target, super::broadcast::UPDATE, &args);
    }

    /// An event was emitted to sockets here: a document's update of another instance is stored.
    pub fn emitted(&self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        #[derive(Deserialize)]
        struct Told<'a> {
            #[serde(borrow)]
            update: &'a RawValue,
            #[serde(borrow)]
            socket_id: Option<&'a RawValue>,
        }
        let To::Room(room) = target.to else { return };
        if event != super::broadcast::UPDATE || self.core.peers.is_alone() {
            return;
        }
        let (Some(id), Some(told)) = (rooms::document(room), args.object::<Told<'_>>()) else {
            return;
        };
        let sid = told
            .socket_id
            .and_then(|sid| Sid::parse(sid.get().trim_matches('"')));
        if sid.is_some_and(|sid| self.core.hub.is_connected(sid)) {
            return;
        }
        let update = || read_bytes(told.update.get(), args.attachments());
        self.core.documents.heard(id, update);
    }
}

/// What a page's cursor says of it.
struct Page {
    client: u64,
    /// It was in the text before.
    moved: bool,
}

impl Page {
    fn read(cursor: &str) -> Option<Self> {
        let (client, rest) = cursor.strip_prefix("{\"")?.split_once('"')?;
        Some(Self {
            client: client.parse().ok()?,
            moved: rest.contains("\"cursor\":"),
        })
    }
}

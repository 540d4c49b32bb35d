//! A document's state as those get it who open it or ask for it: what is large of it is written once for all who have not taken
//! it yet.

use super::broadcast::text;
use super::name::Document;
use super::{AWAY, Documents, Opening};
use crate::app::core::{Core, Fault, Sender};
use crate::directory::{Access, NoteView};
use crate::ground::tasks::{LARGE, aside_if};
use crate::peers::documents::bytes::ints;
use crate::peers::documents::vector::Vector;
use crate::peers::documents::{Away, EMPTY, LIGHT, State, Version};
use crate::socket::{Frame, Hub, Sid, Target, event_begins, event_ends, plain_event};
use smol::lock::Mutex;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// The event.
pub const STATE: &str = "ydoc:document:state";

/// Documents whose states are remembered.
const REMEMBERED: usize = 16;

/// States that somebody still has to take.
#[derive(Default)]
pub struct States {
    sent: RefCell<Vec<Sent>>,
    /// Held while a large one is written: whoever wants the same waits for it.
    writing: Mutex<()>,
}

/// What is in the event beside the state.
#[derive(Default)]
pub struct Extra<'a> {
    /// The note's saved content, for who joins.
    pub content: Option<&'a str>,
    /// What is stored without a gap, for who understands it.
    pub vector: Option<Vector>,
    /// The document's epoch, for who may come back with what they have.
    pub epoch: Option<u64>,
}

/// The beginning of the event, up to the end of the state.
struct Sent {
    id: Rc<str>,
    version: Version,
    frame: Weak<Vec<u8>>,
}

/// The event as it is sent: a large state is a frame of its own, for all who get the same one.
pub struct Written {
    shared: Option<Frame>,
    own: Frame,
}

/// What a session was sent last of a document.
#[derive(Clone, Default)]
pub struct Told {
    frame: Weak<Vec<u8>>,
    /// How often its client had been read by then.
    reads: Option<u32>,
}

impl Written {
    pub fn send(&self, hub: &Hub, target: &Target<'_>) {
        for frame in self.shared.iter().chain([&self.own]) {
            hub.emit_encoded(target, STATE, frame);
        }
    }

    /// Its bytes.
    pub fn size(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |frame| frame.len());
        shared + self.own.len()
    }

    /// It is sent to the session.
    pub fn told(&self, hub: &Hub, sid: Sid) -> Told {
        Told {
            frame: Rc::downgrade(&self.own),
            reads: hub.reads(sid),
        }
    }
}

impl Told {
    /// Whether it answers what the session asks for now: that was asked before it was sent, or it was not taken yet. With what
    /// follows it, it is the state now.
    pub fn is_answer(&self, hub: &Hub, sid: Sid) -> bool {
        let waits = || {
            let frame = self.frame.upgrade();
            frame.is_some_and(|frame| hub.holds(sid, &frame))
        };
        self.reads.is_some() && (hub.reads(sid) == self.reads || waits())
    }
}

impl States {
    /// The event `ydoc:document:state` for who has the document open.
    ///
    /// # Errors
    /// Nobody can tell now.
    pub async fn again(&self, core: &Core, document: &Document) -> Result<Written, Away> {
        let tail = tail(core, document, Extra::default()).await;
        let version = core.documents.version(&document.id);
        let shared = version.and_then(|version| self.find(document, version));
        if shared.is_some() {
            let own = event_ends(&tail).into();
            return Ok(Written { shared, own });
        }
        let state = core.documents.state(&document.id).await?;
        Ok(self.write(document, state, tail).await)
    }

    /// The same of a state that is known, with more for who joins or understands it.
    pub async fn event(
        &self,
        core: &Core,
        document: &Document,
        state: Option<State>,
        extra: Extra<'_>,
    ) -> Written {
        let tail = tail(core, document, extra).await;
        self.write(document, state, tail).await
    }

    fn find(&self, document: &Document, version: Version) -> Option<Frame> {
        let sent = self.sent.borrow();
        let mut same = sent
            .iter()
            .filter(|sent| sent.version == version && *sent.id == *document.id);
        same.find_map(|sent| sent.frame.upgrade())
    }

    async fn write(&self, document: &Document, state: Option<State>, tail: String) -> Written {
        let (bytes, version) = match state {
            Some(state) => (state.bytes, state.version),
            None => (EMPTY.to_vec().into(), 0),
        };
        let head = format!(r#"{{"document_id":{},"state":"#, text(&document.id));
        let large = bytes.len() > LIGHT;
        if !large || version == 0 {
            let large = large || tail.len() > LARGE;
            let write = move || plain_event(STATE, [&head, &ints(&bytes), &tail]);
            let own = aside_if(large, write).await.into();
            return Written { shared: None, own };
        }
        let _writing = self.writing.lock().await;
        let shared = match self.find(document, version) {
            Some(frame) => frame,
            None => {
                let write = move || event_begins(STATE, [&head, &ints(&bytes)]);
                let frame = Frame::from(aside_if(true, write).await);
                self.remember(document, version, &frame);
                frame
            }
        };
        let own = aside_if(tail.len() > LARGE, move || event_ends(&tail)).await;
        Written {
            shared: Some(shared),
            own: own.into(),
        }
    }

    fn remember(&self, document: &Document, version: Version, frame: &Frame) {
        let mut sent = self.sent.borrow_mut();
        sent.retain(|sent| sent.frame.strong_count() > 0);
        if sent.len() >= REMEMBERED {
            sent.remove(0);
        }
        sent.push(Sent {
            id: document.id.as_str().into(),
            version,
            frame: Rc::downgrade(frame),
        });
    }
}

/// Sending it.
impl Documents {
    /// To who opens the document: what is there, and what is saved.
    pub(super) async fn send_state_and_content(
        &'static self,
        from: &Sender,
        document: &Document,
        before: Option<NoteView>,
        opening: &Opening,
    ) -> Result<(), Fault> {
        let theirs = opening.vector.as_ref();
        let (mut state, mut ours) = self.state_for(document, theirs).await?;
        self.follow_restored(document);
        let writes = before.as_ref().is_some_and(|v| v.access >= Access::Write);
        // The document may have been saved and cleared while we came in: then what was saved before is old.
        let view = match state {
            None => self.view(from, document).await?,
            Some(_) => before,
        };
        let mut content = view.map(|view| view.content);
        if state.is_none()
            && let Some((note_id, content)) = document.note().zip(content.as_ref())
            && self
                .core
                .documents
                .restore(&document.id, content.get())
                .await
        {
            self.notes.set_based(note_id);
            (state, ours) = self.state_for(document, theirs).await?;
        }
        let asks = self.asks_first(document, opening, writes);
        if asks && state.take().is_some() {
            content = self.view(from, document).await?.map(|view| view.content);
        }
        let content = content.as_ref().map_or("null", |content| content.get());
        let extra = Extra {
            content: Some(content),
            vector: ours,
            epoch: opening
                .epoch
                .and_then(|_| self.core.documents.epoch(&document.id)),
        };
        let state = self.states.event(self.core, document, state, extra);
        self.send_state(from, document, &state.await)?;
        if asks {
            self.was_asked(from, document, content == "null");
        }
        Ok(())
    }

    /// The state, for who says what they have: without that, and with what is stored without a gap.
    pub(super) async fn state_for(
        &self,
        document: &Document,
        theirs: Option<&Vector>,
    ) -> Result<(Option<State>, Option<Vector>), Fault> {
        let documents = &self.core.documents;
        let Some(theirs) = theirs else {
            let state = documents.state(&document.id).await;
            return Ok((state.map_err(|Away| AWAY)?, None));
        };
        // It may be older than the state, never newer: what comes between is sent once more, not never.
        let ours = documents.vector(&document.id).await.ok_or(AWAY)?;
        let state = documents.state(&document.id).await;
        let mut state = state.map_err(|Away| AWAY)?;
        if let Some(State { bytes, version }) = &mut state
            && !theirs.is_empty()
        {
            let (all, theirs) = (bytes.clone(), theirs.clone());
            let rest = move || theirs.rest_of(&all).map_or(all, Arc::new);
            *bytes = aside_if(bytes.len() > LIGHT, rest).await;
            *version = 0;
        }
        Ok((state, Some(ours)))
    }

    /// Sends the state again to who has the document open, without what they have if they say so.
    ///
    /// # Errors
    /// The sender does not have it open, or nobody can tell.
    pub async fn resend_state(
        &self,
        from: &Sender,
        document: &Document,
        theirs: Option<&Vector>,
    ) -> Result<(), Fault> {
        self.check_open(from.sid, document)?;
        // It is shown what is there as soon as it may be.
        if self.gaps.is_held(from.sid, document) {
            return Ok(());
        }
        let last = self.gaps.sent(from.sid, document);
        if last.is_some_and(|last| last.is_answer(&self.core.hub, from.sid)) {
            return Ok(());
        }
        let state = match theirs {
            None => self.states.again(self.core, document).await,
            Some(_) => {
                let (state, vector) = self.state_for(document, theirs).await?;
                let extra = Extra {
                    vector,
                    ..Extra::default()
                };
                let state = self.states.event(self.core, document, state, extra);
                Ok(state.await)
            }
        };
        self.send_state(from, document, &state.map_err(|Away| AWAY)?)
    }

    pub(super) fn send_state(
        &self,
        from: &Sender,
        document: &Document,
        state: &Written,
    ) -> Result<(), Fault> {
        self.check_open(from.sid, document)?;
        let hub = &self.core.hub;
        state.send(hub, &Target::sid(from.sid));
        let told = state.told(hub, from.sid);
        self.gaps.was_sent(from.sid, document, told);
        self.mark_state(from.sid, document);
        self.core.pay_for_bytes(from.sid, state.size());
        Ok(())
    }
}

/// What follows the state in the event.
async fn tail(
    core: &Core,
    document: &Document,
    Extra {
        content,
        vector,
        epoch,
    }: Extra<'_>,
) -> String {
    let sessions = core.documents.users(&document.id).await;
    let sessions: Vec<&str> = sessions.iter().map(Sid::as_str).collect();
    let mut tail = format!(r#","sessions":{}"#, text(&sessions));
    if let Some(content) = content {
        tail.push_str(r#","content":"#);
        tail.push_str(content);
    }
    if let Some(vector) = vector {
        tail.push_str(r#","vector":"#);
        tail.push_str(&ints(&vector.encode()));
    }
    if let Some(epoch) = epoch {
        tail.push_str(&format!(r#","epoch":{epoch}"#));
    }
    tail.push('}');
    tail
}

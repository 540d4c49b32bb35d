//! A document's state as those get it who open it or ask for it: written once for all who have not taken it yet.

use super::broadcast::text;
use super::name::Document;
use crate::app::core::Core;
use crate::ground::tasks::aside_if;
use crate::peers::documents::bytes::ints;
use crate::peers::documents::vector::Vector;
use crate::peers::documents::{Away, EMPTY, LIGHT, State, Version};
use crate::socket::{Frame, Sid, plain_event};
use smol::lock::Mutex;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// The event.
pub const STATE: &str = "ydoc:document:state";

/// Documents whose states are remembered.
const REMEMBERED: usize = 16;

/// Bytes behind the state that may be compared.
const SHORT: usize = 4096;

/// States that somebody still has to take.
#[derive(Default)]
pub struct States {
    sent: RefCell<Vec<Sent>>,
    /// The last state that each session was sent of a document, while it waits for somebody.
    told: RefCell<Vec<Told>>,
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

/// What a session was sent last of a document.
struct Told {
    sid: Sid,
    id: Rc<str>,
    frame: Weak<Vec<u8>>,
}

impl Told {
    fn is(&self, sid: Sid, document: &Document) -> bool {
        self.sid == sid && *self.id == *document.id
    }
}

struct Sent {
    id: String,
    version: Version,
    /// What follows the state in the event.
    tail: String,
    frame: Weak<Vec<u8>>,
}

impl States {
    /// The event `ydoc:document:state` for who has the document open.
    ///
    /// # Errors
    /// Nobody can tell now.
    pub async fn again(&self, core: &Core, document: &Document) -> Result<Frame, Away> {
        let tail = tail(core, document, Extra::default()).await;
        if let Some(frame) = self.find(core, document, &tail) {
            return Ok(frame);
        }
        let _writing = self.writing.lock().await;
        if let Some(frame) = self.find(core, document, &tail) {
            return Ok(frame);
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
    ) -> Frame {
        let tail = tail(core, document, extra).await;
        self.write(document, state, tail).await
    }

    /// The session is sent this state.
    pub fn sent_to(&self, sid: Sid, document: &Document, state: &Frame) {
        let mut told = self.told.borrow_mut();
        told.retain(|told| told.frame.strong_count() > 0 && !told.is(sid, document));
        told.push(Told {
            sid,
            id: document.id.as_str().into(),
            frame: Rc::downgrade(state),
        });
    }

    /// Whether the session has not taken the last state of the document yet: with what follows it, that is the state now.
    pub fn is_unread(&self, core: &Core, sid: Sid, document: &Document) -> bool {
        let told = self.told.borrow();
        let last = told.iter().find(|told| told.is(sid, document));
        let frame = last.and_then(|told| told.frame.upgrade());
        frame.is_some_and(|frame| core.hub.holds(sid, &frame))
    }

    fn find(&self, core: &Core, document: &Document, tail: &str) -> Option<Frame> {
        let version = core.documents.version(&document.id)?;
        let sent = self.sent.borrow();
        let mut same = sent
            .iter()
            .filter(|sent| sent.version == version && sent.id == document.id && sent.tail == tail);
        same.find_map(|sent| sent.frame.upgrade())
    }

    async fn write(&self, document: &Document, state: Option<State>, tail: String) -> Frame {
        let (bytes, version) = match state {
            Some(state) => (state.bytes, state.version),
            None => (EMPTY.to_vec(), 0),
        };
        let head = format!(r#"{{"document_id":{},"state":"#, text(&document.id));
        let large = bytes.len() + tail.len() > LIGHT;
        let write = move || {
            let frame = plain_event(STATE, [&head, &ints(&bytes), &tail]);
            (frame, tail)
        };
        let (frame, tail) = aside_if(large, write).await;
        let frame = Frame::from(frame);
        if large && tail.len() <= SHORT {
            self.remember(Sent {
                id: document.id.clone(),
                version,
                tail,
                frame: Rc::downgrade(&frame),
            });
        }
        frame
    }

    fn remember(&self, state: Sent) {
        let mut sent = self.sent.borrow_mut();
        sent.retain(|sent| sent.frame.strong_count() > 0);
        if sent.len() >= REMEMBERED {
            sent.remove(0);
        }
        sent.push(state);
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

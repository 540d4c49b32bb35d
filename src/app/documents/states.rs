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
    /// Held while a large one is written: whoever wants the same waits for it.
    writing: Mutex<()>,
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
        let tail = tail(core, document, None, None).await;
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

    /// The same of a state that is known, with `content` for who joins, and what is there without a gap for who
    /// understands it.
    pub async fn event(
        &self,
        core: &Core,
        document: &Document,
        state: Option<State>,
        content: Option<&str>,
        vector: Option<Vector>,
    ) -> Frame {
        let tail = tail(core, document, content, vector).await;
        self.write(document, state, tail).await
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
    content: Option<&str>,
    vector: Option<Vector>,
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
    tail.push('}');
    tail
}

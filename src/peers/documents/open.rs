//! Which documents each session of this instance has open.

use super::MAX_OPEN;
use crate::socket::Sid;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// By session: one rarely has more than one document open.
#[derive(Default)]
pub struct Open {
    sessions: RefCell<HashMap<Sid, Vec<Rc<str>>>>,
}

/// What became of opening a document.
pub enum Entered {
    /// The session has as many open as it may.
    Full,
    /// It had this one open before.
    Before,
    /// It has it open now. The document's id, to be shared.
    Now(Rc<str>),
}

impl Open {
    pub fn enter(&self, id: &str, sid: Sid) -> Entered {
        let mut sessions = self.sessions.borrow_mut();
        let open = sessions.entry(sid).or_default();
        if open.iter().any(|known| **known == *id) {
            return Entered::Before;
        }
        if open.len() >= MAX_OPEN {
            return Entered::Full;
        }
        let id: Rc<str> = id.into();
        open.push(id.clone());
        Entered::Now(id)
    }

    pub fn leave(&self, id: &str, sid: Sid) {
        let mut sessions = self.sessions.borrow_mut();
        if let Some(open) = sessions.get_mut(&sid) {
            open.retain(|known| **known != *id);
            if open.is_empty() {
                sessions.remove(&sid);
            }
        }
    }

    pub fn is_open(&self, id: &str, sid: Sid) -> bool {
        let sessions = self.sessions.borrow();
        let open = sessions.get(&sid);
        open.is_some_and(|open| open.iter().any(|known| **known == *id))
    }

    /// What the session has open.
    pub fn of(&self, sid: Sid) -> Vec<Rc<str>> {
        let sessions = self.sessions.borrow();
        sessions.get(&sid).cloned().unwrap_or_default()
    }

    /// The sessions that have the document open.
    #[cfg_attr(not(feature = "redis"), expect(dead_code))]
    pub fn sessions(&self, id: &str) -> Vec<Sid> {
        let sessions = self.sessions.borrow();
        let has = |open: &[Rc<str>]| open.iter().any(|known| **known == *id);
        let these = sessions.iter().filter(|(_, open)| has(open));
        these.map(|(sid, _)| *sid).collect()
    }

    /// Every document of every session.
    #[cfg_attr(not(feature = "redis"), expect(dead_code))]
    pub fn all(&self) -> Vec<(Rc<str>, Sid)> {
        let sessions = self.sessions.borrow();
        let each = |(sid, open): (&Sid, &Vec<Rc<str>>)| {
            let sid = *sid;
            open.clone().into_iter().map(move |id| (id, sid))
        };
        sessions.iter().flat_map(each).collect()
    }
}

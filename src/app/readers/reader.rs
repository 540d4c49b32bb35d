//! One who reads an answer: what waits to be sent, as server-sent events (HTML standard, 9.2).

use crate::directory::Identity;
use crate::ground::clock::{has_come, instant_of};
use crate::ground::tasks::Bell;
use crate::socket::Offset;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Who reads, in one request.
pub struct Reader {
    /// Whose token was shown; nobody's: the key.
    pub who: Option<Rc<Identity>>,
    /// When the token expires, however the time of day is set.
    expires: Option<Instant>,
    /// What is not sent yet, and how much of it there may be.
    text: RefCell<String>,
    most: Cell<usize>,
    ended: Cell<bool>,
    bell: Bell,
}

impl Reader {
    pub fn new(who: Option<Rc<Identity>>) -> Rc<Self> {
        Rc::new(Self {
            expires: who.as_ref().and_then(|who| instant_of(who.claims.exp?)),
            who,
            text: RefCell::default(),
            most: Cell::new(usize::MAX),
            ended: Cell::default(),
            bell: Bell::default(),
        })
    }

    /// Whether the token that was shown is over.
    pub fn is_expired(&self) -> bool {
        has_come(self.expires)
    }

    /// Sends an event; `name`, unless it is one of the answer's. Who is too slow for it is cut off, and may come back for it.
    pub fn add(&self, number: Option<u64>, name: &str, data: &str) {
        let mut text = self.text.borrow_mut();
        if self.ended.get() {
            return;
        }
        if text.len() + data.len() > self.most.get().max(data.len()) {
            text.clear();
            drop(text);
            return self.end();
        }
        if !name.is_empty() {
            text.extend(["event: ", name, "\n"]);
        }
        if let Some(number) = number {
            text.extend(["id: ", Offset::of(number).as_str(), "\n"]);
        }
        text.push_str("data: ");
        // Line ends stand between values alone: within texts they are escaped.
        for (n, line) in data.split(['\n', '\r']).enumerate() {
            text.extend([if n == 0 { "" } else { " " }, line]);
        }
        text.push_str("\n\n");
        drop(text);
        self.bell.ring();
    }

    /// What waits now was there when it came; beside it so many bytes may wait.
    pub fn began(&self, most: usize) {
        self.most.set(self.text.borrow().len() + most);
    }

    /// Nothing follows what waits.
    pub fn end(&self) {
        self.ended.set(true);
        self.bell.ring();
    }

    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// What waits, once something does; `None`: that was all.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Option<String>> {
        self.bell.poll(cx, || {
            let text = self.text.take();
            match text.is_empty() {
                false => Some(Some(text)),
                true => self.ended.get().then_some(None),
            }
        })
    }
}

//! Sessions that are on their way here, how far, and those that are offered to others.

use super::said::Nonce;
use crate::ground::random;
use crate::ground::tasks::Bell;
use crate::socket::Sid;
use crate::token::Key;
use smol::channel::{Receiver, Sender, bounded};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

/// Sessions that may be on their way here, and offers that are remembered.
const MOST: usize = 256;
/// Events that may be left out of what follows.
const MOST_LEFT_OUT: usize = 4096;

/// Why a session can't be had.
pub type Why = &'static str;

/// How far a session is on its way here.
#[derive(Clone, Copy, PartialEq)]
pub enum Stage {
    /// It is looked for.
    Asked,
    /// It was found.
    Offered,
    /// It is being asked for, and others have not got that question yet.
    Asking,
    /// The others have.
    Taken,
    /// It is ours, and its instance emits nothing more that it gets there.
    Marked,
}

/// A session on its way here.
pub struct Coming {
    pub id: u64,
    pub sid: Sid,
    pub pid: String,
    pub stage: Stage,
    /// How many others there are that have not said that they don't have it.
    pub others: u64,
    pub host: String,
    pub nonce: Nonce,
    pub left_out: Vec<u64>,
    pub answer: Sender<Result<Vec<u8>, Why>>,
}

/// Whoever waits for it. Dropped, nobody does.
pub struct Waiting {
    pub id: u64,
    pub sid: Sid,
    pub answer: Receiver<Result<Vec<u8>, Why>>,
    pub moves: Rc<Moves>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.moves.end(self.id);
    }
}

/// Sessions that come and go.
pub struct Moves {
    pub key: Arc<Key>,
    /// Told of each session that has gone to another instance.
    pub gone: Box<dyn Fn(Sid)>,
    /// Rung when one was asked for, and is not here any more.
    pub given: Bell,
    last: Cell<u64>,
    coming: RefCell<Vec<Coming>>,
    offered: RefCell<VecDeque<(Sid, Nonce)>>,
}

impl Moves {
    pub fn new(key: Key, gone: impl Fn(Sid) + 'static) -> Rc<Self> {
        Rc::new(Self {
            key: Arc::new(key),
            gone: Box::new(gone),
            given: Bell::default(),
            last: Cell::default(),
            coming: RefCell::default(),
            offered: RefCell::default(),
        })
    }

    /// Begins to look for the session of this private id; not if it is looked for, or too many are.
    pub fn open(self: &Rc<Self>, pid: &str) -> Option<Waiting> {
        let sid = Sid::parse(pid.get(..20)?)?;
        let mut coming = self.coming.borrow_mut();
        if coming.len() >= MOST || coming.iter().any(|coming| coming.sid == sid) {
            return None;
        }
        let id = self.last.get() + 1;
        self.last.set(id);
        let (sender, answer) = bounded(2);
        coming.push(Coming {
            id,
            sid,
            pid: pid.to_owned(),
            stage: Stage::Asked,
            others: 0,
            host: String::new(),
            nonce: Nonce::default(),
            left_out: Vec::new(),
            answer: sender,
        });
        let moves = self.clone();
        Some(Waiting {
            id,
            sid,
            answer,
            moves,
        })
    }

    /// Looks at one, if it still is on its way.
    pub fn with<T>(&self, id: u64, what: impl FnOnce(&mut Coming) -> T) -> Option<T> {
        let mut all = self.coming.borrow_mut();
        all.iter_mut().find(|coming| coming.id == id).map(what)
    }

    /// It comes no more, or is here: what was to be left out of what follows.
    pub fn end(&self, id: u64) -> Option<Coming> {
        let mut all = self.coming.borrow_mut();
        let at = all.iter().position(|coming| coming.id == id)?;
        Some(all.swap_remove(at))
    }

    /// Whether a session that comes gets an event of this instance from where it was.
    fn leaves_out(coming: &Coming, host: Option<&str>) -> bool {
        match coming.stage {
            Stage::Asked | Stage::Offered => false,
            Stage::Asking => true,
            Stage::Taken => host == Some(&*coming.host),
            Stage::Marked => false,
        }
    }

    /// Whether there is one of which that is so.
    pub fn left_out_of(&self, host: Option<&str>) -> bool {
        let all = self.coming.borrow();
        all.iter().any(|coming| Self::leaves_out(coming, host))
    }

    /// An event of this instance has these numbers here. `None`: it may be emitted later.
    pub fn leave_out(&self, host: Option<&str>, numbers: Option<RangeInclusive<u64>>) {
        let mut all = self.coming.borrow_mut();
        let those = all
            .iter_mut()
            .filter(|coming| Self::leaves_out(coming, host));
        for coming in those {
            match numbers.clone() {
                Some(numbers) if coming.left_out.len() < MOST_LEFT_OUT => {
                    coming.left_out.extend(numbers);
                }
                _ => drop(coming.answer.try_send(Err("gap"))),
            }
        }
    }

    /// Whether a session is on its way here, and is still asked what it is asked where it was.
    pub fn is_asked_elsewhere(&self, sid: &str) -> bool {
        let all = self.coming.borrow();
        all.iter()
            .any(|c| c.sid.as_str() == sid && matches!(c.stage, Stage::Offered | Stage::Asking))
    }

    /// Remembers that a session was offered: what only this offer says.
    pub fn offers(&self, sid: Sid) -> Nonce {
        let nonce = random::bytes();
        let mut offered = self.offered.borrow_mut();
        if offered.len() >= MOST {
            offered.pop_front();
        }
        offered.push_back((sid, nonce));
        nonce
    }

    /// Whether it was offered so, and not taken.
    pub fn was_offered(&self, sid: Sid, nonce: Nonce) -> bool {
        let mut offered = self.offered.borrow_mut();
        let at = offered.iter().position(|known| *known == (sid, nonce));
        at.and_then(|at| offered.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_emitted_before_is_left_out_and_an_offer_is_good_once() {
        let moves = Moves::new(Key::new("secret"), |_| ());
        let pid = Sid::random().as_str().repeat(2);
        let waiting = moves.open(&pid).unwrap();
        assert!(moves.open(&pid).is_none(), "one at a time");
        let at = |stage| {
            moves.with(waiting.id, |coming| {
                coming.stage = stage;
                coming.host = "a".into();
            });
            [Some("a"), Some("c"), None].map(|host| {
                moves.leave_out(host, Some(1..=1));
                let left_out = moves.with(waiting.id, |c| std::mem::take(&mut c.left_out));
                assert_eq!(!left_out.unwrap().is_empty(), moves.left_out_of(host));
                moves.left_out_of(host)
            })
        };
        assert_eq!(at(Stage::Asked), [false; 3]);
        assert_eq!(at(Stage::Offered), [false; 3]);
        assert_eq!(at(Stage::Asking), [true; 3]);
        assert_eq!(at(Stage::Taken), [true, false, false]);
        assert_eq!(at(Stage::Marked), [false; 3]);
        at(Stage::Asking);
        moves.leave_out(None, Some(1..=MOST_LEFT_OUT as u64 + 5));
        moves.leave_out(None, Some(1..=1));
        assert_eq!(waiting.answer.try_recv(), Ok(Err("gap")));
        drop(waiting);
        let sid = Sid::random();
        let nonce = moves.offers(sid);
        assert!(!moves.was_offered(Sid::random(), nonce) && !moves.was_offered(sid, [0; 16]));
        assert!(moves.was_offered(sid, nonce) && !moves.was_offered(sid, nonce));
        for _ in 0..2 * MOST {
            moves.offers(sid);
        }
        assert_eq!(moves.offered.borrow().len(), MOST);
        let all: Vec<_> = (0..2 * MOST)
            .filter_map(|_| moves.open(&Sid::random().as_str().repeat(2)))
            .collect();
        assert_eq!(all.len(), MOST);
        drop(all);
        assert!(moves.coming.borrow().is_empty());
    }
}

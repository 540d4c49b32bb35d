//! One budget for all input that has begun and is not finished: frames, fragments, attachments, bodies, heads.
//!
//! Who has something unfinished has a part of the budget. Over the budget the largest part of a stranger is ended first, until
//! there is room or no stranger has any. Who has signed in is never ended for it: one with more than [`SMALL`] is not read
//! until there is room, but for the oldest, so that one always gets on. What is whole counts on, as its handler's, until it is
//! handled: before that nobody gets the oldest's room. What ends anybody is a trickle: a part may take
//! [`GRACE`] (who has signed in: twice that) and a second for each [`RATE`] bytes of it; while it is not read the clock stands.

mod ledger;
#[cfg(test)]
mod tests;

use super::Reactor;
use crate::ground::tasks::{Single, Tasks};
use ledger::{Ledger, Told};
use smol::Timer;
use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What a part may have without ever waiting: one read.
pub const SMALL: usize = 16 * 1024;

/// How long a message may take to arrive, and how many bytes of it make that a second longer.
pub(super) const GRACE: Duration = Duration::from_secs(30);
pub(super) const RATE: usize = 4096;

/// The budget until another one is set, and the largest message.
const LIMIT: usize = 64 << 20;
const LARGEST: usize = 16 << 20;

/// Why what was unfinished is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It came too slowly.
    Late,
    /// There was no room, and others had less.
    Crowded,
}

/// What is to be done after a part has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Read on.
    Some,
    /// Read no more until told to go on.
    None,
    /// What has come is to be dropped.
    Ended(Ended),
}

/// Who is served in turns and has something unfinished.
pub trait Begins {
    fn is_signed_in(&self) -> bool;
    /// Whether it is read at the moment; if not, it can't finish.
    fn is_read(&self) -> bool;
    /// There is room again.
    fn go_on(&self);
    /// What has come is to be dropped.
    fn end(self: Rc<Self>, why: Ended);
}

/// Whose a part is.
#[derive(Clone)]
pub enum Owner {
    /// A task of somebody who has shown nothing yet.
    Stranger,
    /// A task of somebody who may be here.
    Known,
    /// The same, and it may take its time.
    Stream,
    /// A handler that waits with what has come: only counted. Made by [`Unfinished::hand_over`].
    Handler,
    Served(Weak<dyn Begins>),
}

/// The budget of this thread.
pub struct InputBudget {
    ledger: RefCell<Ledger>,
    /// Ends what is late; runs while there is something unfinished.
    watch: Single,
    tasks: RefCell<Option<Tasks>>,
    ended: Cell<u64>,
}

thread_local! {
    static CURRENT: InputBudget = InputBudget {
        ledger: RefCell::new(Ledger::new(LIMIT, LARGEST)),
        watch: Single::default(),
        tasks: RefCell::default(),
        ended: Cell::default(),
    };
}

impl InputBudget {
    /// Sets the budget's bytes, of which those of one largest message are kept for the oldest of those who have signed in;
    /// `tasks` run what ends the late.
    pub fn start(tasks: Tasks, bytes: usize, largest: usize) {
        CURRENT.with(|budget| {
            budget.ledger.borrow_mut().set_limit(bytes, largest);
            *budget.tasks.borrow_mut() = Some(tasks);
        });
    }

    /// Bytes in use.
    pub fn used() -> usize {
        CURRENT.with(|budget| budget.ledger.borrow().used())
    }

    /// Whether there is more than the budget: what can't wait is to be refused.
    pub fn is_over() -> bool {
        CURRENT.with(|budget| budget.ledger.borrow().is_over())
    }

    /// How often something was ended.
    pub fn ended() -> u64 {
        CURRENT.with(|budget| budget.ended.get())
    }

    /// Changes the ledger, then tells whom it concerns.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger, Instant) -> T) -> T {
        let (result, told) = {
            let mut ledger = self.ledger.borrow_mut();
            // The beginning of the turn is close enough to now, and asks no clock; at the thread's end there is none.
            let mut now = None;
            Reactor::try_with(|reactor| now = Some(reactor.turns().began()));
            let now = now.unwrap_or_else(Instant::now);
            (change(&mut ledger, now), ledger.take_told())
        };
        told.into_iter().for_each(|told| match told {
            Told::Ended(waker, owner, why) => {
                self.ended.set(self.ended.get() + 1);
                waker.into_iter().for_each(Waker::wake);
                owner.into_iter().for_each(|owner| owner.end(why));
            }
            Told::Room(waker, owner) => {
                waker.into_iter().for_each(Waker::wake);
                owner.into_iter().for_each(|owner| owner.go_on());
            }
        });
        result
    }

    /// Ends the late, until nothing is unfinished. What begins meanwhile is not due before it looks again.
    async fn end_late() {
        let look = || CURRENT.with(|budget| budget.change(|ledger, now| ledger.end_late(now)));
        while let Some(due) = look() {
            Timer::at(due.min(Instant::now() + GRACE)).await;
        }
    }
}

/// A part of the budget, given back when dropped. It has no bytes until [`Unfinished::hold`].
pub struct Unfinished(NonZeroU32);

impl Unfinished {
    pub fn begin(owner: Owner) -> Self {
        CURRENT.with(|budget| {
            let key = budget.change(|ledger, now| ledger.begin(owner, now));
            if let Some(tasks) = &*budget.tasks.borrow() {
                let name = "ends late input";
                budget.watch.start(tasks, name, InputBudget::end_late);
            }
            Self(key)
        })
    }

    /// So many bytes are unfinished now.
    pub fn hold(&self, bytes: usize) -> Room {
        CURRENT.with(|budget| budget.change(|ledger, now| ledger.hold(self.0, bytes, now)))
    }

    /// The same for a task, which is woken when there is room, and at the end.
    ///
    /// # Errors
    /// What has come is to be dropped.
    pub fn poll_hold(&self, bytes: usize, cx: &Context<'_>) -> Poll<Result<(), Ended>> {
        let room = self.hold(bytes);
        CURRENT.with(|budget| {
            let waker = cx.waker().clone();
            budget.ledger.borrow_mut().set_waker(self.0, waker);
        });
        match room {
            Room::Some => Poll::Ready(Ok(())),
            Room::None => Poll::Pending,
            Room::Ended(why) => Poll::Ready(Err(why)),
        }
    }

    /// So many bytes are a handler's from now on, those of `from` first. `None`: they are too few to be counted.
    pub fn hand_over(from: Option<&Self>, bytes: usize) -> Option<Self> {
        let from = from.map(|from| from.0);
        let hand_over = |ledger: &mut Ledger, now| Self(ledger.hand_over(from, bytes, now));
        (bytes > SMALL).then(|| CURRENT.with(|budget| budget.change(hand_over)))
    }

    /// What a handler held is unfinished all the same: somebody's again.
    pub fn give_back(self, to: Owner) -> Self {
        CURRENT.with(|budget| budget.change(|ledger, now| ledger.give_back(self.0, to, now)));
        self
    }

    /// A message has ended, and what is unfinished now is the next: its clock starts.
    pub fn begin_next(&self) {
        CURRENT.with(|budget| budget.change(|ledger, now| ledger.begin_next(self.0, now)));
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // At the thread's end the budget may have gone first.
        let _ = CURRENT.try_with(|budget| budget.change(|ledger, _| ledger.close(self.0)));
    }
}

/// Makes room for more bytes, in steps that grow, so that what is reserved is never much more than what has come.
pub fn grow(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more.max(bytes.len() / 2));
    }
}

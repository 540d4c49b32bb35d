//! A session's part of the budget for input: what it has begun, and whether it has signed in.

use super::session::{Closed, Session};
use crate::ground::net::Hold;
use crate::ground::net::input::{Begins, Ended, InputBudget, Owner, Room, Unfinished};
use std::rc::Rc;
use std::task::{Context, Poll};

impl Session {
    /// Somebody has signed in here, or has gone: who has not may send small messages only, and is the first to go when
    /// there is no room.
    pub fn set_signed_in(&self, signed_in: bool) {
        self.signed_in.set(signed_in);
    }

    /// So many bytes of a message that is not whole yet are held by the layer above.
    pub fn set_gathered(&self, bytes: usize) {
        self.gathered.set(bytes.try_into().unwrap_or(u32::MAX));
    }

    /// So many bytes of input are unfinished here now, beside those that the layer above holds.
    pub(super) fn hold_input(self: &Rc<Self>, bytes: usize) -> Room {
        self.with_part(bytes, |part, total| part.hold(total))
            .unwrap_or(Room::Some)
    }

    /// The same for a task, which is woken when there is room, and at the end.
    pub(super) fn poll_hold_input(
        self: &Rc<Self>,
        bytes: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Ended>> {
        self.with_part(bytes, |part, total| part.poll_hold(total, cx))
            .unwrap_or_else(|| Poll::Ready(Err(self.why_over())))
    }

    fn why_over(&self) -> Ended {
        match self.end.get() {
            Some(Closed::Crowded) => Ended::Crowded,
            _ => Ended::Late,
        }
    }

    fn owner(self: &Rc<Self>) -> Owner {
        let begins: Rc<dyn Begins> = self.clone();
        Owner::Served(Rc::downgrade(&begins))
    }

    /// `None` when there is no part to be had: nothing is unfinished, or the session is over.
    fn with_part<T>(
        self: &Rc<Self>,
        bytes: usize,
        hold: impl FnOnce(&Unfinished, usize) -> T,
    ) -> Option<T> {
        let part = self.unfinished.take();
        let total = bytes + self.gathered();
        if total == 0 || self.is_over() {
            return None;
        }
        let part = part.unwrap_or_else(|| Unfinished::begin(self.owner()));
        let held = hold(&part, total);
        self.unfinished.set(Some(part));
        Some(held)
    }

    /// Bytes that the layer above has gathered of a message that is not whole.
    pub(super) fn gathered(&self) -> usize {
        self.gathered.get() as usize
    }

    /// So many bytes of what has come here are a handler's while it waits. A stranger for whose there is no room is ended.
    pub(super) fn hand_over(self: &Rc<Self>, bytes: usize) -> Option<Unfinished> {
        let part = self.unfinished.take();
        let held = Unfinished::hand_over(part.as_ref(), bytes);
        self.unfinished.set(part);
        if held.is_some() && !self.signed_in.get() && InputBudget::is_over() {
            self.doom(Closed::Crowded);
        }
        held
    }

    /// What a handler held is done with; `count` counts anew if the layer above has gathered some of it.
    pub(super) fn handled(
        self: &Rc<Self>,
        held: Option<Unfinished>,
        count: impl FnOnce(&Rc<Self>),
    ) {
        let gathered = held.filter(|_| self.gathered() > 0);
        if let Some(held) = gathered {
            let other = self.unfinished.replace(Some(held.give_back(self.owner())));
            count(self);
            drop(other);
        }
    }

    /// A message has been handled: what follows it has a clock of its own.
    pub(super) fn message_done(&self) {
        if self.gathered.get() == 0
            && let Some(part) = self.unfinished.take()
        {
            part.begin_next();
            self.unfinished.set(Some(part));
        }
    }
}

impl Begins for Session {
    fn is_signed_in(&self) -> bool {
        self.signed_in.get()
    }

    fn is_read(&self) -> bool {
        match &*self.wire.borrow() {
            Some(wire) => !wire.socket.is_held(),
            None => !self.handling.get(),
        }
    }

    fn go_on(&self) {
        self.let_go(Hold::Crowded);
    }

    fn end(self: Rc<Self>, why: Ended) {
        drop(self.input.take());
        self.doom(match why {
            Ended::Late => Closed::Late,
            Ended::Crowded => Closed::Crowded,
        });
    }
}

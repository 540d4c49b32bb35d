//! Our thread's one epoll: where it waits, who is ready, and in which order they are served.
//!
//! Everything is registered once, edge-triggered; what is ready is kept in flags, so that a connection which is not to
//! be read for now loses no edge. Who is served, and not a task, takes its turn in a list: each in the list is served once
//! before any is served again. async-io's own thread wakes ours through the bell.

use super::bell::Bell;
use super::turns::Turns;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Events taken at once, and connections served between two looks at the epoll.
const ROUND: usize = 256;

/// How long those who are ready are served before what waits is written and the tasks have their turn.
const SERVE_TIME: Duration = Duration::from_millis(4);

/// How long writing what waits may take before the others have their turn again, and after how many, or how many bytes, it is
/// looked at.
const FLUSH_TIME: Duration = Duration::from_millis(2);
const FLUSHES: usize = 32;
const FLUSHED: usize = 128 << 10;

/// There may be something to read.
const READABLE: u16 = 1;
/// The kernel may take something.
const WRITABLE: u16 = 2;
/// The end of the stream, an error or an urgent byte has come: a short read does not mean that nothing is left.
const ENDING: u16 = 4;
/// In the ready list.
const LISTED: u16 = 8;
/// What was read is not handled to its end.
const MORE: u16 = 16;
/// It is not read: a handler waits for something.
const WAITS: u16 = 32;
/// It is not read: what was written to it is not taken by the kernel.
const FULL: u16 = 64;
/// It is not read: it has sent more than it may.
const PAUSED: u16 = 128;
/// It is not read: there is no room for what has begun.
const CROWDED: u16 = 512;
const HELD: u16 = WAITS | FULL | PAUSED | CROWDED;
/// The other side has closed, at least for what it sends, whether or not all that it sent is read.
const ENDED: u16 = 256;

const INTEREST: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI)
    .union(EventFlags::ET);
const ENDS: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);
/// The bell's place.
const BELL: u64 = u64::MAX;

/// A connection that is served in turns, without a task. Called without any borrow of the reactor held.
pub trait Serve {
    /// Its turn: it reads once and handles a share of it.
    fn turn(self: Rc<Self>);
    /// The kernel takes bytes again.
    fn writable(self: Rc<Self>);
    /// The end of a round in which [`Reactor::flush_later`] was called.
    fn flush(self: Rc<Self>);
}

enum Who {
    /// Tasks that wait: to read, to write, for the end. Boxed, since most are served in turns and have none.
    Tasks(Box<[Option<Waker>; 3]>),
    Served(Rc<dyn Serve>),
    /// Closed while it was in the list: the place is free when the list has passed it.
    Closed,
}

struct Slot {
    generation: u32,
    flags: u16,
    who: Who,
}

/// A registered descriptor's place, and a number that no later one in that place has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    slot: u32,
    generation: u32,
}

/// The direction that a task waits for.
#[derive(Clone, Copy)]
pub enum Direction {
    Read = 0,
    Write = 1,
}

/// The place of whoever waits for the end.
const END: usize = 2;

impl Direction {
    fn flag(self) -> u16 {
        match self {
            Self::Read => READABLE,
            Self::Write => WRITABLE,
        }
    }
}

/// Why a connection is not read.
#[derive(Clone, Copy)]
pub enum Hold {
    Waits = WAITS as isize,
    Full = FULL as isize,
    Paused = PAUSED as isize,
    Crowded = CROWDED as isize,
}

pub struct Reactor {
    epoll: OwnedFd,
    bell: Arc<Bell>,
    slots: RefCell<Slab<Slot>>,
    generation: Cell<u32>,
    ready: RefCell<VecDeque<u32>>,
    dirty: RefCell<VecDeque<Rc<dyn Serve>>>,
    /// Bytes that were written since the time was looked at.
    written: Cell<usize>,
    events: Cell<Vec<Event>>,
    turns: Turns,
}

thread_local! {
    static CURRENT: Rc<Reactor> = Rc::new(Reactor::new().expect("the system has an epoll and an eventfd"));
}

impl Reactor {
    /// This thread's reactor.
    pub fn current() -> Rc<Self> {
        CURRENT.with(Rc::clone)
    }

    /// The same for one call.
    pub fn with<T>(call: impl FnOnce(&Self) -> T) -> T {
        CURRENT.with(|reactor| call(reactor))
    }

    /// The same, unless the thread is about to end.
    pub(super) fn try_with(call: impl FnOnce(&Self)) {
        let _ = CURRENT.try_with(|reactor| call(reactor));
    }

    fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = Bell::new()?;
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, bell.descriptor(), EventData::new_u64(BELL), edges)?;
        Ok(Self {
            epoll,
            bell: Arc::new(bell),
            slots: RefCell::default(),
            generation: Cell::default(),
            ready: RefCell::default(),
            dirty: RefCell::default(),
            written: Cell::default(),
            events: Cell::new(Vec::with_capacity(ROUND)),
            turns: Turns::new(),
        })
    }

    /// What wakes this thread, from whichever thread.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// How long one thing keeps the thread busy.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Registers a descriptor that nobody else holds: closing it is what takes it out of the epoll.
    pub(super) fn register(&self, source: impl AsFd) -> io::Result<Key> {
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let mut slots = self.slots.borrow_mut();
        let slot = slots.insert(Slot {
            generation,
            flags: WRITABLE,
            who: Who::Tasks(Box::default()),
        });
        let data = EventData::new_u64(u64::from(generation) << 32 | slot as u64);
        match epoll::add(&self.epoll, source, data, INTEREST) {
            Ok(()) => Ok(Key {
                slot: slot as u32,
                generation,
            }),
            Err(error) => {
                slots.remove(slot);
                Err(error.into())
            }
        }
    }

    /// The descriptor is being closed.
    pub(super) fn forget(&self, key: Key) {
        let gone = self.change(key, |slot| {
            let who = std::mem::replace(&mut slot.who, Who::Closed);
            (who, slot.flags & LISTED != 0)
        });
        if let Some((_, false)) = gone {
            self.slots.borrow_mut().remove(key.slot as usize);
        }
    }

    /// From now on it is served in turns; what is ready already is not forgotten.
    pub(super) fn serve(&self, key: Key, by: Rc<dyn Serve>) {
        let before = self.change(key, |slot| {
            std::mem::replace(&mut slot.who, Who::Served(by))
        });
        drop(before);
        self.list(key);
    }

    /// From now on tasks wait for it again.
    pub(super) fn release(&self, key: Key) {
        let before = self.change(key, |slot| {
            // Whether it can be written to is unknown: a try tells.
            slot.flags |= WRITABLE;
            slot.flags &= !(HELD | MORE);
            std::mem::replace(&mut slot.who, Who::Tasks(Box::default()))
        });
        drop(before);
    }

    /// It is not read any more until it is let go.
    pub(super) fn hold(&self, key: Key, why: Hold) {
        self.change(key, |slot| slot.flags |= why as u16);
    }

    /// Takes back one reason not to read it.
    pub(super) fn let_go(&self, key: Key, why: Hold) {
        self.change(key, |slot| slot.flags &= !(why as u16));
        self.list(key);
    }

    /// Whether there is a reason not to read it.
    pub(super) fn is_held(&self, key: Key) -> bool {
        self.change(key, |slot| slot.flags & HELD != 0) == Some(true)
    }

    pub(super) fn waits(&self, key: Key) -> bool {
        self.change(key, |slot| slot.flags & WAITS != 0) == Some(true)
    }

    /// Whether what was read waits to be handled.
    pub(super) fn set_more(&self, key: Key, more: bool) {
        self.change(key, |slot| match more {
            true => slot.flags |= MORE,
            false => slot.flags &= !MORE,
        });
        self.list(key);
    }

    /// What a read said: whether there may be more without another edge. `whole`: it filled its buffer.
    pub(super) fn was_read(&self, key: Key, read: &io::Result<usize>, whole: bool) {
        let empty = is_blocked(read);
        self.change(key, |slot| {
            if empty {
                slot.flags &= !(READABLE | ENDING);
            } else if !whole && slot.flags & ENDING == 0 {
                slot.flags &= !READABLE;
            }
        });
    }

    /// The kernel had nothing to read, or took nothing.
    pub(super) fn is_blocked(&self, key: Key, way: Direction) {
        self.change(key, |slot| slot.flags &= !way.flag());
    }

    /// Whether it is worth a try; if not, the task is woken when it is.
    pub(super) fn poll_ready(&self, key: Key, way: Direction, cx: &Context<'_>) -> Poll<()> {
        let ready = self.change(key, |slot| {
            if slot.flags & way.flag() != 0 {
                return true;
            }
            if let Who::Tasks(wakers) = &mut slot.who {
                wakers[way as usize] = Some(cx.waker().clone());
            }
            false
        });
        match ready {
            Some(false) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Whether the other side has closed, at least for what it sends; if not, the task is woken when it does. One task at
    /// a time may wait so, beside those that read and write. Who is served in turns sees the end itself.
    pub(super) fn poll_ended(&self, key: Key, cx: &Context<'_>) -> Poll<()> {
        let waits = self.change(key, |slot| match &mut slot.who {
            Who::Tasks(wakers) if slot.flags & ENDED == 0 => {
                wakers[END] = Some(cx.waker().clone());
                true
            }
            Who::Tasks(_) | Who::Served(_) | Who::Closed => false,
        });
        match waits {
            Some(true) => Poll::Pending,
            Some(false) | None => Poll::Ready(()),
        }
    }

    /// Its `flush` is called at the end of this round.
    pub fn flush_later(&self, who: Rc<dyn Serve>) {
        self.dirty.borrow_mut().push_back(who);
    }

    /// So many bytes were written.
    pub fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes);
    }

    #[cfg(test)]
    pub(super) fn is_listed(&self, key: Key) -> bool {
        self.change(key, |slot| slot.flags & LISTED != 0 && slot.is_due()) == Some(true)
    }

    fn change<T>(&self, key: Key, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(key.slot as usize)?;
        (slot.generation == key.generation).then(|| change(slot))
    }

    /// Puts a connection in the list if there is something to do for it and nothing against it.
    fn list(&self, key: Key) {
        let listed = self.change(key, Slot::list);
        if listed == Some(true) {
            self.ready.borrow_mut().push_back(key.slot);
        }
    }

    /// Waits until somebody is ready or the bell is rung, not at all if there is something to do.
    pub fn wait(&self) {
        let busy = !self.ready.borrow().is_empty() || !self.dirty.borrow().is_empty();
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut events = self.events.take();
        events.clear();
        let room = rustix::buffer::spare_capacity(&mut events);
        let waited = match busy || !self.bell.fall_asleep() {
            true => epoll::wait(&self.epoll, room, Some(&at_once)),
            false => epoll::wait(&self.epoll, room, None),
        };
        self.bell.wake_up();
        self.turns.begin();
        if let Err(error) = waited
            && error != rustix::io::Errno::INTR
        {
            // It can't fail with what it is given; if it did, the round goes on.
            log::error!("epoll: {error}");
        }
        for event in &events {
            self.happened(event.data, event.flags);
        }
        self.events.set(events);
    }

    fn happened(&self, data: EventData, events: EventFlags) {
        let data = data.u64();
        if data == BELL {
            return;
        }
        let key = Key {
            slot: data as u32,
            generation: (data >> 32) as u32,
        };
        let mut woken = [None, None, None];
        let writable = self.change(key, |slot| {
            let (ends, urgent) = (events.intersects(ENDS), events.contains(EventFlags::PRI));
            let readable = ends || urgent || events.contains(EventFlags::IN);
            slot.flags |= if readable { READABLE } else { 0 };
            slot.flags |= if ends || urgent { ENDING } else { 0 };
            slot.flags |= if ends { ENDED } else { 0 };
            let broken = events.intersects(EventFlags::HUP | EventFlags::ERR);
            let writable = broken || events.contains(EventFlags::OUT);
            match &mut slot.who {
                Who::Tasks(wakers) => {
                    slot.flags |= if writable { WRITABLE } else { 0 };
                    woken[0] = wakers[0].take_if(|_| readable);
                    woken[1] = wakers[1].take_if(|_| writable);
                    woken[END] = wakers[END].take_if(|_| ends);
                    None
                }
                // That it could be written to rides on every event.
                Who::Served(by) if writable && slot.flags & FULL != 0 => Some(by.clone()),
                Who::Served(_) | Who::Closed => None,
            }
        });
        woken.into_iter().flatten().for_each(Waker::wake);
        if let Some(by) = writable.flatten() {
            by.writable();
        }
        self.list(key);
    }

    /// Serves each of those in the list once, as many as time allows.
    pub fn turn(&self) {
        let (start, listed) = (self.turns.began(), self.ready.borrow().len().min(ROUND));
        for _ in 0..listed {
            let Some(at) = self.ready.borrow_mut().pop_front() else {
                return;
            };
            let Some((key, by)) = self.next(at) else {
                continue;
            };
            by.turn();
            self.list(key);
            if self.turns.over("a connection") - start > SERVE_TIME {
                return;
            }
        }
    }

    /// Takes a place out of the list: whom to serve there, if there is still somebody to be served.
    fn next(&self, at: u32) -> Option<(Key, Rc<dyn Serve>)> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(at as usize)?;
        slot.flags &= !LISTED;
        let key = Key {
            slot: at,
            generation: slot.generation,
        };
        match &slot.who {
            Who::Served(by) if slot.is_due() => Some((key, by.clone())),
            Who::Served(_) | Who::Tasks(_) => None,
            Who::Closed => {
                slots.remove(at as usize);
                None
            }
        }
    }

    /// Calls `flush` of those who asked for it, as many as time allows.
    pub fn flush(&self) {
        let (start, listed) = (self.turns.began(), self.dirty.borrow().len());
        for done in 1..=listed {
            let Some(who) = self.dirty.borrow_mut().pop_front() else {
                return;
            };
            who.flush();
            if done % FLUSHES != 0 && self.written.get() < FLUSHED {
                continue;
            }
            self.written.set(0);
            if self.turns.over("writing") - start > FLUSH_TIME {
                return;
            }
        }
    }
}

impl Slot {
    fn is_due(&self) -> bool {
        self.flags & (READABLE | MORE) != 0 && self.flags & HELD == 0
    }

    /// Whether it is to be put in the list now; it is marked so.
    fn list(&mut self) -> bool {
        let served = matches!(self.who, Who::Served(_));
        let listed = served && self.is_due() && self.flags & LISTED == 0;
        self.flags |= if listed { LISTED } else { 0 };
        listed
    }
}

fn is_blocked(result: &io::Result<usize>) -> bool {
    let kind = result.as_ref().err().map(io::Error::kind);
    kind == Some(io::ErrorKind::WouldBlock)
}

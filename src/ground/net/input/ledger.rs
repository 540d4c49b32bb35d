//! Who holds how much unfinished input, who is ended and who waits. Tells nobody: what there is to tell is taken by the caller.

use super::{Begins, Ended, GRACE, Owner, RATE, Room, SMALL};
use slab::Slab;
use std::num::NonZeroU32;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

struct Part {
    owner: Owner,
    bytes: usize,
    /// What has come since `began`.
    arrived: usize,
    began: Instant,
    /// Smaller in those that began earlier.
    age: u64,
    waits: bool,
    ended: Option<Ended>,
    /// The task that reads.
    waker: Option<Waker>,
}

type Served = Option<Rc<dyn Begins>>;

/// What somebody is to be told.
pub enum Told {
    Ended(Option<Waker>, Served, Ended),
    Room(Option<Waker>, Served),
}

/// All parts of the budget.
pub struct Ledger {
    limit: usize,
    /// Kept of the limit for the oldest of those who have signed in.
    reserve: usize,
    used: usize,
    /// Of that, what handlers hold.
    handled: usize,
    parts: Slab<Part>,
    /// How many wait.
    waiting: usize,
    age: u64,
    told: Vec<Told>,
}

impl Ledger {
    pub fn new(limit: usize, largest: usize) -> Self {
        let mut ledger = Self {
            limit: 0,
            reserve: 0,
            used: 0,
            handled: 0,
            parts: Slab::new(),
            waiting: 0,
            age: 0,
            told: Vec::new(),
        };
        ledger.set_limit(limit, largest);
        ledger
    }

    pub fn set_limit(&mut self, limit: usize, largest: usize) {
        self.limit = limit;
        self.reserve = largest.min(limit / 2);
    }

    pub fn used(&self) -> usize {
        self.used
    }

    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    pub fn begin(&mut self, owner: Owner, now: Instant) -> NonZeroU32 {
        self.age += 1;
        let at = self.parts.insert(Part {
            owner,
            bytes: 0,
            arrived: 0,
            began: now,
            age: self.age,
            waits: false,
            ended: None,
            waker: None,
        });
        NonZeroU32::MIN.saturating_add(at as u32)
    }

    /// So many bytes are a handler's from now on, those of another part first. Nobody is told to go on: there is no room more.
    pub fn hand_over(
        &mut self,
        from: Option<NonZeroU32>,
        bytes: usize,
        now: Instant,
    ) -> NonZeroU32 {
        let key = self.begin(Owner::Handler, now);
        let mut moved = 0;
        if let Some(from) = from.and_then(|key| self.parts.get_mut(place(key))) {
            moved = from.bytes.min(bytes);
            from.bytes -= moved;
            let age = from.age;
            self.parts[place(key)].age = age;
        }
        self.parts[place(key)].bytes = bytes;
        self.used += bytes - moved;
        self.handled += bytes;
        self.crowd_out();
        key
    }

    /// What a handler held is unfinished all the same, and as old as it was.
    pub fn give_back(&mut self, key: NonZeroU32, to: Owner, now: Instant) {
        if let Some(part) = self.parts.get_mut(place(key)) {
            part.owner = to;
            part.restart(now);
            self.handled -= part.bytes;
            self.let_go();
        }
    }

    pub fn close(&mut self, key: NonZeroU32) {
        if let Some(part) = self.parts.try_remove(place(key)) {
            self.used -= part.bytes;
            self.waiting -= usize::from(part.waits);
            if matches!(part.owner, Owner::Handler) {
                self.handled -= part.bytes;
            }
            self.let_go();
        }
    }

    /// Whether there is more than the budget.
    pub fn is_over(&self) -> bool {
        self.used > self.limit
    }

    pub fn set_waker(&mut self, key: NonZeroU32, waker: Waker) {
        if let Some(part) = self.parts.get_mut(place(key)) {
            part.waker = Some(waker);
        }
    }

    pub fn begin_next(&mut self, key: NonZeroU32, now: Instant) {
        if let Some(part) = self.parts.get_mut(place(key)) {
            part.restart(now);
        }
    }

    pub fn hold(&mut self, key: NonZeroU32, bytes: usize, now: Instant) -> Room {
        let Some(part) = self.parts.get_mut(place(key)) else {
            return Room::Ended(Ended::Crowded);
        };
        if let Some(why) = part.ended {
            return Room::Ended(why);
        }
        let before = std::mem::replace(&mut part.bytes, bytes);
        part.arrived += bytes.saturating_sub(before);
        self.used = self.used - before + bytes;
        if bytes < before {
            self.let_go();
        }
        self.crowd_out();
        self.room(place(key), now)
    }

    fn crowd_out(&mut self) {
        while self.used > self.limit
            && let Some(largest) = self.largest_of_strangers()
        {
            self.end(largest, Ended::Crowded);
        }
    }

    fn room(&mut self, at: usize, now: Instant) -> Room {
        let must_wait = self.must_wait(at);
        let Some(part) = self.parts.get_mut(at) else {
            return Room::Some;
        };
        if let Some(why) = part.ended {
            return Room::Ended(why);
        }
        if part.waits != must_wait {
            part.waits = must_wait;
            // Waiting is not its fault: what follows is measured anew.
            part.restart(now);
            match must_wait {
                true => self.waiting += 1,
                false => self.waiting -= 1,
            }
        }
        match must_wait {
            true => Room::None,
            false => Room::Some,
        }
    }

    fn must_wait(&self, at: usize) -> bool {
        self.used > self.limit - self.reserve
            && self.parts.get(at).is_some_and(Part::may_wait)
            && self.first() != Some(at)
    }

    /// The oldest of those who may have to wait: it never does, unless what came before it is being handled, which takes
    /// no room more and comes to its end.
    fn first(&self) -> Option<usize> {
        if self.handled > 0 {
            return None;
        }
        let parts = self.parts.iter().filter(|(_, part)| part.may_wait());
        parts.min_by_key(|(_, part)| part.age).map(|(at, _)| at)
    }

    fn largest_of_strangers(&self) -> Option<usize> {
        let parts = self.parts.iter();
        let strangers = parts.filter(|(_, part)| part.bytes > 0 && part.is_strangers());
        strangers
            .max_by_key(|(_, part)| part.bytes)
            .map(|(at, _)| at)
    }

    fn end(&mut self, at: usize, why: Ended) {
        let Some(part) = self.parts.get_mut(at) else {
            return;
        };
        part.ended = Some(why);
        self.used -= std::mem::take(&mut part.bytes);
        self.waiting -= usize::from(std::mem::take(&mut part.waits));
        let told = Told::Ended(part.waker.take(), part.served(), why);
        self.told.push(told);
        self.let_go();
    }

    /// Those who wait go on if there is room, or at least the first of them.
    fn let_go(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let room = self.used <= self.limit - self.reserve;
        let first = self.first();
        for (at, part) in &mut self.parts {
            if part.waits && (room || first == Some(at)) {
                part.waits = false;
                self.waiting -= 1;
                let told = Told::Room(part.waker.take(), part.served());
                self.told.push(told);
            }
        }
    }

    /// Ends the late; when the next may be late, `None` if there is none left.
    pub fn end_late(&mut self, now: Instant) -> Option<Instant> {
        let mut late = Vec::new();
        for (at, part) in &mut self.parts {
            if part.waits || part.served().is_some_and(|served| !served.is_read()) {
                part.restart(now);
            }
            if part.ended.is_none() && part.due().is_some_and(|due| due <= now) {
                late.push(at);
            }
        }
        late.into_iter().for_each(|at| self.end(at, Ended::Late));
        if self.parts.is_empty() {
            return None;
        }
        let alive = self.parts.iter().filter(|(_, part)| part.ended.is_none());
        let due = alive.filter_map(|(_, part)| part.due()).min();
        Some(due.unwrap_or(now + GRACE))
    }
}

impl Part {
    fn served(&self) -> Served {
        match &self.owner {
            Owner::Served(served) => Weak::upgrade(served),
            _ => None,
        }
    }

    fn is_strangers(&self) -> bool {
        match &self.owner {
            Owner::Stranger => true,
            Owner::Served(_) => !self.served().is_some_and(|served| served.is_signed_in()),
            Owner::Known | Owner::Stream | Owner::Handler => false,
        }
    }

    fn may_wait(&self) -> bool {
        let reads = !matches!(self.owner, Owner::Handler) && self.ended.is_none();
        reads && self.bytes > SMALL && !self.is_strangers()
    }

    fn restart(&mut self, now: Instant) {
        self.began = now;
        self.arrived = 0;
    }

    fn due(&self) -> Option<Instant> {
        if matches!(self.owner, Owner::Stream | Owner::Handler) {
            return None;
        }
        let grace = if self.is_strangers() {
            GRACE
        } else {
            GRACE * 2
        };
        let more = Duration::from_secs((self.arrived / RATE) as u64);
        Some(self.began + grace + more)
    }
}

fn place(key: NonZeroU32) -> usize {
    key.get() as usize - 1
}

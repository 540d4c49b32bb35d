//! The budget at random, against a model: what is counted is what is held, the largest stranger goes first, and of those who
//! wait one can always go on.

use super::ledger::{Ledger, Told};
use super::{Begins, Ended, GRACE, InputBudget, Owner, RATE, Room, SMALL, Unfinished};
use crate::ground::random_input::{Random, rounds};
use std::cell::Cell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A client of the model.
#[derive(Default)]
struct Client {
    signed_in: Cell<bool>,
    paused: Cell<bool>,
    bytes: Cell<usize>,
    waits: Cell<bool>,
    ended: Cell<Option<Ended>>,
}

impl Begins for Client {
    fn is_signed_in(&self) -> bool {
        self.signed_in.get()
    }

    fn is_read(&self) -> bool {
        !self.paused.get()
    }

    fn go_on(&self) {
        assert!(self.waits.replace(false), "it does not wait");
    }

    fn end(self: Rc<Self>, why: Ended) {
        assert!(self.ended.replace(Some(why)).is_none(), "ended twice");
        self.bytes.set(0);
        self.waits.set(false);
    }
}

struct Model {
    ledger: Ledger,
    limit: usize,
    parts: Vec<(NonZeroU32, Rc<Client>)>,
    /// What handlers hold.
    handlers: Vec<(NonZeroU32, usize)>,
    now: Instant,
}

impl Model {
    fn new(limit: usize, largest: usize) -> Self {
        Self {
            ledger: Ledger::new(limit, largest),
            limit,
            parts: Vec::new(),
            handlers: Vec::new(),
            now: Instant::now(),
        }
    }

    fn begin(&mut self, signed_in: bool) -> usize {
        let client = Rc::new(Client::default());
        client.signed_in.set(signed_in);
        let begins: Rc<dyn Begins> = client.clone();
        let key = self
            .ledger
            .begin(Owner::Served(Rc::downgrade(&begins)), self.now);
        self.parts.push((key, client));
        self.parts.len() - 1
    }

    fn hold(&mut self, at: usize, bytes: usize) -> Room {
        let (key, client) = self.parts[at].clone();
        if client.ended.get().is_none() {
            client.bytes.set(bytes);
        }
        let room = self.ledger.hold(key, bytes, self.now);
        self.tell();
        match room {
            Room::Ended(why) => assert_eq!(client.ended.get(), Some(why)),
            room => {
                assert_eq!(client.ended.get(), None);
                client.waits.set(room == Room::None);
            }
        }
        room
    }

    fn close(&mut self, at: usize) {
        let (key, client) = self.parts.swap_remove(at);
        client.bytes.set(0);
        self.ledger.close(key);
        self.tell();
    }

    /// Some of what a part has is whole, and is handled; the part keeps the rest.
    fn hand_over(&mut self, at: usize, bytes: usize) {
        let (key, client) = self.parts[at].clone();
        let rest = client.bytes.get().saturating_sub(bytes);
        client.bytes.set(rest);
        let handler = self.ledger.hand_over(Some(key), bytes, self.now);
        self.handlers.push((handler, bytes));
        self.tell();
    }

    fn handled(&mut self, at: usize) {
        let (key, _) = self.handlers.swap_remove(at);
        self.ledger.close(key);
        self.tell();
    }

    fn strangers(&self) -> impl Iterator<Item = usize> {
        let all = self.parts.iter().map(|(_, client)| client);
        all.filter(|client| !client.signed_in.get())
            .map(|client| client.bytes.get())
    }

    fn tell(&mut self) {
        for told in self.ledger.take_told() {
            match told {
                Told::Ended(_, owner, why) => {
                    let (largest, used) = (self.strangers().max(), self.used());
                    owner.unwrap().end(why);
                    if why == Ended::Crowded {
                        assert!(used > self.limit, "there was room");
                        let freed = used - self.used();
                        assert_eq!(largest, Some(freed), "another was larger");
                    }
                }
                Told::Room(_, owner) => owner.unwrap().go_on(),
            }
        }
    }

    fn used(&self) -> usize {
        let begun = self.parts.iter().map(|(_, client)| client.bytes.get());
        begun.sum::<usize>() + self.in_handlers()
    }

    fn in_handlers(&self) -> usize {
        self.handlers.iter().map(|(_, bytes)| bytes).sum()
    }

    fn check(&self) {
        assert_eq!(self.ledger.used(), self.used());
        assert!(self.used() <= self.limit || self.strangers().all(|bytes| bytes == 0));
        let alive = self.parts.iter().map(|(_, client)| client);
        let mut large = alive.filter(|client| client.signed_in.get() && client.bytes.get() > SMALL);
        let waits = self.parts.iter().any(|(_, client)| client.waits.get());
        assert!(
            !waits || self.in_handlers() > 0 || large.any(|client| !client.waits.get()),
            "nobody can go on"
        );
    }
}

#[test]
fn what_is_counted_is_what_is_held() {
    let mut random = Random::new();
    for _ in 0..rounds() / 30 {
        let limit = 1 + random.below(400_000);
        let mut model = Model::new(limit, random.below(300_000));
        for _ in 0..300 {
            let at = random.below(model.parts.len().max(1));
            match random.below(14) {
                0 | 1 => drop(model.begin(random.below(2) == 0)),
                12 if !model.handlers.is_empty() => {
                    model.handled(random.below(model.handlers.len()));
                }
                _ if model.parts.is_empty() => {}
                13 => model.hand_over(at, random.below(60_000)),
                2 => model.close(at),
                3 => {
                    let (key, client) = &model.parts[at];
                    client.paused.set(random.below(2) == 0);
                    model.ledger.begin_next(*key, model.now);
                }
                4 => {
                    model.now += Duration::from_millis(random.below(20_000) as u64);
                    model.ledger.end_late(model.now);
                    model.tell();
                }
                5 => {
                    let client = &model.parts[at].1;
                    client
                        .signed_in
                        .set(client.signed_in.get() || client.bytes.get() <= SMALL);
                }
                _ => {
                    let client = &model.parts[at].1;
                    // Who waits is not read.
                    let more = if client.waits.get() {
                        0
                    } else {
                        random.below(40_000)
                    };
                    let bytes = client.bytes.get() + more;
                    let _ = model.hold(at, if random.below(6) == 0 { 0 } else { bytes });
                }
            }
            model.check();
        }
        while !model.parts.is_empty() {
            model.close(random.below(model.parts.len()));
            model.check();
        }
        while !model.handlers.is_empty() {
            model.handled(0);
        }
        assert_eq!(model.ledger.used(), 0);
    }
}

#[test]
fn strangers_go_before_anybody_waits_and_the_oldest_goes_on() {
    let mut model = Model::new(400_000, 200_000);
    let [old, young, stranger] = [true, true, false].map(|signed_in| model.begin(signed_in));
    assert_eq!(model.hold(stranger, 60_000), Room::Some);
    assert_eq!(model.hold(young, 150_000), Room::Some);
    assert_eq!(model.hold(old, 180_000), Room::Some);
    assert_eq!(model.hold(young, 150_000), Room::None);
    assert_eq!(model.hold(old, 200_000), Room::Some);
    assert_eq!(model.parts[stranger].1.ended.get(), Some(Ended::Crowded));
    assert_eq!(model.hold(stranger, 1), Room::Ended(Ended::Crowded));
    assert_eq!(model.hold(old, 0), Room::Some);
    assert!(!model.parts[young].1.waits.get());
    assert_eq!(model.hold(young, 160_000), Room::Some);
}

#[test]
fn what_is_handled_counts_on_and_the_next_waits_for_it() {
    let mut model = Model::new(400_000, 200_000);
    let [first, second] = [true, true].map(|signed_in| model.begin(signed_in));
    assert_eq!(model.hold(first, 150_000), Room::Some);
    assert_eq!(model.hold(second, 100_000), Room::None);
    assert_eq!(model.hold(first, 300_000), Room::Some);
    // The first one's message is whole; while it is handled nobody is next.
    model.hand_over(first, 300_000);
    assert_eq!(model.hold(first, 0), Room::Some);
    assert_eq!(model.ledger.used(), 400_000);
    assert!(model.parts[second].1.waits.get());
    // A third that comes meanwhile waits as well.
    let third = model.begin(true);
    assert_eq!(model.hold(third, 20_000), Room::None);
    model.handled(0);
    let waits = |at: usize| model.parts[at].1.waits.get();
    assert_eq!((waits(second), waits(third)), (false, false));
}

#[test]
fn what_was_not_whole_after_all_is_as_old_as_it_was() {
    let mut model = Model::new(400_000, 200_000);
    let [first, second] = [true, true].map(|signed_in| model.begin(signed_in));
    assert_eq!(model.hold(first, 250_000), Room::Some);
    assert_eq!(model.hold(second, 100_000), Room::None);
    model.hand_over(first, 250_000);
    // The part that it came from is gone meanwhile.
    model.close(first);
    let (handler, bytes) = model.handlers.pop().unwrap();
    let client = Rc::new(Client::default());
    client.signed_in.set(true);
    client.bytes.set(bytes);
    let begins: Rc<dyn Begins> = client.clone();
    let owner = Owner::Served(Rc::downgrade(&begins));
    model.ledger.give_back(handler, owner, model.now);
    model.tell();
    assert!(model.parts.iter().all(|(_, client)| client.waits.get()));
    model.parts.push((handler, client));
    assert_eq!(model.hold(1, 300_000), Room::Some);
    model.close(1);
    assert!(!model.parts[0].1.waits.get());
}

#[test]
fn a_trickle_is_ended_and_who_is_not_read_is_not_late() {
    let mut model = Model::new(1 << 30, 1 << 20);
    let [trickle, steady, paused, known] =
        [false, false, false, true].map(|signed_in| model.begin(signed_in));
    model.parts[paused].1.paused.set(true);
    for second in 1..=60 {
        model.now += Duration::from_secs(1);
        model.hold(trickle, second);
        model.hold(steady, second * RATE);
        model.ledger.end_late(model.now);
        model.tell();
        let ended = |at: usize| model.parts[at].1.ended.get();
        let late = |after: Duration| (second as u64 >= after.as_secs()).then_some(Ended::Late);
        assert_eq!(ended(trickle), late(GRACE), "after {second} s");
        assert_eq!(ended(known), late(GRACE * 2), "after {second} s");
        assert_eq!((ended(steady), ended(paused)), (None, None));
    }
}

#[test]
fn what_is_dropped_is_given_back() {
    let before = InputBudget::used();
    let a = Unfinished::begin(Owner::Known);
    assert_eq!(a.hold(100_100), Room::Some);
    let b = Unfinished::hand_over(Some(&a), 200_000).unwrap();
    assert_eq!(InputBudget::used(), before + 200_100 - 100);
    assert!(Unfinished::hand_over(Some(&a), SMALL).is_none());
    let b = b.give_back(Owner::Known);
    assert_eq!(b.hold(10), Room::Some);
    assert_eq!(InputBudget::used(), before + 10);
    drop((a, b));
    assert_eq!(InputBudget::used(), before);
}

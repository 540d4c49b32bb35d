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
    now: Instant,
}

impl Model {
    fn new(limit: usize, largest: usize) -> Self {
        Self {
            ledger: Ledger::new(limit, largest),
            limit,
            parts: Vec::new(),
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
        self.parts
            .iter()
            .map(|(_, client)| client.bytes.get())
            .sum()
    }

    fn check(&self) {
        assert_eq!(self.ledger.used(), self.used());
        assert!(self.used() <= self.limit || self.strangers().all(|bytes| bytes == 0));
        let alive = self.parts.iter().map(|(_, client)| client);
        let mut large = alive.filter(|client| client.signed_in.get() && client.bytes.get() > SMALL);
        let waits = self.parts.iter().any(|(_, client)| client.waits.get());
        assert!(
            !waits || large.any(|client| !client.waits.get()),
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
            match random.below(12) {
                0 | 1 => drop(model.begin(random.below(2) == 0)),
                _ if model.parts.is_empty() => {}
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
    let (a, b) = (
        Unfinished::begin(Owner::Known),
        Unfinished::begin(Owner::Handler),
    );
    assert_eq!((a.hold(100), b.hold(200_000)), (Room::Some, Room::Some));
    assert_eq!(InputBudget::used(), before + 200_100);
    drop((a, b));
    assert_eq!(InputBudget::used(), before);
}

//! Readiness at random, against a model: what was sent arrives, whatever is held, cut, closed or reused meanwhile.

use super::{Hold, Reactor, Serve, Socket};
use crate::ground::random_input::{Random, rounds};
use rustix::net::{SendFlags, send};
use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

const URGENT: u8 = b'!';

/// Our side of a connection: reads at most `budget` bytes a turn.
#[derive(Default)]
struct Ours {
    socket: RefCell<Option<Socket>>,
    budget: Cell<usize>,
    got: RefCell<Vec<u8>>,
    ended: Cell<bool>,
    /// Turns in this round.
    turns: Cell<u32>,
    held: Cell<bool>,
}

impl Serve for Ours {
    fn turn(self: Rc<Self>) {
        self.turns.set(self.turns.get() + 1);
        assert!(!self.held.get(), "it is held, and read all the same");
        let mut buffer = vec![0; self.budget.get()];
        let read = match &*self.socket.borrow() {
            Some(socket) => socket.read(&mut buffer),
            None => panic!("it is closed, and served all the same"),
        };
        match read {
            Ok(0) => self.ended.set(true),
            Ok(n) => self.got.borrow_mut().extend_from_slice(&buffer[..n]),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock),
        }
        if self.ended.get() {
            self.close();
        }
    }

    fn writable(self: Rc<Self>) {
        panic!("nothing was written");
    }

    fn flush(self: Rc<Self>) {}
}

impl Ours {
    fn close(&self) {
        let socket = self.socket.borrow_mut().take();
        drop(socket);
    }

    fn hold(&self, held: bool) {
        if let Some(socket) = &*self.socket.borrow()
            && self.held.replace(held) != held
        {
            match held {
                true => socket.hold(Hold::Waits),
                false => socket.let_go(Hold::Waits),
            }
        }
    }
}

/// A connection and what its client has sent.
struct Pair {
    ours: Rc<Ours>,
    theirs: TcpStream,
    sent: Vec<u8>,
    shut: bool,
}

impl Pair {
    fn open(listener: &TcpListener, budget: usize) -> Self {
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        theirs.set_nodelay(true).unwrap();
        let socket = Socket::new(listener.accept().unwrap().0).unwrap();
        let ours = Rc::new(Ours::default());
        ours.budget.set(budget);
        socket.serve(ours.clone());
        *ours.socket.borrow_mut() = Some(socket);
        Self {
            ours,
            theirs,
            sent: Vec::new(),
            shut: false,
        }
    }

    fn write(&mut self, random: &mut Random) {
        let mut bytes = random.bytes(60);
        bytes.retain(|byte| *byte != URGENT);
        if !self.shut && self.theirs.write_all(&bytes).is_ok() {
            self.sent.extend(bytes);
        }
    }

    fn shut(&mut self) {
        self.shut = true;
        let _ = self.theirs.shutdown(Shutdown::Write);
    }

    /// An urgent byte that another one has overtaken stands in the stream like any other.
    fn is_done(&self) -> bool {
        let mut got = self.ours.got.borrow().clone();
        got.retain(|byte| *byte != URGENT);
        self.ours.ended.get() && got == self.sent
    }
}

/// One round that does not sleep. Nobody has a second turn in it.
fn round(reactor: &Reactor, pairs: &[Pair]) {
    pairs.iter().for_each(|pair| pair.ours.turns.set(0));
    reactor.bell().ring();
    reactor.wait();
    reactor.bell().was_rung();
    reactor.turn();
    assert!(pairs.iter().all(|pair| pair.ours.turns.get() <= 1));
}

fn finish(reactor: &Reactor, pairs: &mut [Pair]) {
    for pair in &mut *pairs {
        pair.ours.hold(false);
        pair.shut();
    }
    let end = Instant::now() + Duration::from_secs(20);
    while !pairs.iter().all(Pair::is_done) {
        round(reactor, pairs);
        for pair in pairs.iter().filter(|_| Instant::now() > end) {
            let (ended, got) = (pair.ours.ended.get(), pair.ours.got.borrow());
            assert!(pair.is_done(), "{ended} {got:?} of {:?}", pair.sent);
        }
    }
}

#[test]
fn what_was_sent_arrives() {
    let reactor = Reactor::current();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut random = Random::new();
    for _ in 0..rounds() / 500 + 1 {
        let mut pairs = Vec::new();
        for _ in 0..random.below(300) {
            if pairs.is_empty() || random.once_in(8) {
                let budget = *random.pick(&[&1, &7, &60, &4096]);
                pairs.push(Pair::open(&listener, budget));
            }
            let at = random.below(pairs.len());
            let pair = &mut pairs[at];
            match random.below(10) {
                0..=3 => pair.write(&mut random),
                // An urgent byte is not in the stream, and a read stops short at it.
                4 if !pair.shut => {
                    let _ = send(&pair.theirs, &[URGENT], SendFlags::OOB);
                    pair.write(&mut random);
                }
                5 => pair.ours.hold(true),
                6 => pair.ours.hold(false),
                7 if random.once_in(4) => pair.shut(),
                8 if random.once_in(6) => {
                    // It goes wherever it stands, and another one takes its place.
                    pairs.swap_remove(at).ours.close();
                    pairs.push(Pair::open(&listener, 5));
                }
                _ => round(&reactor, &pairs),
            }
        }
        finish(&reactor, &mut pairs);
    }
}

#[test]
fn who_has_little_is_not_behind_who_has_much() {
    let reactor = Reactor::current();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pairs: Vec<Pair> = (0..20).map(|_| Pair::open(&listener, 1)).collect();
    for (n, pair) in pairs.iter_mut().enumerate() {
        let bytes = vec![7; if n % 2 == 0 { 5000 } else { 3 }];
        pair.theirs.write_all(&bytes).unwrap();
        pair.sent = bytes;
    }
    for _ in 0..6 {
        round(&reactor, &pairs);
    }
    let got = |pair: &Pair| pair.ours.got.borrow().len();
    assert!(pairs.iter().skip(1).step_by(2).all(|pair| got(pair) == 3));
    finish(&reactor, &mut pairs);
}

#[test]
fn a_closed_place_in_the_list_is_nobodys() {
    let reactor = Reactor::current();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..50 {
        let mut gone = Pair::open(&listener, 1);
        gone.theirs.write_all(b"more than one turn").unwrap();
        round(&reactor, std::slice::from_ref(&gone));
        gone.ours.close();
        // The newcomer has another place, or the same one with another number: it is not served for the other.
        let mut next = Pair::open(&listener, 100);
        round(&reactor, std::slice::from_ref(&next));
        gone.shut();
        next.theirs.write_all(b"hello").unwrap();
        next.sent = b"hello".to_vec();
        finish(&reactor, std::slice::from_mut(&mut next));
    }
}

#[test]
fn the_bell_is_heard_while_the_thread_sleeps() {
    let reactor = Reactor::current();
    for _ in 0..20 {
        let bell = reactor.bell().clone();
        let ringer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(2));
            bell.ring();
        });
        while !reactor.bell().was_rung() {
            reactor.wait();
        }
        ringer.join().unwrap();
    }
}

//! Readiness at random, against a model: what was sent arrives, whatever is held, cut, closed or reused meanwhile.

use super::{Hold, Reactor, Serve, Socket};
use crate::ground::random_input::{Random, rounds};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{SendFlags, send};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

const URGENT: u8 = b'!';

/// Turns of all connections so far.
type Clock = Rc<Cell<u64>>;

/// Our side of a connection: reads at most `budget` bytes a turn, and writes what it has to say as the kernel takes it.
#[derive(Default)]
struct Ours {
    socket: RefCell<Option<Socket>>,
    budget: Cell<usize>,
    got: RefCell<Vec<u8>>,
    ended: Cell<bool>,
    /// Turns in this round.
    turns: Cell<u32>,
    held: Cell<bool>,
    /// What is to be written, and whether that is known to the reactor.
    unsaid: RefCell<Vec<u8>>,
    dirty: Cell<bool>,
    full: Cell<bool>,
    clock: Clock,
    /// Its last turn, and since when it has been in the list.
    last: Cell<u64>,
    listed: Cell<Option<u64>>,
}

impl Serve for Ours {
    fn turn(self: Rc<Self>) {
        self.turns.set(self.turns.get() + 1);
        self.clock.set(self.clock.get() + 1);
        self.last.set(self.clock.get());
        self.listed.take();
        assert!(!self.held.get(), "it is held, and read all the same");
        assert!(
            !self.full.get(),
            "it takes nothing, and is read all the same"
        );
        let mut buffer = vec![0; self.budget.get()];
        let read = match &*self.socket.borrow() {
            Some(socket) => socket.read(&mut buffer),
            None => panic!("it is closed, and served all the same"),
        };
        match read {
            Ok(0) => self.ended.set(true),
            Ok(n) => self.got.borrow_mut().extend_from_slice(&buffer[..n]),
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
    }

    fn writable(self: Rc<Self>) {
        assert!(self.full.get(), "nobody waits to write");
        self.write();
    }

    fn flush(self: Rc<Self>) {
        assert!(self.dirty.replace(false), "nothing was to be written");
        if !self.full.get() {
            self.write();
        }
    }
}

impl Ours {
    fn close(&self) {
        let socket = self.socket.borrow_mut().take();
        drop(socket);
        self.unsaid.borrow_mut().clear();
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

    fn say(self: &Rc<Self>, bytes: &[u8]) {
        self.unsaid.borrow_mut().extend_from_slice(bytes);
        if !self.dirty.replace(true) {
            Reactor::with(|reactor| reactor.flush_later(self.clone()));
        }
    }

    /// As much as the kernel takes: what stays waits until it takes more, and nothing is read meanwhile.
    fn write(&self) {
        let socket = self.socket.borrow();
        let Some(socket) = &*socket else {
            return;
        };
        let mut unsaid = self.unsaid.borrow_mut();
        let full = loop {
            match socket.get_ref().write(&unsaid) {
                _ if unsaid.is_empty() => break false,
                Ok(n) => drop(unsaid.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break true,
                Err(e) => panic!("{e}"),
            }
        };
        if self.full.replace(full) != full {
            match full {
                true => socket.hold(Hold::Full),
                false => socket.let_go(Hold::Full),
            }
        }
    }

    fn is_listed(&self) -> bool {
        let socket = self.socket.borrow();
        let listed = |socket: &Socket| Reactor::with(|reactor| reactor.is_listed(socket.key()));
        socket.as_ref().is_some_and(listed)
    }
}

/// A connection, what its client has sent, and what was said to it.
struct Pair {
    ours: Rc<Ours>,
    theirs: TcpStream,
    sent: Vec<u8>,
    said: Vec<u8>,
    heard: Vec<u8>,
    shut: bool,
}

impl Pair {
    fn open(listener: &TcpListener, clock: &Clock, budget: usize) -> Self {
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        theirs.set_nodelay(true).unwrap();
        let ours = listener.accept().unwrap().0;
        // So that the kernel soon takes no more.
        set_socket_send_buffer_size(&ours, 4096).unwrap();
        set_socket_recv_buffer_size(&theirs, 4096).unwrap();
        let socket = Socket::new(ours).unwrap();
        let ours = Rc::new(Ours {
            budget: Cell::new(budget),
            clock: clock.clone(),
            ..Ours::default()
        });
        socket.serve(ours.clone());
        *ours.socket.borrow_mut() = Some(socket);
        Self {
            ours,
            theirs,
            sent: Vec::new(),
            said: Vec::new(),
            heard: Vec::new(),
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

    /// Ours says something, mostly more than the kernel takes.
    fn say(&mut self, random: &mut Random) {
        let most = *random.pick(&[&10, &3_000, &60_000]);
        let bytes: Vec<u8> = (0..random.below(most)).map(|n| n as u8).collect();
        self.ours.say(&bytes);
        self.said.extend(bytes);
    }

    /// Theirs reads what has come, not all of it.
    fn hear(&mut self, most: usize) {
        let mut buffer = vec![0; most];
        self.theirs.set_nonblocking(true).unwrap();
        if let Ok(n) = self.theirs.read(&mut buffer) {
            self.heard.extend_from_slice(&buffer[..n]);
        }
        self.theirs.set_nonblocking(false).unwrap();
    }

    fn shut(&mut self) {
        self.shut = true;
        let _ = self.theirs.shutdown(Shutdown::Write);
    }

    /// An urgent byte that another one has overtaken stands in the stream like any other.
    fn is_done(&self) -> bool {
        let mut got = self.ours.got.borrow().clone();
        got.retain(|byte| *byte != URGENT);
        self.ours.ended.get() && got == self.sent && self.heard == self.said
    }
}

/// One round that does not sleep. Nobody has a second turn in it, and nobody who was in the list before another one's last
/// turn is still there after that one's next.
fn round(reactor: &Reactor, pairs: &[Pair]) {
    pairs.iter().for_each(|pair| pair.ours.turns.set(0));
    reactor.flush();
    reactor.bell().ring();
    reactor.wait();
    reactor.bell().was_rung();
    let before = pairs.iter().map(|pair| pair.ours.last.get());
    let before: Vec<u64> = before.collect();
    for pair in pairs {
        let since = pair.ours.listed.get().unwrap_or(pair.ours.clock.get());
        pair.ours.listed.set(pair.ours.is_listed().then_some(since));
    }
    reactor.turn();
    assert!(pairs.iter().all(|pair| pair.ours.turns.get() <= 1));
    let served = pairs.iter().zip(&before);
    let served = served.filter(|(pair, _)| pair.ours.turns.get() == 1);
    let latest = served.map(|(_, before)| *before).max();
    let left = pairs.iter().filter_map(|pair| pair.ours.listed.get());
    for since in left {
        assert!(latest.is_none_or(|latest| latest <= since), "passed over");
    }
}

fn finish(reactor: &Reactor, pairs: &mut [Pair]) {
    for pair in &mut *pairs {
        pair.ours.hold(false);
        pair.shut();
    }
    // A busy machine takes its time.
    let end = Instant::now() + Duration::from_secs(120);
    while !pairs.iter().all(Pair::is_done) {
        round(reactor, pairs);
        for pair in &mut *pairs {
            pair.hear(1 << 20);
        }
        for pair in pairs.iter().filter(|_| Instant::now() > end) {
            let (ended, got) = (pair.ours.ended.get(), pair.ours.got.borrow().len());
            let heard = (pair.heard.len(), pair.said.len());
            assert!(
                pair.is_done(),
                "{ended} {got} of {}, {heard:?}",
                pair.sent.len()
            );
        }
    }
    for pair in pairs {
        pair.ours.close();
    }
}

#[test]
fn what_was_sent_arrives() {
    let reactor = Reactor::current();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut random, clock) = (Random::new(), Clock::default());
    for _ in 0..rounds() / 500 + 1 {
        let mut pairs = Vec::new();
        for _ in 0..random.below(300) {
            if pairs.is_empty() || random.once_in(8) {
                let budget = *random.pick(&[&1, &7, &60, &4096]);
                pairs.push(Pair::open(&listener, &clock, budget));
            }
            let at = random.below(pairs.len());
            let pair = &mut pairs[at];
            match random.below(14) {
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
                    pairs.push(Pair::open(&listener, &clock, 5));
                }
                9 | 10 => pair.say(&mut random),
                11 => pair.hear(*random.pick(&[&1, &2_000, &100_000])),
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
    let clock = Clock::default();
    let open = |_| Pair::open(&listener, &clock, 1);
    let mut pairs: Vec<Pair> = (0..20).map(open).collect();
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
    let clock = Clock::default();
    for _ in 0..50 {
        let mut gone = Pair::open(&listener, &clock, 1);
        gone.theirs.write_all(b"more than one turn").unwrap();
        round(&reactor, std::slice::from_ref(&gone));
        gone.ours.close();
        // The newcomer has another place, or the same one with another number: it is not served for the other.
        let mut next = Pair::open(&listener, &clock, 100);
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

//! What goes wrong with an edge-triggered epoll of one's own, each a test: edges that ride on others, a loop that always has work,
//! a full batch of events.

use super::reactor::Direction;
use super::{Hold, Reactor, Serve, Socket};
use crate::ground::tasks::{Tasks, block_on};
use futures_lite::future;
use smol::Timer;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Counts what it is called for, and reads.
#[derive(Default)]
struct Counting {
    socket: RefCell<Option<Socket>>,
    read: Cell<usize>,
    writable: Cell<usize>,
}

impl Serve for Counting {
    fn turn(self: Rc<Self>) {
        if let Some(socket) = &*self.socket.borrow()
            && let Ok(n) = socket.read(&mut [0; 64])
        {
            self.read.set(self.read.get() + n);
        }
    }

    fn writable(self: Rc<Self>) {
        self.writable.set(self.writable.get() + 1);
        if let Some(socket) = &*self.socket.borrow() {
            socket.let_go(Hold::Full);
        }
    }

    fn flush(self: Rc<Self>) {}
}

fn pair(listener: &TcpListener) -> (Rc<Counting>, TcpStream) {
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_nodelay(true).unwrap();
    let socket = Socket::new(listener.accept().unwrap().0).unwrap();
    let ours = Rc::new(Counting::default());
    socket.serve(ours.clone());
    *ours.socket.borrow_mut() = Some(socket);
    (ours, theirs)
}

fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

/// Rounds until it is so.
fn rounds_until(mut done: impl FnMut() -> bool) {
    let reactor = Reactor::current();
    while !done() {
        reactor.bell().ring();
        reactor.wait();
        reactor.turn();
    }
}

#[test]
fn that_it_can_be_written_to_rides_on_every_event() {
    let (ours, mut theirs) = pair(&listener());
    for sent in 1..50 {
        theirs.write_all(b"x").unwrap();
        rounds_until(|| ours.read.get() == sent);
    }
    assert_eq!(ours.writable.get(), 0, "nothing waited to be written");
    // What the kernel takes no more of waits for its edge, and for nothing else.
    let full = || {
        let socket = ours.socket.borrow();
        let socket = socket.as_ref().unwrap();
        while socket.get_ref().write(&[7; 65536]).is_ok() {}
        socket.hold(Hold::Full);
    };
    for edge in 1..4 {
        full();
        rounds_until(|| {
            let _ = (&theirs).read(&mut [0; 65536]);
            ours.writable.get() == edge
        });
    }
}

#[test]
fn what_is_said_of_a_closed_connection_is_not_said_of_the_next_one_in_its_place() {
    let listener = listener();
    let (first, _theirs) = pair(&listener);
    let key = |ours: &Counting| ours.socket.borrow().as_ref().unwrap().key();
    let gone = key(&first);
    drop(first.socket.borrow_mut().take());
    let (next, mut theirs) = pair(&listener);
    assert_ne!(key(&next), gone);
    Reactor::with(|reactor| {
        reactor.hold(gone, Hold::Waits);
        reactor.is_blocked(gone, Direction::Write);
        reactor.forget(gone);
        assert!(!reactor.is_held(key(&next)) && !reactor.is_held(gone));
    });
    theirs.write_all(b"x").unwrap();
    rounds_until(|| next.read.get() == 1);
}

#[test]
fn a_full_batch_of_events_loses_none() {
    let listener = listener();
    let mut pairs: Vec<_> = (0..600).map(|_| pair(&listener)).collect();
    for sent in 1..4 {
        for (_, theirs) in &mut pairs {
            theirs.write_all(b"x").unwrap();
        }
        rounds_until(|| pairs.iter().all(|(ours, _)| ours.read.get() == sent));
    }
}

#[test]
fn a_task_that_always_has_work_starves_neither_timers_nor_connections() {
    block_on(|executor| async move {
        let tasks = Tasks::new(executor);
        let (ours, mut theirs) = pair(&listener());
        tasks.spawn("never rests", async {
            loop {
                future::yield_now().await;
            }
        });
        for sent in 1..20 {
            theirs.write_all(b"x").unwrap();
            Timer::after(Duration::from_millis(1)).await;
            while ours.read.get() < sent {
                future::yield_now().await;
            }
        }
        tasks.end();
    });
}

#[test]
fn what_waits_is_not_polled_whenever_others_are() {
    let polls = block_on(|executor| async move {
        let tasks = Tasks::new(executor);
        tasks.spawn("works", async {
            for _ in 0..1000 {
                future::yield_now().await;
            }
        });
        // As an accept loop waits in the main task.
        let (mut polls, mut idle) = (0, pin!(tasks.idle()));
        poll_fn(|cx| {
            polls += 1;
            idle.as_mut().poll(cx)
        })
        .await;
        polls
    });
    assert!(polls < 5, "{polls} polls");
}

//! What wakes our thread while it waits in its epoll.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Wake;

/// Rung from any thread; costs a system call only while our thread sleeps.
pub struct Bell {
    /// Its number is never read: each write is an edge.
    event: OwnedFd,
    rung: AtomicBool,
    asleep: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            event,
            rung: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
        })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Rings.
    pub fn ring(&self) {
        // First that it rang, then whether somebody sleeps; who falls asleep does it the other way round.
        if !self.rung.swap(true, SeqCst) && self.asleep.load(SeqCst) {
            // It fails only when its number is about to overflow, after centuries.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Whether it was rung since this was asked last.
    pub fn was_rung(&self) -> bool {
        self.rung.swap(false, SeqCst)
    }

    /// `false`: it has been rung, there is no time to sleep.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        !self.rung.load(SeqCst)
    }

    pub(super) fn wake_up(&self) {
        self.asleep.store(false, SeqCst);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

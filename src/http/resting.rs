//! When a connection at which nothing happens gives back what hyper holds for it: not between two requests that follow each
//! other closely, since it costs as much as a request.
//!
//! One timer for all. It runs while something is to become of a connection, and no longer.

use crate::ground::tasks::{Single, Tasks};
use smol::Timer;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

/// From one look at those who rest to the next, and how many of them one rests before it gives back.
const TICK: Duration = Duration::from_millis(100);
const TICKS: u64 = 2;

/// Those who may have rested long enough soon.
pub struct Resting {
    tick: Cell<u64>,
    /// Whom to wake at which tick, in order.
    queue: RefCell<VecDeque<(u64, Waker)>>,
    ticking: Single,
}

/// One connection's rest.
#[derive(Default)]
pub struct Rest {
    /// The tick since which nothing happens; 0 while something does.
    since: Cell<u64>,
    /// The tick of its place in the queue; none if that is over.
    wakes: Cell<u64>,
}

impl Rest {
    /// Something happens.
    pub fn ends(&self) {
        self.since.set(0);
    }
}

impl Resting {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            tick: Cell::new(1),
            queue: RefCell::default(),
            ticking: Single::default(),
        })
    }

    /// Nothing happens at a connection: whether that has been so for a while. If not, its task is woken to ask again.
    pub fn is_over(self: &Rc<Self>, rest: &Rest, tasks: &Tasks, cx: &Context<'_>) -> bool {
        let now = self.tick.get();
        if rest.since.get() == 0 {
            rest.since.set(now);
        }
        if now >= rest.since.get() + TICKS {
            return true;
        }
        if rest.wakes.get() <= now {
            rest.wakes.set(now + TICKS);
            let place = (now + TICKS, cx.waker().clone());
            self.queue.borrow_mut().push_back(place);
            let resting = self.clone();
            self.ticking
                .start(tasks, "rests", || async move { resting.run().await });
        }
        false
    }

    async fn run(&self) {
        while !self.queue.borrow().is_empty() {
            Timer::after(TICK).await;
            let now = self.tick.get() + 1;
            self.tick.set(now);
            while let Some(waker) = self.pop(now) {
                waker.wake();
            }
        }
    }

    fn pop(&self, now: u64) -> Option<Waker> {
        let mut queue = self.queue.borrow_mut();
        match queue.front() {
            Some((tick, _)) if *tick <= now => queue.pop_front().map(|(_, waker)| waker),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::tasks::{block_on, within};
    use std::future::poll_fn;
    use std::task::Poll;

    #[test]
    fn a_rest_that_nothing_ends_is_over_in_the_end() {
        block_on(|executor| async move {
            let (tasks, resting) = (Tasks::new(executor), Resting::new());
            let (rest, busy) = (Rest::default(), Rest::default());
            let mut looks = 0;
            let over = poll_fn(|cx| {
                looks += 1;
                match resting.is_over(&rest, &tasks, cx) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            let busy = poll_fn(|cx| {
                busy.ends();
                assert!(!resting.is_over(&busy, &tasks, cx));
                Poll::<()>::Pending
            });
            within(Duration::from_secs(60), smol::future::or(over, busy))
                .await
                .unwrap();
            assert!(looks >= 2);
            // Nobody rests any more: the timer ends.
            tasks.idle().await;
            assert!(resting.queue.borrow().is_empty());
        });
    }
}

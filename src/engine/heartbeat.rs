//! One timer for all heartbeats.
//!
//! Sessions sit in buckets by the tick in which something is due: a ping, or the end of waiting for its pong.
//! A tick is 1 s, or a hundredth of a pingInterval under 10 s; what is due is rounded down to it. So idle costs
//! one wake-up a bucket, and none without sessions. An entry is 8 bytes and counts only while its session still says the same tick.

use super::{Closed, Engine, Session};
use smol::Timer;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long a session may live that the layer above has no use for, and the fewest pings in that time.
const PATIENCE: Duration = Duration::from_secs(45);
const FEWEST_PINGS: u128 = 2;

pub(super) struct Heartbeats {
    buckets: RefCell<BTreeMap<u64, Vec<(u32, u32)>>>,
    /// An emptied bucket, kept for its buffer.
    spare: Cell<Vec<(u32, u32)>>,
    waker: Cell<Option<Waker>>,
    /// The tick that the task sleeps until; `u64::MAX` when it waits for a first session.
    asleep_until: Cell<u64>,
    tick: Duration,
    /// Pings after which a session that the layer above has no use for is closed.
    patience: u32,
    start: Instant,
}

impl Heartbeats {
    pub fn new(interval: Duration) -> Self {
        Self {
            buckets: RefCell::default(),
            spare: Cell::default(),
            waker: Cell::default(),
            asleep_until: Cell::new(u64::MAX),
            tick: tick(interval),
            patience: patience(interval),
            start: Instant::now(),
        }
    }

    /// Something is due for a session after this long, and nothing that was due before.
    pub fn schedule(&self, session: &Session, after: Duration) {
        let due = self.tick_at(Instant::now() + after);
        session.beat.due.set(due);
        let fresh = || self.spare.take();
        self.buckets
            .borrow_mut()
            .entry(due)
            .or_insert_with(fresh)
            .push(session.key.get());
        if due < self.asleep_until.get()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// A pong arrived: the next ping is due one interval from now.
    pub fn pong(&self, session: &Session) {
        session.beat.answer();
        if session.beat.waiting.replace(false) {
            self.schedule(session, session.interval());
        }
    }

    /// Runs for ever.
    pub async fn run(&self, engine: &Rc<Engine>) {
        let mut timer = Timer::never();
        loop {
            self.next_due(&mut timer).await;
            let now = self.start.elapsed().as_nanos() / self.tick.as_nanos();
            while let Some(bucket) = self.pop(now as u64) {
                self.beat_all(engine, bucket);
            }
        }
    }

    /// Waits until the first bucket is due.
    async fn next_due(&self, timer: &mut Timer) {
        poll_fn(|cx| {
            self.waker.set(Some(cx.waker().clone()));
            let Some(first) = self.first() else {
                self.asleep_until.set(u64::MAX);
                timer.clear();
                return Poll::Pending;
            };
            if self.asleep_until.replace(first) != first {
                timer.set_at(self.time_of(first));
            }
            self.poll_timer(timer, cx)
        })
        .await
    }

    fn poll_timer(&self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
        let poll = Pin::new(timer).poll(cx).map(drop);
        if poll.is_ready() {
            self.asleep_until.set(u64::MAX);
        }
        poll
    }

    fn first(&self) -> Option<u64> {
        self.buckets.borrow().keys().next().copied()
    }

    fn pop(&self, now: u64) -> Option<(u64, Vec<(u32, u32)>)> {
        let mut buckets = self.buckets.borrow_mut();
        let first = buckets.first_entry()?;
        (*first.key() <= now).then(|| first.remove_entry())
    }

    fn beat_all(&self, engine: &Rc<Engine>, (tick, mut bucket): (u64, Vec<(u32, u32)>)) {
        for key in bucket.drain(..) {
            if let Some(session) = engine.at(key)
                && session.beat.due.get() == tick
            {
                self.beat(engine, &session);
            }
        }
        self.spare.set(bucket);
    }

    fn beat(&self, engine: &Rc<Engine>, session: &Rc<Session>) {
        let beat = &session.beat;
        let settings = &engine.settings;
        if session.ended().is_some() {
            engine.forget(session);
        } else if beat.waiting.get() && !beat.heard.replace(false) && beat.late.get() == 0 {
            session.close(Closed::PingTimeout);
        } else if beat.waiting.get() {
            beat.late.set(beat.late.get().saturating_sub(1));
            self.schedule(session, settings.ping_timeout);
        } else if beat.pings() >= self.patience && !engine.handler().in_use(session) {
            session.close(Closed::ByServer("nothing has used it for two heartbeats"));
        } else {
            beat.waiting.set(true);
            beat.heard.set(false);
            session.ping();
            self.schedule(session, settings.ping_timeout);
        }
    }

    /// A tick's beginning, also after months of short ticks.
    fn time_of(&self, tick: u64) -> Instant {
        let nanos = u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX);
        self.start + Duration::from_nanos(nanos.saturating_mul(tick))
    }

    fn tick_at(&self, at: Instant) -> u64 {
        let since = at.duration_since(self.start).as_nanos();
        (since / self.tick.as_nanos()) as u64
    }
}

fn tick(interval: Duration) -> Duration {
    let second = Duration::from_secs(1);
    if interval >= 10 * second {
        second
    } else {
        (interval / 100).max(Duration::from_millis(1))
    }
}

fn patience(interval: Duration) -> u32 {
    let pings = PATIENCE.as_millis().div_ceil(interval.as_millis().max(1));
    pings.max(FEWEST_PINGS).try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ticks_last_for_years() {
        let beats = Heartbeats::new(Duration::from_millis(100));
        assert_eq!(beats.tick, Duration::from_millis(1));
        let years = Duration::from_secs(3 * 365 * 86_400);
        let tick = beats.tick_at(beats.start + years);
        assert!(tick > u64::from(u32::MAX));
        assert_eq!(beats.time_of(tick), beats.start + years);
    }
}

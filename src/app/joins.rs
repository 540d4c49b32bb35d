//! What a client wants to enter while the directory can't tell whether it may: tried again until it can, or the client leaves.
//!
//! The client's next event waits for the first attempt, for some seconds at most, so that what follows a join finds it done.

use super::core::{Core, Fault};
use crate::engine::try_step;
use crate::ground::tasks::{Bell, Tasks, within};
use crate::metrics;
use crate::socket::Sid;
use futures_lite::future;
use smol::Timer;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long the client's next event waits for an attempt.
const FIRST: Duration = Duration::from_secs(5);
/// Between two attempts, at first and at last.
const PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Joins of one socket that may wait, and those of all.
const MOST_OF_SOCKET: usize = 64;
const MOST: usize = 10_000;

/// What the client's next event waits for.
pub type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// One attempt to join, with its answer.
pub type Trial<T> = Pin<Box<dyn Future<Output = Result<T, Fault>>>>;

/// The joins that are not done yet.
pub struct Joins {
    core: &'static Core,
    tasks: Tasks,
    waiting: RefCell<HashMap<Sid, Vec<Rc<Join>>>>,
    count: Cell<usize>,
}

struct Join {
    /// A room, or a name for several.
    what: Cow<'static, str>,
    /// It was tried once, or needn't be any more.
    tried: Cell<bool>,
    ended: Cell<bool>,
    changed: Bell,
}

impl Join {
    fn set(&self, flag: &Cell<bool>) {
        flag.set(true);
        self.changed.ring();
    }

    fn is(&self, flag: &Cell<bool>) -> impl Future<Output = ()> {
        self.changed.until(|| flag.get().then_some(()))
    }
}

impl Joins {
    pub fn new(core: &'static Core) -> Self {
        Self {
            core,
            tasks: Tasks::new(core.executor),
            waiting: RefCell::default(),
            count: Cell::default(),
        }
    }

    /// Lets a socket join something, and calls `done` with the answer, unless the socket leaves first. `attempt` is told
    /// whether it is the first. Returns what the client's next event has to wait for, if nobody could tell at once.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn start<T: 'static>(
        &'static self,
        sid: Sid,
        what: Cow<'static, str>,
        attempt: impl Fn(bool) -> Trial<T> + 'static,
        done: impl FnOnce(Result<T, Fault>) + 'static,
    ) -> Result<Option<Wait>, Fault> {
        self.check(sid)?;
        let mut first = attempt(true);
        // Mostly nobody has to be asked, and no entry is needed, no task and no timer.
        let mut cx = Context::from_waker(Waker::noop());
        match first.as_mut().poll(&mut cx) {
            Poll::Ready(Err(Fault::Unavailable(why))) => {
                first = Box::pin(future::ready(Err(Fault::Unavailable(why))));
            }
            Poll::Ready(answer) => {
                if self.core.hub.is_connected(sid) {
                    done(answer);
                }
                return Ok(None);
            }
            Poll::Pending => {}
        }
        let join = self.add(sid, what);
        let its = join.clone();
        let joining: Wait = Box::pin(async move {
            let ended = async {
                its.is(&its.ended).await;
                None
            };
            let answer = future::or(ended, async {
                Some(keep_trying(&its, first, attempt).await)
            })
            .await;
            self.remove(sid, &its);
            its.set(&its.tried);
            if let Some(answer) = answer {
                done(answer);
            }
        });
        let Some(joining) = try_step(joining) else {
            return Ok(None);
        };
        self.tasks.spawn("a join", joining);
        Ok(Some(Box::pin(async move {
            // Who has not signed in yet can do nothing else.
            if within(FIRST, join.is(&join.tried)).await.is_none()
                && self.core.pools.sessions.who(sid).is_none()
            {
                join.is(&join.tried).await;
            }
        })))
    }

    /// Whether a socket waits to join this.
    pub fn waits(&self, sid: Sid, what: &str) -> bool {
        let waiting = self.waiting.borrow();
        let mut joins = waiting.get(&sid).into_iter().flatten();
        joins.any(|join| join.what == what)
    }

    /// A socket does not want to join this any more.
    pub fn end(&self, sid: Sid, what: &str) {
        let waiting = self.waiting.borrow();
        let joins = waiting.get(&sid).into_iter().flatten();
        for join in joins.filter(|join| join.what == what) {
            join.set(&join.ended);
        }
    }

    /// The socket is gone.
    pub fn forget(&self, sid: Sid) {
        let joins = self.waiting.borrow_mut().remove(&sid);
        for join in joins.into_iter().flatten() {
            join.set(&join.ended);
        }
    }

    /// Whether a socket may have another join that waits.
    fn check(&self, sid: Sid) -> Result<(), Fault> {
        if !self.core.hub.is_connected(sid) {
            return Err(Fault::Gone);
        }
        let waiting = self.waiting.borrow();
        // Mostly nobody waits for anything.
        let its = (!waiting.is_empty())
            .then(|| waiting.get(&sid))
            .flatten()
            .map_or(0, Vec::len);
        match self.count.get() >= MOST || its >= MOST_OF_SOCKET {
            true => Err(Fault::Full("joins that wait")),
            false => Ok(()),
        }
    }

    fn add(&self, sid: Sid, what: Cow<'static, str>) -> Rc<Join> {
        let mut waiting = self.waiting.borrow_mut();
        let join = Rc::new(Join {
            what,
            tried: Cell::default(),
            ended: Cell::default(),
            changed: Bell::default(),
        });
        waiting.entry(sid).or_default().push(join.clone());
        self.count.set(self.count.get() + 1);
        join
    }

    fn remove(&self, sid: Sid, join: &Rc<Join>) {
        self.count.set(self.count.get() - 1);
        let mut waiting = self.waiting.borrow_mut();
        if let Some(joins) = waiting.get_mut(&sid) {
            joins.retain(|other| !Rc::ptr_eq(other, join));
            if joins.is_empty() {
                waiting.remove(&sid);
            }
        }
    }
}

/// Until there is an answer.
async fn keep_trying<T>(
    join: &Join,
    first: Trial<T>,
    attempt: impl Fn(bool) -> Trial<T>,
) -> Result<T, Fault> {
    let mut pause = PAUSE;
    let mut answer = first.await;
    while let Err(Fault::Unavailable(why)) = answer {
        // The directory has said in the log what is wrong: one line for the outage, not one a join.
        if !join.tried.get() {
            metrics::refused("directory unavailable");
        }
        log::debug!("{:?} is tried again: {why}", join.what);
        join.set(&join.tried);
        Timer::after(pause).await;
        pause = LAST_PAUSE.min(pause * 2);
        answer = attempt(false).await;
    }
    answer
}

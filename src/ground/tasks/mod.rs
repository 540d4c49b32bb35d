//! Who runs what: every task has an owner, which can list its tasks, wait for them and end them.
//!
//! - [`Tasks`]: the tasks of one owner
//! - [`Single`]: work that runs while there is some, once at a time
//! - [`Bell`]: waiting until something is so, without looking again and again
//! - [`within`]: no longer than that
//! - [`aside`]: work that is done beside our thread

mod aside;
mod bell;
mod deadline;
mod single;
#[cfg(test)]
mod tests;

pub use aside::{Aside, LARGE, aside, aside_if, aside_on_disk};
pub use bell::Bell;
pub use deadline::within;
use single::Runs;
pub use single::Single;

use super::net::Reactor;
use slab::Slab;
use smol::{LocalExecutor, Task};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The one executor. Everything of ours runs on it, on one thread.
pub type Executor = &'static LocalExecutor<'static>;

/// Tasks that run in one round at most, before connections have their turn, and how long.
const RUNS: usize = 64;
const RUN_TIME: Duration = Duration::from_millis(2);

/// Makes the executor, which lives as long as the process, and runs `main` on it until that ends.
///
/// Our thread waits in its reactor. In a round of its loop tasks run that have been woken, what they and the connections
/// have to say is written, and the connections that are ready are served.
pub fn block_on<T: 'static, F: Future<Output = T> + 'static>(
    main: impl FnOnce(Executor) -> F,
) -> T {
    let executor: Executor = Box::leak(Box::new(LocalExecutor::new()));
    let reactor = Reactor::current();
    let waker = Waker::from(reactor.bell().clone());
    let mut cx = Context::from_waker(&waker);
    // A task like all others, so that it isn't polled (and the signals' pipe read) whenever one of them wakes up.
    let mut main = Tasks::new(executor).run_to_end("all", main(executor));
    let mut tick = pin!(executor.tick());
    reactor.bell().ring();
    loop {
        if reactor.bell().was_rung() {
            let start = reactor.turns().began();
            let mut runs = 0;
            while tick.as_mut().poll(&mut cx).is_ready() {
                tick.set(executor.tick());
                runs += 1;
                if reactor.turns().over("a task") - start > RUN_TIME || runs == RUNS {
                    reactor.bell().ring();
                    break;
                }
            }
            #[cfg(test)]
            tests::fail_with_a_task();
            if let Poll::Ready(end) = Pin::new(&mut main).poll(&mut cx) {
                return end;
            }
        }
        reactor.flush();
        reactor.wait();
        reactor.turn();
    }
}

/// The tasks of one owner. A clone is the same owner.
///
/// A task whose owner is dropped goes on; one that must end is ended by [`Tasks::end`].
#[derive(Clone)]
pub struct Tasks(Rc<Owner>);

struct Owner {
    executor: Executor,
    running: RefCell<Slab<Running>>,
    /// Rung when no task runs any more.
    idle: Bell,
}

struct Running {
    name: &'static str,
    task: Option<Task<()>>,
}

impl Tasks {
    /// An owner without tasks.
    pub fn new(executor: Executor) -> Self {
        Self(Rc::new(Owner {
            executor,
            running: RefCell::default(),
            idle: Bell::default(),
        }))
    }

    /// Starts a task. Its name says in one or two words what it does, for [`Tasks::list`].
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + 'static) {
        self.start(name, Box::pin(work), None);
    }

    /// One kind of task for all work: what the executor needs for each kind is 1 to 2 KB of the binary.
    fn start(&self, name: &'static str, work: Work, single: Option<Runs>) {
        let key = self
            .0
            .running
            .borrow_mut()
            .insert(Running { name, task: None });
        let place = Place {
            owner: self.0.clone(),
            key,
        };
        let task = self.0.executor.spawn(Placed {
            work,
            _single: single,
            place,
        });
        // It has not run yet, so its place is still there.
        if let Some(running) = self.0.running.borrow_mut().get_mut(key) {
            running.task = Some(task);
        }
    }

    /// Starts a task that has an answer. Who stops waiting for the answer does not stop the task.
    pub fn run_to_end<T: 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + 'static,
    ) -> Outcome<T> {
        let answer = Rc::new(Slot {
            value: Cell::new(None),
            filled: Bell::default(),
        });
        let slot = answer.clone();
        self.spawn(name, async move {
            slot.value.set(Some(work.await));
            slot.filled.ring();
        });
        Outcome(answer)
    }

    /// How many tasks run.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.running.borrow().len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.0.running.borrow().is_empty()
    }

    /// The names of the tasks that run.
    pub fn list(&self) -> Vec<&'static str> {
        let running = self.0.running.borrow();
        running.iter().map(|(_, running)| running.name).collect()
    }

    /// Waits until no task runs. The caller limits the time.
    pub fn idle(&self) -> impl Future<Output = ()> {
        self.0.idle.until(|| self.is_empty().then_some(()))
    }

    /// Ends all tasks, wherever they wait.
    pub fn end(&self) {
        // Dropping a task may start or end others: no borrow is held meanwhile.
        let all: Vec<_> = {
            let mut running = self.0.running.borrow_mut();
            let tasks = running.iter_mut();
            tasks
                .filter_map(|(_, running)| running.task.take())
                .collect()
        };
        drop(all);
    }
}

/// What a task does.
type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Work, and its place while it runs.
struct Placed {
    work: Work,
    _single: Option<Runs>,
    place: Place,
}

impl Future for Placed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let name = self.place.name();
        Reactor::with(|reactor| reactor.turns().is_task(name));
        #[cfg(test)]
        let _watched = tests::Watched;
        self.work.as_mut().poll(cx)
    }
}

/// A task's place in its owner's list, until the task ends or is ended.
struct Place {
    owner: Rc<Owner>,
    key: usize,
}

impl Place {
    fn name(&self) -> &'static str {
        let running = self.owner.running.borrow();
        running.get(self.key).map_or("", |running| running.name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ended = self.owner.running.borrow_mut().try_remove(self.key);
        // It is ending by itself: it needn't be ended.
        if let Some(task) = ended.and_then(|running| running.task) {
            task.detach();
        }
        if self.owner.running.borrow().is_empty() {
            self.owner.idle.ring();
        }
    }
}

/// The answer of a task; never comes when the task was ended.
pub struct Outcome<T>(Rc<Slot<T>>);

struct Slot<T> {
    value: Cell<Option<T>>,
    filled: Bell,
}

impl<T> Future for Outcome<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.filled.poll(cx, || self.0.value.take())
    }
}

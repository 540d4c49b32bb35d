//! Tasks, waiting and deadlines.

use super::*;
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Notes a panic while a task runs: the executor keeps it for whoever waits for the task, and nobody does. (A release aborts.)
pub(super) struct Watched;

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            PANICKED.set(true);
        }
    }
}

/// Panics where a task has panicked, so that the test fails and does not wait for it.
pub(super) fn fail_with_a_task() {
    assert!(!PANICKED.replace(false), "a task panicked");
}

#[test]
#[should_panic(expected = "a task panicked")]
fn a_test_fails_with_its_task() {
    with_tasks(|tasks| async move {
        tasks.spawn("panics", async { panic!("as it shall") });
        std::future::pending::<()>().await;
    });
}

fn with_tasks<T: 'static, F: Future<Output = T> + 'static>(
    work: impl FnOnce(Tasks) -> F + 'static,
) -> T {
    block_on(move |executor| work(Tasks::new(executor)))
}

#[test]
fn an_owner_lists_its_tasks_and_waits_until_they_end() {
    with_tasks(|tasks| async move {
        let (bell, open) = (Rc::new(Bell::default()), Rc::new(Cell::new(false)));
        for name in ["a", "b"] {
            let (bell, open) = (bell.clone(), open.clone());
            tasks.spawn(name, async move {
                bell.until(|| open.get().then_some(())).await;
            });
        }
        assert_eq!(tasks.list(), ["a", "b"]);
        assert_eq!(within(Duration::from_millis(5), tasks.idle()).await, None);
        open.set(true);
        bell.ring();
        tasks.idle().await;
        assert!(tasks.is_empty() && tasks.list().is_empty());
    });
}

#[test]
fn ended_tasks_are_gone_and_say_nothing() {
    with_tasks(|tasks| async move {
        let dropped = Rc::new(Cell::new(0));
        struct Count(Rc<Cell<u32>>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        for _ in 0..3 {
            let count = Count(dropped.clone());
            tasks.spawn("waits", async move {
                std::future::pending::<()>().await;
                drop(count);
            });
        }
        let answer = tasks.run_to_end("asks", std::future::pending::<u8>());
        smol::future::yield_now().await;
        tasks.end();
        tasks.idle().await;
        assert_eq!((dropped.get(), tasks.len()), (3, 0));
        assert_eq!(within(Duration::from_millis(5), answer).await, None);
    });
}

#[test]
fn a_task_may_end_its_owner() {
    with_tasks(|tasks| async move {
        let owner = tasks.clone();
        tasks.spawn("other", std::future::pending());
        tasks.spawn("ends all", async move { owner.end() });
        tasks.idle().await;
    });
}

#[test]
fn who_stops_waiting_does_not_stop_the_task() {
    with_tasks(|tasks| async move {
        let done = Rc::new(Cell::new(false));
        let set = done.clone();
        drop(tasks.run_to_end("sets", async move { set.set(true) }));
        tasks.idle().await;
        assert!(done.get());
        assert_eq!(tasks.run_to_end("answers", async { 7 }).await, 7);
    });
}

#[test]
fn a_single_runs_once_at_a_time_and_again_when_there_is_more() {
    with_tasks(|tasks| async move {
        let (single, runs) = (Single::default(), Rc::new(Cell::new(0)));
        let start = || {
            let runs = runs.clone();
            single.start(&tasks, "counts", || async move {
                smol::future::yield_now().await;
                runs.set(runs.get() + 1);
            });
        };
        start();
        start();
        assert_eq!((tasks.len(), single.is_running()), (1, true));
        tasks.idle().await;
        start();
        tasks.idle().await;
        assert_eq!((runs.get(), single.is_running()), (2, false));
    });
}

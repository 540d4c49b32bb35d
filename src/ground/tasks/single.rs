//! Work that runs while there is some, once at a time.

use super::Tasks;
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

/// A task that is there at most once: started by whoever brings it work, it ends when it finds none.
///
/// What the work decides last and its end are one step, so that whoever brings more meanwhile starts it anew.
#[derive(Default)]
pub struct Single(Rc<Cell<bool>>);

impl Single {
    /// Starts `work`, unless it runs already. `work` returns only when it found, without waiting since, that
    /// nothing is left to do.
    pub fn start<F: Future<Output = ()> + 'static>(
        &self,
        tasks: &Tasks,
        name: &'static str,
        work: impl FnOnce() -> F,
    ) {
        if self.0.replace(true) {
            return;
        }
        let (running, work) = (Ended(self.0.clone()), work());
        tasks.spawn(name, async move {
            work.await;
            drop(running);
        });
    }

    /// Whether it runs.
    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.0.get()
    }
}

struct Ended(Rc<Cell<bool>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

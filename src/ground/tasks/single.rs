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
        let running = Runs(self.0.clone());
        tasks.start(name, Box::pin(work()), Some(running));
    }

    /// Whether it runs.
    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.0.get()
    }
}

/// It runs until this is dropped.
pub(super) struct Runs(Rc<Cell<bool>>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

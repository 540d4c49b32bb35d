//! Which models are in use: entries age, and are swept every 3 s while there are any.

use super::core::Core;
use crate::ground::clock::Moment;
use crate::ground::tasks::{Single, Tasks};
use crate::peers::pools::usage::LIFETIME;
use crate::socket::Sid;
use std::time::Instant;

/// Models in use by sockets of this instance.
pub struct Usage {
    core: &'static Core,
    tasks: Tasks,
    sweeping: Single,
}

impl Usage {
    pub fn new(core: &'static Core) -> Self {
        Self {
            core,
            tasks: Tasks::new(core.executor),
            sweeping: Single::default(),
        }
    }

    /// The session uses the model now.
    pub fn touch(&self, model: &str, sid: Sid) {
        let pool = &self.core.pools.usage;
        pool.touch(model, sid, Moment::now());
        let pool = pool.clone();
        let sweep = || async move {
            loop {
                smol::Timer::after(LIFETIME).await;
                if !pool.sweep(Instant::now()) {
                    return;
                }
            }
        };
        self.sweeping.start(&self.tasks, "sweeps usage", sweep);
    }

    /// The models in use on any instance, sorted.
    pub async fn models(&self) -> Vec<String> {
        let mut models = self.core.peers.models_in_use().await;
        models.extend(self.core.pools.usage.models());
        models.into_iter().collect()
    }
}

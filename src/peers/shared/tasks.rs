//! Tasks of all instances: who is about to save which document.
//!
//! As the reference's: a task is a key that lives a while and is renewed, a field that names its item, and a member of the
//! item's set. Whoever brings something newer to save stops the tasks of that item that are there, wherever they
//! run, and starts its own, all of it under the document's lock: so the last one to bring something is the one
//! that saves. A stopped task drops what it was about to save.

use super::lease;
use super::locks::Locks;
use super::{first_refusal, number};
use crate::ground::tasks::Bell;
use crate::ground::tasks::{Single, Tasks};
use crate::redis::{CommandError, Redis};
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// A task of this instance.
struct SaveTask {
    id: String,
    stopped: bool,
    /// How often it is being begun anew, with something newer than what whoever stops it now has.
    beginning: usize,
}

/// The tasks of this instance by item, and what Redis knows of all.
pub struct SaveTasks {
    owner: Tasks,
    redis: Redis,
    locks: Rc<Locks>,
    /// How long a task is believed to run that nobody renews; zero: until somebody removes it.
    lifetime: Duration,
    here: RefCell<HashMap<Rc<str>, SaveTask>>,
    /// Rung when one is stopped.
    stops: Bell,
    renewing: Single,
}

impl SaveTasks {
    pub fn new(owner: Tasks, redis: Redis, locks: Rc<Locks>, lifetime: Duration) -> Rc<Self> {
        Rc::new(Self {
            owner,
            redis,
            locks,
            lifetime,
            here: RefCell::default(),
            stops: Bell::default(),
            renewing: Single::default(),
        })
    }

    /// This instance has something newer to save for the item: others' tasks stop, ours is known. Should Redis not
    /// be able to, ours runs all the same.
    pub async fn begin(self: &Rc<Self>, item: &str, lock: &str) {
        let change = |change: &dyn Fn(&mut SaveTask)| {
            self.here.borrow_mut().get_mut(item).map(change);
        };
        change(&|task| task.beginning += 1);
        let begun = self
            .locks
            .with(lock, async |_| Ok(self.replace(item).await?))
            .await;
        change(&|task| task.beginning = task.beginning.saturating_sub(1));
        if let Err(fault) = begun {
            log::debug!("the task for {item} is not known to others: {fault}");
            change(&|task| task.stopped = false);
        }
        self.keep_renewing();
    }

    async fn replace(&self, item: &str) -> Result<(), CommandError> {
        let ours = self
            .here
            .borrow()
            .get(item)
            .filter(|task| !task.stopped)
            .map(|task| task.id.clone());
        let known = self.of(item).await?;
        if ours.is_some() && known.len() == 1 && known.first() == ours.as_ref() {
            return Ok(());
        }
        let id = lease::token();
        let mut commands = Vec::new();
        for other in known.iter().filter(|id| Some(*id) != ours.as_ref()) {
            let stop = json!({ "action": "stop", "task_id": other }).to_string();
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(self.redis.key("tasks:commands")).arg(stop);
            commands.push(publish);
        }
        commands.extend(known.iter().flat_map(|id| self.removal(id, item)));
        commands.extend(self.creation(&id, item));
        let ours = self.here.borrow().get(item).map(|task| task.beginning);
        let task = SaveTask {
            id,
            stopped: false,
            beginning: ours.unwrap_or(1),
        };
        self.here.borrow_mut().insert(item.into(), task);
        first_refusal(self.redis.pipeline(commands).await?)
    }

    /// Nothing is to be saved any more.
    pub async fn end(&self, item: &str) {
        let Some(task) = self.here.borrow_mut().remove(item) else {
            return;
        };
        let commands = self.removal(&task.id, item).into();
        if let Err(fault) = self.redis.pipeline(commands).await {
            log::debug!("the end of the task for {item} is not known to others: {fault}");
        }
    }

    /// This instance ends and saves nothing any more.
    pub async fn end_all(&self) {
        let items: Vec<Rc<str>> = self.here.borrow().keys().cloned().collect();
        for item in items {
            self.end(&item).await;
        }
    }

    /// Waits until somebody else stops our task for the item.
    pub async fn stopped(&self, item: &str) {
        let stopped = || {
            let here = self.here.borrow();
            here.get(item)
                .is_some_and(|task| task.stopped && task.beginning == 0)
                .then_some(())
        };
        self.stops.until(stopped).await;
    }

    /// A message on the channel of commands.
    pub fn command(&self, message: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Command {
            action: String,
            task_id: String,
        }
        let Ok(Command { action, task_id }) = crate::ground::json::read(message) else {
            log::debug!("a command for tasks that is none");
            return;
        };
        let mut here = self.here.borrow_mut();
        let ours = here.values_mut().find(|task| task.id == task_id);
        if let (Some(task), "stop") = (ours, &*action) {
            task.stopped = true;
            drop(here);
            self.stops.ring();
        }
    }

    /// Whether any instance has something to save for the item.
    pub async fn is_any(&self, item: &str) -> Result<bool, CommandError> {
        let known = self.of(item).await?;
        let exists = |id: &String| {
            let mut exists = redis::cmd("EXISTS");
            exists.arg(self.redis.key(&format!("tasks:{id}")));
            exists
        };
        let alive = self
            .redis
            .pipeline(known.iter().map(exists).collect())
            .await?;
        let mut any = false;
        let mut dead = Vec::new();
        for (id, alive) in known.iter().zip(&alive) {
            match number(alive) {
                0 => dead.extend(self.removal(id, item)),
                _ => any = true,
            }
        }
        self.redis.pipeline(dead).await?;
        Ok(any)
    }

    async fn of(&self, item: &str) -> Result<Vec<String>, CommandError> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(self.redis.key(&format!("tasks:item:{item}")));
        self.redis.query(members).await
    }

    fn creation(&self, id: &str, item: &str) -> [redis::Cmd; 3] {
        let mut alive = redis::cmd("SET");
        alive.arg(self.redis.key(&format!("tasks:{id}"))).arg("1");
        if !self.lifetime.is_zero() {
            alive.arg("EX").arg(self.seconds());
        }
        let mut task = redis::cmd("HSET");
        task.arg(self.redis.key("tasks")).arg(id).arg(item);
        let mut member = redis::cmd("SADD");
        member
            .arg(self.redis.key(&format!("tasks:item:{item}")))
            .arg(id);
        [alive, task, member]
    }

    fn removal(&self, id: &str, item: &str) -> [redis::Cmd; 3] {
        let mut alive = redis::cmd("DEL");
        alive.arg(self.redis.key(&format!("tasks:{id}")));
        let mut task = redis::cmd("HDEL");
        task.arg(self.redis.key("tasks")).arg(id);
        let mut member = redis::cmd("SREM");
        member
            .arg(self.redis.key(&format!("tasks:item:{item}")))
            .arg(id);
        [alive, task, member]
    }

    fn seconds(&self) -> u64 {
        self.lifetime.as_secs().max(1)
    }

    /// Renews the keys of our tasks every quarter of their life, while there are any.
    fn keep_renewing(self: &Rc<Self>) {
        if self.lifetime.is_zero() {
            return;
        }
        let tasks = self.clone();
        let renew = || async move {
            loop {
                smol::Timer::after(tasks.lifetime / 4).await;
                if tasks.here.borrow().is_empty() {
                    return;
                }
                if let Err(fault) = tasks.renew().await {
                    log::debug!("tasks can't be renewed: {fault}");
                }
            }
        };
        self.renewing.start(&self.owner, "renews tasks", renew);
    }

    async fn renew(&self) -> Result<(), CommandError> {
        let expire = |task: &SaveTask| {
            let mut expire = redis::cmd("EXPIRE");
            expire
                .arg(self.redis.key(&format!("tasks:{}", task.id)))
                .arg(self.seconds());
            expire
        };
        let commands = self.here.borrow().values().map(expire).collect();
        self.redis.pipeline(commands).await.map(drop)
    }
}

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
}

/// The tasks of this instance by item, and what Redis knows of all.
pub struct SaveTasks {
    owner: Tasks,
    redis: Redis,
    locks: Rc<Locks>,
    /// How long a task is believed to run that nobody renews; zero: until somebody removes it.
    lifetime: Duration,
    here: RefCell<HashMap<Rc<str>, SaveTask>>,
    /// How often an item's task is being begun, the first one included: with something newer than what whoever stops it now has.
    beginning: RefCell<HashMap<Rc<str>, usize>>,
    /// Rung when one is stopped.
    stops: Bell,
    renewing: Single,
}

/// While it is there, what stops the item's task has not seen what is brought.
struct Beginning<'a> {
    tasks: &'a SaveTasks,
    item: &'a str,
}

impl<'a> Beginning<'a> {
    fn of(tasks: &'a SaveTasks, item: &'a str) -> Self {
        let mut beginning = tasks.beginning.borrow_mut();
        *beginning.entry(item.into()).or_default() += 1;
        Self { tasks, item }
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        let mut beginning = self.tasks.beginning.borrow_mut();
        if let Some(times) = beginning.get_mut(self.item) {
            *times -= 1;
            if *times == 0 {
                beginning.remove(self.item);
            }
        }
    }
}

impl SaveTasks {
    pub fn new(owner: Tasks, redis: Redis, locks: Rc<Locks>, lifetime: Duration) -> Rc<Self> {
        Rc::new(Self {
            owner,
            redis,
            locks,
            lifetime,
            here: RefCell::default(),
            beginning: RefCell::default(),
            stops: Bell::default(),
            renewing: Single::default(),
        })
    }

    /// This instance has something newer to save for the item: others' tasks stop, ours is known. Should Redis not
    /// be able to, ours runs all the same.
    pub async fn begin(self: &Rc<Self>, item: &str, lock: &str) {
        let beginning = Beginning::of(self, item);
        let begun = self
            .locks
            .with(lock, async |_| Ok(self.replace(item).await?))
            .await;
        drop(beginning);
        if let Err(fault) = begun {
            log::debug!("the task for {item} is not known to others: {fault}");
            if let Some(task) = self.here.borrow_mut().get_mut(item) {
                task.stopped = false;
            }
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
        let stopped = false;
        let task = SaveTask { id, stopped };
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
    pub fn stopped(&self, item: &str) -> impl Future<Output = ()> {
        let stopped = move || {
            let (here, beginning) = (self.here.borrow(), self.beginning.borrow());
            let stopped = here.get(item).is_some_and(|task| task.stopped);
            (stopped && !beginning.contains_key(item)).then_some(())
        };
        self.stops.until(stopped)
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

    fn of(&self, item: &str) -> impl Future<Output = Result<Vec<String>, CommandError>> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(self.redis.key(&format!("tasks:item:{item}")));
        self.redis.query(members)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RedisOptions, RedisSettings, RedisTls, Secret};
    use futures_lite::future::poll_once;

    #[test]
    fn whoever_stops_a_task_has_not_seen_what_is_brought_meanwhile() {
        let executor = Box::leak(Box::new(smol::LocalExecutor::new()));
        smol::block_on(executor.run(async {
            let forever = Duration::ZERO;
            let settings = RedisSettings {
                url: Secret::new("redis://127.0.0.1:1"),
                sentinels: Vec::new(),
                cluster: false,
                options: RedisOptions::default(),
                tls: RedisTls::default(),
                room_channels: true,
                lock_timeout: Duration::from_secs(60),
                key_prefix: "p".into(),
                task_ttl: forever,
            };
            let redis = Redis::start(executor, &settings).unwrap();
            let locks = Locks::new(redis.clone(), false, settings.lock_timeout);
            let tasks = SaveTasks::new(Tasks::new(executor), redis, locks, forever);
            // Two bring something while there is no task yet; that of the first is stopped before the second has its turn.
            let mut second = Box::pin(tasks.begin("n", "lock"));
            assert_eq!(poll_once(&mut second).await, None);
            let task = SaveTask {
                id: "first".into(),
                stopped: false,
            };
            tasks.here.borrow_mut().insert("n".into(), task);
            tasks.command(br#"{"action":"stop","task_id":"first"}"#);
            assert_eq!(poll_once(tasks.stopped("n")).await, None);
            drop(second);
            assert_eq!(poll_once(tasks.stopped("n")).await, Some(()));
            assert!(tasks.beginning.borrow().is_empty());
        }));
    }
}

//! Writes this instance's sessions and models in use behind, into the pools that all instances share.
//!
//! One pipeline at a time. What can wait is collected for a second, so that any number of heartbeats costs a pipeline a
//! second; who comes, goes, opens or closes a chat is written at once, or a tenth of a second after the last
//! write. What could not be written is compared as a whole when Redis is back: entries of living sockets
//! are written again, those of sockets that left meanwhile are removed.

use super::{SharedPools, first_refusal};
use crate::ground::tasks::{Bell, within};
use crate::peers::pools::changes::{Batch, Changes};
use crate::redis::CommandError;
use crate::socket::Sid;
use futures_lite::future::or;
use redis::Cmd;
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

/// Between two writes of what can wait,
const LEISURE: Duration = Duration::from_secs(1);
/// and of what can't.
const HASTE: Duration = Duration::from_millis(100);
/// Fields of one command, so that none keeps Redis busy for long.
const FIELDS: usize = 500;
/// How long somebody waits for what changed to be written.
const SETTLE: Duration = Duration::from_secs(5);

/// Changes the entries of models in use: other instances' sids stay as they are.
/// `ARGV`: model, then what is ours of it as `[{sid: updated_at}, [sid that is gone, ...]]`, and so on.
const MERGE: &str = r"
for i = 1, #ARGV, 2 do
  local ours = cjson.decode(ARGV[i + 1])
  local known, entry = pcall(cjson.decode, redis.call('HGET', KEYS[1], ARGV[i]) or '{}')
  if not known or type(entry) ~= 'table' then entry = {} end
  for _, sid in ipairs(ours[2]) do entry[sid] = nil end
  for sid, at in pairs(ours[1]) do entry[sid] = {updated_at = at} end
  if next(entry) then redis.call('HSET', KEYS[1], ARGV[i], cjson.encode(entry))
  else redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
";

/// What is in Redis because of this instance, as far as it knows.
#[derive(Default)]
pub struct Mirror {
    sessions: RefCell<HashSet<Sid>>,
    usage: RefCell<HashMap<String, HashSet<Sid>>>,
    /// Sessions that went on at another instance: their entries are written there.
    moved: RefCell<Vec<Sid>>,
    /// Batches that were taken, and the last one that was written.
    taken: Cell<u64>,
    written: Cell<u64>,
    /// Rung when a batch was written, or could not be.
    done: Bell,
}

/// One write.
#[derive(Default)]
struct Work {
    commands: Vec<Cmd>,
    /// Session entries that are written and removed.
    put: Vec<Sid>,
    gone: Vec<Sid>,
    /// Our sessions of each model that changed.
    usage: HashMap<String, HashSet<Sid>>,
}

impl Mirror {
    /// A session goes on at another instance.
    pub fn moved(&self, sid: Sid) {
        self.moved.borrow_mut().push(sid);
    }

    /// How many session entries of the pool are this instance's.
    pub fn sessions(&self) -> usize {
        self.sessions.borrow().len()
    }
}

impl SharedPools {
    /// Writes until the process ends.
    pub(super) async fn keep_mirror(&self) {
        self.sessions.changes.watch();
        self.usage.changes.watch();
        let (mut reconciled, mut last) = (0, None);
        loop {
            let connections = self.redis.connected(0).await;
            if connections > reconciled {
                self.sessions.changes.undelivered();
                self.usage.changes.undelivered();
            }
            or(self.changed(), self.reconnected(connections)).await;
            if let Some(last) = last {
                self.pace(last).await;
            }
            last = Some(Instant::now());
            match self.write().await {
                Ok((put, gone, models)) => {
                    if connections > reconciled && reconciled > 0 {
                        log::info!(
                            "Redis is back: {put} session entries and {models} models in use are written again, {gone} entries of sockets that left are removed"
                        );
                    }
                    reconciled = connections;
                }
                Err(fault) => {
                    log::debug!("the pools are not written: {fault}");
                    self.sessions.changes.undelivered();
                    self.usage.changes.undelivered();
                }
            }
            self.mirror.done.ring();
        }
    }

    async fn reconnected(&self, connections: u64) {
        self.redis.connected(connections).await;
    }

    async fn changed(&self) {
        let sessions = self.sessions.changes.until(Changes::is_some);
        or(sessions, self.usage.changes.until(Changes::is_some)).await;
    }

    /// Not too soon after the last write.
    async fn pace(&self, last: Instant) {
        let leisure = async {
            smol::Timer::at(last + LEISURE).await;
        };
        let haste = async {
            self.sessions.changes.until(Changes::is_urgent).await;
            smol::Timer::at(last + HASTE).await;
        };
        or(leisure, haste).await;
    }

    /// Writes what changed. Returns entries written, entries removed, models.
    async fn write(&self) -> Result<(usize, usize, usize), CommandError> {
        let mirror = &self.mirror;
        mirror.taken.set(mirror.taken.get() + 1);
        let batch = mirror.taken.get();
        let mut work = Work::default();
        let moved = mirror.moved.take();
        for sid in &moved {
            mirror.sessions.borrow_mut().remove(sid);
        }
        self.add_sessions(&mut work, &moved);
        self.add_usage(&mut work, &moved);
        let commands = std::mem::take(&mut work.commands);
        first_refusal(self.redis.pipeline(commands).await?)?;
        mirror.written.set(batch);
        let counts = (work.put.len(), work.gone.len(), work.usage.len());
        let mut sessions = mirror.sessions.borrow_mut();
        sessions.extend(work.put);
        for sid in &work.gone {
            sessions.remove(sid);
        }
        let mut usage = mirror.usage.borrow_mut();
        usage.extend(work.usage);
        usage.retain(|_, sids| !sids.is_empty());
        Ok(counts)
    }

    fn add_sessions(&self, work: &mut Work, moved: &[Sid]) {
        let known = self.mirror.sessions.borrow();
        let changed: Vec<Sid> = match self.sessions.changes.take() {
            Batch::Keys(sids) => sids.into_iter().collect(),
            Batch::All => {
                let all: HashSet<Sid> = self.sessions.all().into_iter().collect();
                all.union(&known).copied().collect()
            }
        };
        let key = self.redis.key("session_pool");
        let mut entries = Vec::new();
        for sid in changed {
            match self.sessions.entry(sid) {
                Some(entry) => {
                    entries.push((sid, Value::Object(entry).to_string()));
                    work.put.push(sid);
                }
                None if moved.contains(&sid) => {}
                None => work.gone.push(sid),
            }
        }
        for some in entries.chunks(FIELDS) {
            let mut set = redis::cmd("HSET");
            set.arg(&key);
            for (sid, entry) in some {
                set.arg(sid.as_str()).arg(entry);
            }
            work.commands.push(set);
        }
        for some in work.gone.chunks(FIELDS) {
            let mut remove = redis::cmd("HDEL");
            remove.arg(&key);
            for sid in some {
                remove.arg(sid.as_str());
            }
            work.commands.push(remove);
        }
    }

    fn add_usage(&self, work: &mut Work, moved: &[Sid]) {
        let known = self.mirror.usage.borrow();
        let models: BTreeSet<String> = match self.usage.changes.take() {
            Batch::Keys(models) => models,
            Batch::All => self
                .usage
                .models()
                .into_iter()
                .chain(known.keys().cloned())
                .collect(),
        };
        let key = self.redis.key("usage_pool");
        for some in models.into_iter().collect::<Vec<_>>().chunks(FIELDS) {
            let mut merge = redis::cmd("EVAL");
            merge.arg(MERGE).arg(1).arg(&key);
            for model in some {
                let here = self.usage.sessions(model);
                let sids: HashSet<Sid> = here.iter().map(|(sid, _)| *sid).collect();
                let before = known.get(model);
                let gone: Vec<&Sid> = before
                    .into_iter()
                    .flatten()
                    .filter(|sid| !sids.contains(*sid) && !moved.contains(*sid))
                    .collect();
                let ours: Map<String, Value> = here
                    .iter()
                    .map(|(sid, at)| (sid.as_str().to_owned(), (*at).into()))
                    .collect();
                merge.arg(model).arg(json!([ours, gone]).to_string());
                work.usage.insert(model.clone(), sids);
            }
            work.commands.push(merge);
        }
    }

    /// Waits until what changed up to now is written, unless Redis, or a part of it, is away.
    pub async fn mirrored(&self) {
        let mirror = &self.mirror;
        let pending = self.sessions.changes.is_some() || self.usage.changes.is_some();
        if !self.redis.is_whole() || !pending && mirror.taken == mirror.written {
            return;
        }
        let target = mirror.taken.get() + u64::from(pending);
        self.sessions.changes.hurry();
        let written = mirror.done.until(|| {
            let over = mirror.written.get() >= target || !self.redis.is_whole();
            over.then_some(())
        });
        within(SETTLE, written).await;
    }
}

//! What one instance does for all: drops models that nobody uses any more, and sessions that were not heard of.
//!
//! Others write the time of day. While the clock was just set here, nothing is judged: whoever lives writes again before it
//! is. What lies in the future by more than clocks differ was written before a clock was set back: it is made to be of now.
//!
//! Whoever holds the lock does it, and stops when it is lost. Should two hold it for a moment, nothing happens twice: each
//! entry is judged and removed in one step.

use super::SharedPools;
use super::lease::{Lease, scattered};
use super::scan::PoolEntry;
use crate::ground::clock::now;
use crate::peers::pools::sessions::Reaped;
use crate::peers::pools::usage;
use crate::redis::{CommandError, Script};
use std::time::{Duration, Instant};

/// Entries of a step.
const STEP: &str = "200";

/// `ARGV`: cursor, size of a step, now, lifetime. Returns the next cursor.
static SWEEP: Script = Script::new(
    r"
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
for i = 1, #page[2], 2 do
  local known, entry = pcall(cjson.decode, page[2][i + 1])
  if known and type(entry) == 'table' then
    local changed = false
    for sid, use in pairs(entry) do
      local at = type(use) == 'table' and tonumber(use.updated_at) or 0
      local age = tonumber(ARGV[3]) - at
      if age > tonumber(ARGV[4]) then
        entry[sid] = nil
        changed = true
      elseif -age > tonumber(ARGV[4]) + 300 then
        use.updated_at = tonumber(ARGV[3])
        changed = true
      end
    end
    if not next(entry) then redis.call('HDEL', KEYS[1], page[2][i])
    elseif changed then redis.call('HSET', KEYS[1], page[2][i], cjson.encode(entry)) end
  end
end
return page[1]
",
);

/// The same arguments. Returns the next cursor, then sid and entry of each session that is removed.
static REAP: Script = Script::new(
    r#"
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local reaped = {page[1]}
for i = 1, #page[2], 2 do
  local known, entry = pcall(cjson.decode, page[2][i + 1])
  if known and type(entry) == 'table' then
    local age = tonumber(ARGV[3]) - (tonumber(entry.last_seen_at) or 0)
    if age > tonumber(ARGV[4]) then
      redis.call('HDEL', KEYS[1], page[2][i])
      reaped[#reaped + 1] = page[2][i]
      reaped[#reaped + 1] = page[2][i + 1]
    elseif -age > tonumber(ARGV[4]) + 300 then
      local now = string.gsub(page[2][i + 1], '("last_seen_at":%s*)[%d.eE+-]+', '%1' .. ARGV[3], 1)
      redis.call('HSET', KEYS[1], page[2][i], now)
    end
  end
end
return reaped
"#,
);

const USAGE_LOCK: &str = "usage_cleanup_lock";
const SESSION_LOCK: &str = "session_cleanup_lock";

impl SharedPools {
    /// Sweeps the usage pool every 3 s while this instance holds the lock.
    pub(super) async fn keep_sweeping(&self) {
        let every = usage::LIFETIME;
        loop {
            self.wait_for_lock(USAGE_LOCK).await;
            while self.is_held_for(USAGE_LOCK, every).await && self.sweep().await.is_ok() {
                smol::Timer::after(every).await;
            }
        }
    }

    /// Reaps sessions while this instance holds the lock.
    pub(super) async fn keep_reaping(&self) {
        let every = self.session_timeout;
        loop {
            self.wait_for_lock(SESSION_LOCK).await;
            let mut next = Instant::now();
            while self.renew(SESSION_LOCK).await {
                if Instant::now() >= next {
                    if self.reap().await.is_err() {
                        break;
                    }
                    next = Instant::now() + every;
                }
                smol::Timer::at(next.min(Instant::now() + self.lock_timeout / 2)).await;
            }
        }
    }

    /// Gives back the locks of a process that ends, after its sweepers have ended.
    pub(super) async fn release_locks(&self) {
        for lease in self.held.take().into_values() {
            lease.release(&self.redis).await;
        }
    }

    /// Waits until this instance has the lock.
    async fn wait_for_lock(&self, name: &'static str) {
        loop {
            self.redis.connected(0).await;
            match Lease::take(&self.redis, &self.redis.key(name), self.lock_timeout).await {
                Ok(Some(lease)) => {
                    self.held.borrow_mut().insert(name, lease);
                    return;
                }
                Ok(None) => {}
                Err(fault) => log::debug!("{name} can't be taken: {fault}"),
            }
            smol::Timer::after(scattered(self.lock_timeout)).await;
        }
    }

    /// Whether the lock will be ours for so long; asks Redis only when that is not sure.
    async fn is_held_for(&self, name: &'static str, time: Duration) -> bool {
        let sure = |lease: &Lease| lease.is_sure_for(time);
        self.held.borrow().get(name).is_some_and(sure) || self.renew(name).await
    }

    /// Renews the lock, if it is still ours.
    async fn renew(&self, name: &'static str) -> bool {
        let Some(mut lease) = self.held.borrow_mut().remove(name) else {
            return false;
        };
        match lease.renew(&self.redis).await {
            Ok(true) => {
                self.held.borrow_mut().insert(name, lease);
                return true;
            }
            Ok(false) => log::info!("{name} is lost to another instance"),
            Err(fault) => log::debug!("{name} can't be renewed: {fault}"),
        }
        false
    }

    async fn sweep(&self) -> Result<(), CommandError> {
        if !self.steps.none_for(usage::LIFETIME) {
            return Ok(());
        }
        let key = self.redis.key("usage_pool");
        let (now, lifetime) = (now().to_string(), usage::LIFETIME.as_secs().to_string());
        let mut cursor = "0".to_owned();
        loop {
            let args = [&*cursor, STEP, &now, &lifetime].map(str::as_bytes);
            cursor = self.redis.script(&SWEEP, &[&key], &args).await?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    async fn reap(&self) -> Result<(), CommandError> {
        if !self.steps.none_for(self.session_timeout) {
            return Ok(());
        }
        let key = self.redis.key("session_pool");
        let (now, timeout) = (
            now().to_string(),
            self.session_timeout.as_secs().to_string(),
        );
        let mut cursor = "0".to_owned();
        loop {
            let args = [&*cursor, STEP, &now, &timeout].map(str::as_bytes);
            let page: Vec<String> = self.redis.script(&REAP, &[&key], &args).await?;
            let mut page = page.into_iter();
            cursor = page.next().unwrap_or_else(|| "0".into());
            let mut sessions = Vec::new();
            while let (Some(sid), Some(entry)) = (page.next(), page.next()) {
                let entry: Option<PoolEntry> = serde_json::from_str(&entry).ok();
                let chats = entry.and_then(|entry| entry.chat_ids);
                sessions.push((sid, chats.unwrap_or_default()));
            }
            if !sessions.is_empty() {
                log::info!(
                    "{} sessions that were not heard of are reaped",
                    sessions.len()
                );
                let _ = self.reaped.0.send(Reaped { sessions }).await;
            }
            if cursor == "0" {
                return Ok(());
            }
        }
    }
}

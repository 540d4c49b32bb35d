//! What of the other instances can be seen in Redis, for whoever looks for a fault. Nothing is written but a word on a channel
//! of our own, which nobody else listens to.

use crate::config::Config;

/// What is seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Whether what is published comes back to a subscriber.
    pub heard: bool,
    /// The server's time of day (epoch seconds).
    pub clock: Option<i64>,
    pub database: i64,
    /// Processes that listen to what all of them say, and those of them that are siskin.
    pub processes: u64,
    pub siskins: u64,
    /// Whether a process of another program holds a lock where we would.
    pub by_another: bool,
    /// Where other processes hold theirs: with other prefixes, and in other databases.
    pub prefixes: Vec<String>,
    pub databases: Vec<i64>,
}

/// Looks; `None` when the settings name no Redis.
///
/// # Errors
/// It is not reached, and why.
#[cfg(not(feature = "redis"))]
pub fn look(_: &Config) -> Option<Result<Seen, String>> {
    None
}

#[cfg(feature = "redis")]
pub use with_redis::look;

#[cfg(feature = "redis")]
mod with_redis {
    use super::{Config, Seen};
    use crate::config::RedisSettings;
    use crate::ground::tasks::{Executor, block_on, within};
    use crate::peers::backplane::CHANNEL;
    use crate::redis::{CommandError, Redis, cmd, own_channel};
    use futures_lite::future::or;
    use std::time::Duration;

    /// How long all of it may take beside what the settings give a connection.
    const LIMIT: Duration = Duration::from_secs(8);
    /// What a process of Open WebUI holds for as long as it lives, and siskin while it tidies up.
    const LOCKS: [&str; 2] = ["usage_cleanup_lock", "session_cleanup_lock"];
    /// Steps of a search through all keys, and keys a step.
    const STEPS: usize = 300;
    const STEP: usize = 1000;

    /// Looks; `None` when the settings name no Redis.
    ///
    /// # Errors
    /// It is not reached, and why.
    pub fn look(config: &Config) -> Option<Result<Seen, String>> {
        let settings = config.redis.clone()?;
        Some(block_on(|executor| connect(executor, settings)))
    }

    async fn connect(executor: Executor, settings: RedisSettings) -> Result<Seen, String> {
        let redis = Redis::start(executor, &settings)?;
        let connected = async {
            redis.connected(0).await;
        };
        within(LIMIT, or(connected, redis.away())).await;
        if !redis.is_up() {
            return Err(redis.degraded().unwrap_or_default());
        }
        let mut seen = Seen {
            heard: within(LIMIT, redis.heard_anew((0, 0))).await.is_some(),
            ..Seen::default()
        };
        // What a user of Redis may not do is not seen.
        let _ = within(LIMIT, look_around(&redis, &settings, &mut seen)).await;
        Ok(seen)
    }

    async fn look_around(
        redis: &Redis,
        settings: &RedisSettings,
        seen: &mut Seen,
    ) -> Result<(), CommandError> {
        let listeners = redis.listeners(&[CHANNEL.into()]).await?;
        seen.processes = listeners.iter().sum();
        let mut channels = cmd("PUBSUB");
        channels.arg("CHANNELS").arg(own_channel("*"));
        let siskins: Vec<String> = redis.query(channels).await?;
        let ours = own_channel(redis.host_id());
        seen.siskins = siskins.iter().filter(|name| **name != ours).count() as u64;
        let time: Vec<i64> = redis.query(cmd("TIME")).await?;
        seen.clock = time.first().copied();
        for lock in LOCKS {
            let holder: Option<String> = redis.query(get(&redis.key(lock))).await?;
            // A uuid of Python's has dashes, ours has none.
            seen.by_another |= holder.is_some_and(|holder| holder.contains('-'));
        }
        if settings.cluster {
            return Ok(());
        }
        seen.prefixes = prefixes(redis, &settings.key_prefix).await?;
        databases(redis, seen).await
    }

    fn get(key: &str) -> redis::Cmd {
        let mut get = cmd("GET");
        get.arg(key);
        get
    }

    /// Other prefixes under which somebody holds a lock.
    async fn prefixes(redis: &Redis, own: &str) -> Result<Vec<String>, CommandError> {
        let mut found = Vec::new();
        let mut cursor = String::from("0");
        for _ in 0..STEPS {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor)
                .arg("MATCH")
                .arg("*_cleanup_lock")
                .arg("COUNT")
                .arg(STEP);
            let (next, keys): (String, Vec<String>) = redis.query(scan).await?;
            for key in keys {
                let prefix = key
                    .rsplit_once(':')
                    .filter(|(_, name)| LOCKS.contains(name));
                if let Some((prefix, _)) = prefix
                    && prefix != own
                {
                    found.push(prefix.to_owned());
                }
            }
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        Ok(found)
    }

    /// Other databases in which somebody holds a lock. The connection is nobody's but ours.
    async fn databases(redis: &Redis, seen: &mut Seen) -> Result<(), CommandError> {
        seen.database = redis.database();
        let mut info = cmd("INFO");
        info.arg("keyspace");
        let info: String = redis.query(info).await?;
        let numbers = info
            .lines()
            .filter_map(|line| line.strip_prefix("db")?.split(':').next()?.parse().ok());
        for number in numbers.filter(|number| *number != seen.database) {
            let mut select = cmd("SELECT");
            select.arg(number);
            redis.query::<String>(select).await?;
            for lock in LOCKS {
                if redis
                    .query::<Option<String>>(get(&redis.key(lock)))
                    .await?
                    .is_some()
                {
                    seen.databases.push(number);
                }
            }
        }
        Ok(())
    }
}

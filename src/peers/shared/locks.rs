//! The locks of documents, in redis-py's form, since other processes take the same ones.
//!
//! Sessions of this instance come one after another, in the order they asked; only the first of them tries in Redis.
//! Work under a lock is a few steps, each a script on one key. Such a step does nothing once the lock is
//! another's: on a single server its script compares the token; in a Cluster, where lock and value may be on
//! different servers, it is not begun after half of the lock's time. Work that lost its lock begins again.

use super::lease::{Lease, scattered};
use crate::ground::tasks::within;
use crate::redis::{CommandError, Redis, Script};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a lock of ours outlives us: a few times what work under it can take, so that an instance that
/// died keeps nobody for long.
const LIFETIME: Duration = Duration::from_secs(10);
/// How much longer somebody waits than the lock of another process that died can last.
const LONGER: Duration = Duration::from_secs(5);
/// How long whoever comes right after the start waits for the first connection.
const START: Duration = Duration::from_secs(5);
/// Between two attempts while another process has it.
const RETRY: Duration = Duration::from_millis(20);
/// What a step returns when the lock is another's.
const LOST: i64 = -1;

/// Why work under a lock is not done.
#[derive(Debug)]
pub enum Trouble {
    /// The lock is not ours any more.
    Lost,
    CommandError(CommandError),
}

impl From<CommandError> for Trouble {
    fn from(fault: CommandError) -> Self {
        Self::CommandError(fault)
    }
}

/// Takes locks for this instance's sessions.
pub struct Locks {
    redis: Redis,
    /// Whether keys may be on different servers.
    cluster: bool,
    lifetime: Duration,
    /// Until when the first connection is waited for.
    start: Instant,
    /// How long somebody waits for a lock of another process.
    patience: Duration,
    turns: RefCell<HashMap<String, Rc<smol::lock::Mutex<()>>>>,
}

impl Locks {
    pub fn new(redis: Redis, cluster: bool, timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            redis,
            cluster,
            start: Instant::now() + START,
            lifetime: LIFETIME.min(timeout),
            patience: timeout + LONGER,
            turns: RefCell::default(),
        })
    }

    /// The key of a document's lock.
    pub fn of_document(&self, id: &str) -> String {
        self.redis.key(&format!("ydoc:documents:{id}:lock"))
    }

    /// Waits for the first connection, but only right after the start: clients are sometimes quicker than Redis.
    pub async fn started(&self) {
        let left = self.start.saturating_duration_since(Instant::now());
        if self.redis.connections() == 0 && !left.is_zero() {
            within(left, self.redis.connected(0)).await;
        }
    }

    /// Does some work while nobody else has the lock. The next of our sessions only begins when the caller goes on.
    pub async fn with<T>(
        &self,
        key: &str,
        work: impl AsyncFn(&Lease) -> Result<T, Trouble>,
    ) -> Result<T, CommandError> {
        let turn = self
            .turns
            .borrow_mut()
            .entry(key.into())
            .or_default()
            .clone();
        let ours = turn.lock().await;
        let done = self.hold(key, work).await;
        drop(ours);
        if Rc::strong_count(&turn) == 2 {
            self.turns.borrow_mut().remove(key);
        }
        done
    }

    async fn hold<T>(
        &self,
        key: &str,
        work: impl AsyncFn(&Lease) -> Result<T, Trouble>,
    ) -> Result<T, CommandError> {
        self.started().await;
        let late = Instant::now() + self.patience;
        while let Some(lease) = self.take(key, late).await? {
            let done = work(&lease).await;
            lease.release(&self.redis).await;
            match done {
                Ok(value) => return Ok(value),
                Err(Trouble::CommandError(fault)) => return Err(fault),
                Err(Trouble::Lost) => {
                    log::warn!("{key} was lost in the middle of the work, which begins again")
                }
            }
        }
        Err(CommandError::Timeout)
    }

    /// The lock, unless others have it until it is too late.
    async fn take(&self, key: &str, late: Instant) -> Result<Option<Lease>, CommandError> {
        while Instant::now() < late {
            let taken = Lease::take(&self.redis, key, self.lifetime).await?;
            if taken.is_some() {
                return Ok(taken);
            }
            smol::Timer::after(scattered(RETRY)).await;
        }
        Ok(None)
    }

    /// One step under a lock: a script that begins with [`fenced`]'s words. Returns its number.
    pub async fn step(
        &self,
        lease: &Lease,
        script: &Script,
        key: &str,
        args: &[&[u8]],
    ) -> Result<i64, Trouble> {
        if !lease.is_sure() {
            return Err(Trouble::Lost);
        }
        let all = [key, &lease.key];
        let keys = if self.cluster { &all[..1] } else { &all[..] };
        let mut all = vec![lease.token.as_bytes()];
        all.extend_from_slice(args);
        match self.redis.script(script, keys, &all).await? {
            LOST => Err(Trouble::Lost),
            number => Ok(number),
        }
    }

    /// Whether values may be seen in the middle of another process's change unless one has the lock.
    pub fn must_lock_to_read(&self) -> bool {
        self.cluster
    }
}

/// The source of a step: `KEYS[1]` is what it is about, `KEYS[2]` the lock, if it can be compared; `ARGV[1]` the token.
macro_rules! fenced {
    ($source:literal) => {
        concat!(
            "if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end\n",
            $source
        )
    };
}
pub(crate) use fenced;

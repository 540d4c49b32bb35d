//! Locks that instances take in Redis: `SET NX` with a token and a time to live, renewed and released only by
//! their owner.
//!
//! A holder may stall longer than its lock lives, and another one comes. So a lock proves nothing by itself:
//! what must not happen twice is either a step that Redis refuses once the token is another one (a fence, where lock
//! and value are on one server), or is not begun any more after half of the lock's time ([`Lease::is_sure`]).

use crate::redis::{CommandError, Redis, Script};
use data_encoding::HEXLOWER;
use std::time::{Duration, Instant};

static RENEW: Script = Script::new(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0",
);

static RELEASE: Script = Script::new(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
);

/// A lock that is ours, for a time.
pub struct Lease {
    pub key: String,
    /// 32 hexadecimal digits, as redis-py's.
    pub token: String,
    lifetime: Duration,
    /// When it was asked for: its time begins no earlier.
    asked: Instant,
}

impl Lease {
    /// Takes the lock if nobody has it.
    pub async fn take(
        redis: &Redis,
        key: &str,
        lifetime: Duration,
    ) -> Result<Option<Self>, CommandError> {
        let (token, asked) = (token(), Instant::now());
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&token).arg("NX").arg("PX");
        set.arg(milliseconds(lifetime));
        let taken: Option<String> = redis.query(set).await?;
        Ok(taken.map(|_| Self {
            key: key.to_owned(),
            token,
            lifetime,
            asked,
        }))
    }

    /// Its time begins again. `false`: it is not ours any more.
    pub async fn renew(&mut self, redis: &Redis) -> Result<bool, CommandError> {
        let asked = Instant::now();
        let lifetime = milliseconds(self.lifetime).to_string();
        let args = [self.token.as_bytes(), lifetime.as_bytes()];
        let renewed: bool = redis.script(&RENEW, &[&self.key], &args).await?;
        if renewed {
            self.asked = asked;
        }
        Ok(renewed)
    }

    /// Gives it back if it is still ours. Should that fail, it ends with its time.
    pub async fn release(self, redis: &Redis) {
        let args = [self.token.as_bytes()];
        let released = redis.script::<bool>(&RELEASE, &[&self.key], &args).await;
        if let Err(fault) = released {
            log::debug!("{} is not released: {fault}", self.key);
        }
    }

    /// Whether it is ours without doubt: a command that is sent now is over before another can have it.
    pub fn is_sure(&self) -> bool {
        self.is_sure_for(Duration::ZERO)
    }

    /// Whether that is still so after this time.
    pub fn is_sure_for(&self, time: Duration) -> bool {
        self.asked.elapsed() + time < self.lifetime / 2
    }
}

/// 32 random hexadecimal digits.
pub fn token() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    HEXLOWER.encode(&bytes)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A time between half of this and all of it, so that instances don't try in step.
pub fn scattered(time: Duration) -> Duration {
    let mut byte = [0u8; 2];
    getrandom::fill(&mut byte).expect("the system has a random source");
    let part = f64::from(u16::from_le_bytes(byte)) / f64::from(u16::MAX);
    time.mul_f64(0.5 + part / 2.0)
}

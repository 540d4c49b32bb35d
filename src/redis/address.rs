//! Where Redis is and who we are there: `WEBSOCKET_REDIS_URL` taken apart.

use crate::config;
use redis::RedisConnectionInfo;
use std::fmt;
use std::time::Duration;

/// How long a command, and a connection to come about, may take when the options don't say.
const DEADLINE: Duration = Duration::from_secs(5);

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// All that a connection needs to know.
#[derive(Clone)]
pub struct Endpoint {
    /// The host of the URL; with Sentinel its name is that of the service.
    pub address: Address,
    pub sentinels: Vec<Address>,
    pub cluster: bool,
    pub tls: bool,
    #[cfg(feature = "tls")]
    pub certificates: config::RedisTls,
    /// User, password, database.
    pub login: RedisConnectionInfo,
    /// For TCP, TLS and the login together.
    pub connect_timeout: Duration,
    /// For a command.
    pub timeout: Duration,
    pub retry_on_timeout: bool,
    /// How often a connection is asked whether it lives; `None`: never.
    pub health_check: Option<Duration>,
}

impl Endpoint {
    /// What the settings mean.
    ///
    /// # Errors
    /// What is wrong with the URL, without its password.
    pub fn new(config: &config::RedisSettings) -> Result<Self, String> {
        let url = config.url.expose();
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let tls = scheme == "rediss";
        #[cfg(feature = "tls")]
        if tls {
            super::tls::check(&config.tls)?;
        }
        #[cfg(not(feature = "tls"))]
        if tls {
            return Err("rediss:// needs TLS, and this siskin is built without it: take a build with the feature tls".into());
        }
        let ((host, port), login) = super::url::read(rest)?;
        let sentinels = config.sentinels.iter().cloned();
        if config.cluster && login.db() != 0 {
            return Err("a Cluster has no database but 0".into());
        }
        let options = config.options;
        Ok(Self {
            address: Address { host, port },
            sentinels: sentinels
                .map(|(host, port)| Address { host, port })
                .collect(),
            cluster: config.cluster,
            tls,
            #[cfg(feature = "tls")]
            certificates: config.tls.clone(),
            // Who looks at CLIENT LIST wants to know who that is.
            login: login.set_lib_name("siskin", env!("CARGO_PKG_VERSION")),
            connect_timeout: options.socket_connect_timeout.unwrap_or(DEADLINE),
            timeout: options.socket_timeout.unwrap_or(DEADLINE),
            retry_on_timeout: options.retry_on_timeout,
            health_check: options.health_check_interval,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.sentinels.first(), self.cluster) {
            (Some(first), _) => {
                write!(f, "Redis {} of the Sentinels at {first}", self.address.host)?;
                let others = self.sentinels.len() - 1;
                if others > 0 {
                    write!(f, " and {others} others")
                } else {
                    Ok(())
                }
            }
            (None, true) => write!(f, "Redis Cluster at {}", self.address),
            (None, false) => write!(f, "Redis at {}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RedisOptions, Secret};

    fn target(url: &str, cluster: bool) -> Result<Endpoint, String> {
        Endpoint::new(&config::RedisSettings {
            url: Secret::new(url),
            sentinels: Vec::new(),
            cluster,
            options: RedisOptions::default(),
            tls: config::RedisTls::default(),
            room_channels: true,
            lock_timeout: DEADLINE,
            key_prefix: "p".into(),
            task_ttl: DEADLINE,
        })
    }

    #[test]
    fn a_url_is_taken_apart() {
        let t = target("redis://me:p%40ss@Redis.lan:6380/3", false).unwrap();
        assert_eq!(t.address.to_string(), "Redis.lan:6380");
        assert_eq!(
            (t.login.username(), t.login.password(), t.login.db()),
            (Some("me"), Some("p@ss"), 3)
        );
        let t = target("redis://[::1]", false).unwrap();
        assert_eq!(t.address.to_string(), "[::1]:6379");
        for wrong in ["redis://h/x", "redis://:secret@0.0.0.0", "redis:///0"] {
            let why = target(wrong, false).err().unwrap();
            assert!(!why.contains("secret"), "{why}");
        }
        let t = target("redis://h/0", true).unwrap();
        assert_eq!(t.to_string(), "Redis Cluster at h:6379");
        assert!(target("redis://h/3", true).is_err());
    }
}

//! Environment to `Config`, once, at start.
//!
//! `table` names every setting, `env` finds what it is set to and where, `values` and `redis` say what a value means, and
//! `reader` makes the `Config`.

pub mod env;
mod origin;
mod reader;
mod redis;
pub mod table;
#[cfg(test)]
mod tests;
mod values;

pub use origin::Origin;
#[cfg(test)]
pub use redis::RedisOptions;
pub use redis::{RedisSettings, RedisTls};

use crate::log::Packets;
use env::Env;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use table::Row;

/// All settings, understood. The sentences are in [`table::SETTINGS`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `WEBUI_SECRET_KEY`.
    pub secret_key: Secret,
    /// `SISKIN_API_KEY`; none: the API is off.
    pub api_key: Option<Secret>,
    /// Never empty.
    pub listen: Vec<SocketAddr>,
    /// May not exist yet.
    pub data_dir: PathBuf,
    pub directory: DirectoryKind,
    pub trust_token_claims: bool,
    pub cors: Cors,
    pub log: log::LevelFilter,
    /// Which packets are logged.
    pub log_packets: Packets,
    pub console: bool,
    /// Everybody gets the metrics.
    pub metrics_open: bool,
    pub trusted_proxies: Vec<Network>,
    pub transports: Transports,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// Between two `heartbeat` events of a client.
    pub heartbeat_interval: Duration,
    /// How long the caller waits for an ack.
    pub caller_timeout: Option<Duration>,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    /// Token bucket a session, filled at this rate, ten times as deep; `None`: no limit.
    pub events_per_second: Option<usize>,
    /// Rooms a session.
    pub max_rooms: usize,
    /// Bytes of a client's message and of an API request's body.
    pub max_payload: usize,
    /// Bytes of all input that has begun and is not finished.
    pub input_bytes: usize,
    pub documents_bytes: usize,
    /// Bytes of a request's head.
    pub max_header: usize,
    /// Header lines of a request.
    pub max_header_lines: usize,
    /// Bytes that may wait for a session that has taken nothing for a while, and for any.
    pub outbox_bytes: usize,
    pub outbox_most: usize,
    pub outboxes_bytes: usize,
    /// Who can take up a session that lost its connection, for how long, and bytes that are kept for that.
    pub recovery: Recovery,
    pub recovery_time: Duration,
    pub recovery_bytes: usize,
    /// Where it is left for the next process.
    pub runtime_dir: Option<PathBuf>,
    /// `Some` with `WEBSOCKET_MANAGER=redis`.
    pub redis: Option<RedisSettings>,
}

impl Config {
    /// How long a session counts as present after its last heartbeat.
    pub fn session_timeout(&self) -> Duration {
        (self.heartbeat_interval * 4).max(Duration::from_secs(120))
    }
}

/// Text that must not be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for comparing and signing, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Who knows users, channels, notes and chats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryKind {
    /// The embedded store.
    Local,
    /// The REST of the Open WebUI at this address.
    OpenWebui(HttpUrl),
}

/// A plain `http://` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// What stands before every path: empty, or `/base` without a slash at its end.
    pub path: String,
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, path } = self;
        match host.contains(':') {
            true => write!(f, "http://[{host}]:{port}{path}"),
            false => write!(f, "http://{host}:{port}{path}"),
        }
    }
}

/// The origins that may connect from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    Any,
    Only(Vec<Origin>),
}

/// Who can take up a session that lost its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Browsers, and who asks for it.
    Browsers,
    Asked,
    Off,
}

impl Recovery {
    /// As it is set.
    pub fn word(self) -> &'static str {
        match self {
            Self::Browsers => "browsers",
            Self::Asked => "asked",
            Self::Off => "off",
        }
    }
}

/// The transports that clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transports {
    /// Long-polling, with upgrade to websocket, or websocket at once.
    Both,
    Websocket,
    Polling,
}

impl fmt::Display for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both",
            Self::Websocket => "websocket",
            Self::Polling => "polling",
        })
    }
}

/// An address with the number of its bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `10.0.0.0/8`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self { address, bits })
    }

    /// Is this address in the network? An IPv4 address in IPv6 form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(a)) => {
                let differ = net.to_bits() ^ a.to_bits();
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(a)) => {
                let differ = net.to_bits() ^ a.to_bits();
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    /// This environment variable.
    Environment(&'static str),
    File(PathBuf),
}

/// A setting that can't be used as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub name: String,
    pub what: String,
    pub fix: String,
}

impl Mistake {
    pub fn new(name: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.name, self.what, self.fix)
    }
}

/// What came of an environment.
#[derive(Debug)]
pub struct Reading {
    /// `None` when there is a mistake.
    pub config: Option<Config>,
    pub mistakes: Vec<Mistake>,
    /// What is odd but does not stop the start.
    pub warnings: Vec<String>,
    /// Each setting with its value as it counts (secrets masked, `None`: nothing) and its source, in the table's order.
    pub effective: Vec<(&'static Row, Option<String>, Source)>,
}

/// Reads the settings of this process.
pub fn read_environment() -> Reading {
    read(&env::of_process())
}

/// Reads the settings of an environment. Opens no file but those that hold secrets.
pub fn read(env: &Env) -> Reading {
    reader::read(env)
}

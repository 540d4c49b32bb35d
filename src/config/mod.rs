//! Environment to `Config`, once, at start.
//!
//! `table` names every setting, `env` finds what it is set to and where, `values` and `redis` say what a value means, and
//! `reader` makes the `Config`.

pub mod env;
mod reader;
mod redis;
pub mod table;
mod values;

pub use redis::{Redis, RedisOptions, RedisTls};

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
    pub console: bool,
    pub trusted_proxies: Vec<Network>,
    pub transports: Transports,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// Between two `heartbeat` events of a client.
    pub heartbeat_interval: Duration,
    /// How long the caller waits for an ack.
    pub caller_timeout: Duration,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    /// Token bucket a session, filled at this rate, ten times as deep; `None`: no limit.
    pub events_per_second: Option<usize>,
    /// Rooms a session.
    pub max_rooms: usize,
    /// Bytes of a client's message and of an API request's body.
    pub max_payload: usize,
    /// Bytes of a request's head.
    pub max_header: usize,
    /// Bytes that may wait for one session.
    pub outbox_bytes: usize,
    /// `Some` with `WEBSOCKET_MANAGER=redis`.
    pub redis: Option<Redis>,
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
    /// As browsers send them: scheme, host, maybe port, no slash at the end.
    Only(Vec<String>),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |net: &str, address: &str| {
            Network::parse(net)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.2"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1"));
        assert!(holds("::/0", "fe80::1") && holds("::1", "::1"));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "x", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    /// What comes of an environment that has this value under one of the row's names, and all that is said about it.
    fn read_with(row: &Row, name: &str, value: &str) -> (Reading, String) {
        let fixed = [
            ("WEBUI_SECRET_KEY", "0123456789abcdef"),
            ("HOME", "/home/ann"),
            ("WEBSOCKET_MANAGER", "redis"),
            ("WEBSOCKET_REDIS_URL", "redis://a"),
        ];
        let others = fixed.into_iter().filter(|(other, _)| *other != row.name);
        let pairs = others.chain([(name, value)]);
        let reading = read(&pairs.map(|(n, v)| (n.into(), v.into())).collect());
        let mistakes = reading.mistakes.iter().map(Mistake::to_string);
        let said: Vec<_> = mistakes.chain(reading.warnings.iter().cloned()).collect();
        (reading, said.join("\n"))
    }

    #[test]
    fn garbage_is_a_mistake_that_names_its_variable() {
        let huge = "9".repeat(100_000);
        let garbage = [
            "\u{FFFD}", "\u{1}", "-1", "1e999", "{", ":", "//", "☃", &huge,
        ];
        // These take any text, or 99...9 as the name of a host.
        let free = ["text", "a folder", "host or host:port, several with commas"];
        for row in table::SETTINGS {
            for name in std::iter::once(&row.name).chain(row.also) {
                for value in garbage {
                    let (reading, said) = read_with(row, name, value);
                    assert_eq!(reading.effective.len(), table::SETTINGS.len());
                    assert_eq!(reading.config.is_some(), reading.mistakes.is_empty());
                    let is_bad = value.contains(env::NOT_UTF8) || !free.contains(&row.shape);
                    assert!(
                        !is_bad || said.contains(name),
                        "{name}={value:.40}: {said:.400}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_empty_value_is_none() {
        for row in table::SETTINGS {
            for value in ["", " \t\n "] {
                let (reading, _) = read_with(row, row.name, value);
                let of_row = |(other, ..): &&(&Row, _, _)| other.name == row.name;
                let (_, _, source) = reading.effective.iter().find(of_row).unwrap();
                assert_eq!(*source, Source::Default, "{}", row.name);
            }
        }
    }

    #[test]
    fn a_home_that_is_not_utf8_is_none() {
        let pairs = [
            ("WEBUI_SECRET_KEY", "0123456789abcdef"),
            ("HOME", "/h/\u{FFFD}"),
        ];
        let reading = read(&pairs.map(|(n, v)| (n.into(), v.into())).into());
        assert_eq!(reading.mistakes[0].name, "SISKIN_DATA_DIR");
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("abc")), "(secret)");
    }
}

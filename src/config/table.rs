//! The settings: one table, from which parsing, help, `check`, the man page, README's table and the example file come.
//!
//! To add a setting, add a row here and a field to [`Config`](super::Config), which the reader fills from the row.

use super::redis::{REDIS_JSON, REDIS_URL, RedisJson};
use super::values::{
    ADDRESSES, BYTES, COUNT, DIRECTORY, FLAG, FOLDER, HEARTBEAT, HOSTS, Host, LEVEL, LIFETIME,
    LIMIT, MANAGER, METRICS, NETWORKS, ORIGINS, PORT, RECOVERY, SECONDS, SECRET, TEXT, TRANSPORTS,
};
use super::{Cors, DirectoryKind, Network, Recovery, Secret, Transports};
use log::LevelFilter;
use std::net::SocketAddr;
use std::time::Duration;

/// A setting whose value is a `T`. The type of `default` decides which method of the reader takes it.
#[derive(Debug)]
pub struct Setting<T, D> {
    pub row: Row,
    /// Reads a value; the error says how to write one.
    pub parse: fn(&str) -> Result<T, String>,
    pub default: D,
}

/// The default, as it would be typed.
#[derive(Debug)]
pub struct Value(pub &'static str);

/// The default is computed at start, as these words say.
#[derive(Debug)]
pub struct Computed(#[allow(dead_code, reason = "the row keeps the words")] pub &'static str);

/// There is no default; what that means is in the setting's sentence.
#[derive(Debug)]
pub struct Unset;

/// The setting must be given.
#[derive(Debug)]
pub struct Required;

/// What is known of a setting whatever its type: all that is printed about it.
#[derive(Debug)]
pub struct Row {
    /// The environment variable.
    pub name: &'static str,
    /// Other names that are read when the first is not set, in this order.
    pub also: &'static [&'static str],
    /// How to write a value.
    pub shape: &'static str,
    /// Never printed; can come from a file (`NAME_FILE`, or a systemd credential called `NAME`).
    pub secret: bool,
    pub default: Fallback,
    /// One sentence.
    pub about: &'static str,
}

impl Row {
    /// Is this its name, or a name that is read in its place?
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.also.contains(&name)
    }
}

/// [`Value`], [`Computed`], [`Unset`] or [`Required`], where the type does not matter.
#[derive(Debug)]
pub enum Fallback {
    Value(&'static str),
    Computed(&'static str),
    Unset,
    Required,
}

/// Makes of each row `/// sentence`, `NAME | OTHER NAMES: type = kind, default;` a static called `NAME`, and the list of all.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $name:ident $(| $also:ident)*: $type:ty = $kind:ident, $default:ident $(($text:literal))?;
    )+) => {
        $(
            $(#[doc = $about])+
            pub static $name: Setting<$type, $default> = Setting {
                row: Row {
                    name: stringify!($name),
                    also: &[$(stringify!($also)),*],
                    shape: $kind.shape,
                    secret: $kind.secret,
                    default: Fallback::$default $(($text))?,
                    about: concat!($($about),+).trim_ascii(),
                },
                parse: $kind.parse,
                default: $default $(($text))?,
            };
        )+

        /// Every setting, in the order of the table.
        pub static SETTINGS: &[&Row] = &[$(&$name.row),+];
    };
}

// Those that a newcomer needs first.
settings! {
    /// The secret that signs the users' tokens (HS256); the same as Open WebUI's.
    WEBUI_SECRET_KEY | WEBUI_JWT_SECRET_KEY: Secret = SECRET, Required;

    /// The key that a backend shows to the HTTP API; without one the API is off.
    SISKIN_API_KEY: Secret = SECRET, Unset;

    /// A WEBUI_SECRET_KEY or SISKIN_API_KEY of fewer than 16 bytes stops the start, since it could be guessed; true lets it pass, for a
    /// trial.
    SISKIN_ALLOW_WEAK_SECRETS: bool = FLAG, Value("false");

    /// Where connections are accepted; 0.0.0.0:8380 is every IPv4 address of the machine, port 0 any free port.
    SISKIN_LISTEN: Vec<SocketAddr> = ADDRESSES, Value("127.0.0.1:8380");

    /// The folder of the embedded store; none is needed beside an Open WebUI.
    SISKIN_DATA_DIR: String = FOLDER,
        Computed("$STATE_DIRECTORY under systemd, else siskin in $XDG_DATA_HOME or ~/.local/share");

    /// Who knows the users, channels, notes and chats: the embedded store (local), or the Open WebUI at this URL.
    SISKIN_DIRECTORY: DirectoryKind = DIRECTORY, Value("local");

    /// With the local directory: a user that it doesn't know is taken from the token's own id, name and role.
    SISKIN_TRUST_TOKEN_CLAIMS: bool = FLAG, Value("false");

    /// The web pages' origins that may connect from a browser.
    CORS_ALLOW_ORIGIN: Cors = ORIGINS, Value("*");

    /// The least important lines that are logged, on standard error.
    SISKIN_LOG: LevelFilter = LEVEL, Value("info");

    /// Logs Socket.IO packets, as debug lines whatever SISKIN_LOG is: kind, event name and size, never what is in them.
    WEBSOCKET_SERVER_LOGGING: bool = FLAG, Value("false");

    /// Logs Engine.IO packets, in the same way.
    WEBSOCKET_SERVER_ENGINEIO_LOGGING: bool = FLAG, Value("false");

    /// Serves the console page at /.
    SISKIN_CONSOLE: bool = FLAG, Value("true");

    /// Who gets /metrics: who shows the API's key, or asks on this machine itself and not through a proxy (key), or everybody (open).
    SISKIN_METRICS: bool = METRICS, Value("key");

    /// Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto headers (or Forwarded, where there are none) are believed,
    /// for the limit of connections an address, and for what an Open WebUI is told about a client.
    SISKIN_TRUSTED_PROXIES: Vec<Network> = NETWORKS, Value("127.0.0.0/8, ::1");

    /// false serves HTTP long-polling only, without an upgrade to websocket.
    ENABLE_WEBSOCKET_SUPPORT: bool = FLAG, Value("true");

    /// The transports that clients may use; wins over ENABLE_WEBSOCKET_SUPPORT.
    SISKIN_TRANSPORTS: Transports = TRANSPORTS, Computed("both, or polling when ENABLE_WEBSOCKET_SUPPORT is false");

    /// How often a client is asked whether it is still there.
    WEBSOCKET_SERVER_PING_INTERVAL: Duration = SECONDS, Value("25");

    /// How long it may take to answer before its session ends.
    WEBSOCKET_SERVER_PING_TIMEOUT: Duration = SECONDS, Value("60");

    /// How often clients send their heartbeat event; who misses four (and 120 s) no longer counts as present.
    WEBSOCKET_HEARTBEAT_INTERVAL: Duration = HEARTBEAT, Value("30");

    /// How long a backend's question to a browser waits for the answer; set to nothing it waits as long as the browser is
    /// there.
    WEBSOCKET_EVENT_CALLER_TIMEOUT: Duration = SECONDS, Value("300");

    /// Connections in all; more are refused.
    SISKIN_MAX_CONNECTIONS: usize = LIMIT, Computed("the limit of open files less 64, one for 16 KiB of the cgroup's or the machine's memory, at most 32768");

    /// Connections of one client address; more are refused.
    SISKIN_MAX_CONNECTIONS_PER_ADDRESS: usize = LIMIT, Computed("half of SISKIN_MAX_CONNECTIONS");

    /// Messages that one session may send a second, on average, and four times as many all sessions of a user, who pays more
    /// for what is large or reaches many; ten times as many at once pass. Who sends more is read more slowly, nothing is dropped; 0 lifts the limit.
    SISKIN_EVENTS_PER_SECOND: usize = COUNT, Value("200");

    /// Rooms that one session may be in.
    SISKIN_MAX_ROOMS: usize = LIMIT, Value("1000");

    /// The largest message of a client, and the largest body of a request to the API.
    SISKIN_MAX_PAYLOAD_BYTES: usize = BYTES, Value("16 MiB");

    /// What may be held of messages and requests that have begun and are not finished, of all connections together.
    SISKIN_INPUT_BYTES: usize = BYTES, Computed("an eighth of the cgroup's or the machine's memory, at most 64 MiB");

    /// What all open documents may take that are not in Redis; over it nobody opens another one or adds to one.
    SISKIN_DOCUMENTS_BYTES: usize = BYTES, Computed("an eighth of the cgroup's or the machine's memory, at most 64 MiB");

    /// The largest head (request line and header) of a request.
    SISKIN_MAX_HEADER_BYTES: usize = BYTES, Value("16 KiB");

    /// Header lines that a request may have.
    SISKIN_MAX_HEADER_LINES: usize = LIMIT, Value("100");

    /// What may wait for a client that has taken nothing for 20 s; over it the session is closed. A larger message is not
    /// counted against what follows it.
    SISKIN_OUTBOX_BYTES: usize = BYTES, Value("1 MiB");

    /// What may wait for any client beside its largest message; over it the session is closed.
    SISKIN_OUTBOX_MOST_BYTES: usize = BYTES, Computed("eight times SISKIN_OUTBOX_BYTES");

    /// What may wait for all clients together; over it those sessions are closed for which most waits.
    SISKIN_OUTBOXES_BYTES: usize = BYTES, Computed("an eighth of the cgroup's or the machine's memory");

    /// Whose session outlives its connection, with what is missed meanwhile: browsers' (and of who asks for it with
    /// auth.recover), only of who has asked, or nobody's.
    SISKIN_RECOVERY: Recovery = RECOVERY, Value("browsers");

    /// How long a session without a connection can be taken up again.
    SISKIN_RECOVERY_SECONDS: Duration = SECONDS, Value("120");

    /// What may be kept for that of events and sessions; the oldest goes first.
    SISKIN_RECOVERY_BYTES: usize = BYTES, Value("4 MiB");

    /// A folder of this instance alone, best in memory, where it leaves that for the next one when it is restarted; with Redis
    /// under systemd alone, and not over TLS, Sentinels or a Cluster. Without one a restart ends all sessions that no other instance takes up.
    SISKIN_RUNTIME_DIR: String = FOLDER, Computed("$RUNTIME_DIRECTORY, set by the services' files, else none");

    /// redis joins all instances, of siskin and of Open WebUI, that share one Redis; unset, this instance is alone.
    WEBSOCKET_MANAGER: &'static str = MANAGER, Unset;

    /// The Redis; with Sentinel the host is the name of the master's service.
    WEBSOCKET_REDIS_URL | REDIS_URL: Secret = REDIS_URL, Unset;

    /// The Sentinels that know the master.
    WEBSOCKET_SENTINEL_HOSTS: Vec<Host> = HOSTS, Unset;

    /// The Sentinels' port where the host names none.
    WEBSOCKET_SENTINEL_PORT: u16 = PORT, Value("26379");

    /// The Redis is a Cluster; the URL names one of its nodes.
    WEBSOCKET_REDIS_CLUSTER | REDIS_CLUSTER: bool = FLAG, Value("false");

    /// socket_timeout, socket_connect_timeout and health_check_interval in seconds, retry_on_timeout; for rediss://
    /// also ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_check_hostname, ssl_cert_reqs, which the URL's query may
    /// hold, too.
    WEBSOCKET_REDIS_OPTIONS: RedisJson = REDIS_JSON, Unset;

    /// A channel of its own for each room, so that an instance hears only what concerns its sockets; must be the same
    /// on all.
    WEBSOCKET_REDIS_ROOM_CHANNELS: bool = FLAG, Value("true");

    /// How long a lock is held that nobody renews.
    WEBSOCKET_REDIS_LOCK_TIMEOUT: Duration = SECONDS, Value("60");

    /// What every key in Redis begins with; must be the same on all.
    REDIS_KEY_PREFIX: String = TEXT, Value("open-webui");

    /// How long a task in Redis outlives an instance that died.
    REDIS_TASK_TTL: Duration = LIFETIME, Value("300");
}

//! The settings: one table, from which parsing, help, `check`, the man page, README's table and the example file come.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// Other names that are read when the first is not set, in this order.
    pub also: &'static [&'static str],
    pub kind: Kind,
    pub default: Fallback,
    /// Never printed; can come from a file (`NAME_FILE`, or a systemd credential called `NAME`).
    pub secret: bool,
    /// One sentence.
    pub about: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Flag,
    Count,
    Bytes,
    Seconds,
    Addresses,
    Networks,
    Hosts,
    Origins,
    Folder,
    Json,
    /// `local` or the URL of Open WebUI.
    Directory,
    RedisUrl,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Kind {
    /// How to write a value, for help texts.
    pub fn shape(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Flag => "true or false".into(),
            Self::Count => "a whole number".into(),
            Self::Bytes => "bytes, also as 64 KiB or 16 MiB".into(),
            Self::Seconds => "seconds, also 0.5".into(),
            Self::Addresses => "address:port, several with commas".into(),
            Self::Networks => "addresses or networks as 10.0.0.0/8, with commas".into(),
            Self::Hosts => "host or host:port, several with commas".into(),
            Self::Origins => "* or origins as https://chat.example, with semicolons".into(),
            Self::Folder => "a folder".into(),
            Self::Json => "a JSON object".into(),
            Self::Directory => "local, or a URL as http://127.0.0.1:8080".into(),
            Self::RedisUrl => "a URL as redis://user:password@host:6379/0".into(),
            Self::Word(words) => words.join(", "),
        }
    }
}

/// What holds when a setting is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// As if this had been given.
    Value(&'static str),
    /// Worked out at start, as these words say.
    Computed(&'static str),
    /// Nothing; what that means is in the setting's sentence.
    Unset,
    /// It must be given.
    Required,
}

use self::Fallback::{Computed, Required, Unset, Value};

const fn row(name: &'static str, kind: Kind, default: Fallback, about: &'static str) -> Setting {
    Setting {
        name,
        also: &[],
        kind,
        default,
        secret: false,
        about,
    }
}

impl Setting {
    const fn secret(self) -> Self {
        Self {
            secret: true,
            ..self
        }
    }

    const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }
}

/// Every setting, those that a newcomer needs first.
pub const SETTINGS: &[Setting] = &[
    row(
        "WEBUI_SECRET_KEY",
        Kind::Text,
        Required,
        "The secret that signs the users' tokens (HS256); the same as Open WebUI's.",
    )
    .secret()
    .also(&["WEBUI_JWT_SECRET_KEY"]),
    row(
        "SISKIN_API_KEY",
        Kind::Text,
        Unset,
        "The key that a backend shows to the HTTP API; without one the API is off.",
    )
    .secret(),
    row(
        "SISKIN_LISTEN",
        Kind::Addresses,
        Value("127.0.0.1:8380"),
        "Where connections are accepted; 0.0.0.0:8380 is every IPv4 address of the machine, port 0 any free port.",
    ),
    row(
        "SISKIN_DATA_DIR",
        Kind::Folder,
        Computed("$STATE_DIRECTORY under systemd, else siskin in $XDG_DATA_HOME or ~/.local/share"),
        "The folder of the embedded store.",
    ),
    row(
        "SISKIN_DIRECTORY",
        Kind::Directory,
        Value("local"),
        "Who knows the users, channels, notes and chats: the embedded store (local), or the Open WebUI at this URL.",
    ),
    row(
        "SISKIN_TRUST_TOKEN_CLAIMS",
        Kind::Flag,
        Value("false"),
        "With the local directory: a user that it doesn't know is taken from the token's own id, name and role.",
    ),
    row(
        "CORS_ALLOW_ORIGIN",
        Kind::Origins,
        Value("*"),
        "The web pages' origins that may connect from a browser.",
    ),
    row(
        "SISKIN_LOG",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        Value("info"),
        "The least important lines that are logged, on standard error.",
    ),
    row(
        "SISKIN_CONSOLE",
        Kind::Flag,
        Value("true"),
        "Serves the console page at /.",
    ),
    row(
        "SISKIN_TRUSTED_PROXIES",
        Kind::Networks,
        Value("127.0.0.0/8, ::1"),
        "Reverse proxies whose X-Forwarded-For header is believed, for the limit of connections an address.",
    ),
    row(
        "ENABLE_WEBSOCKET_SUPPORT",
        Kind::Flag,
        Value("true"),
        "false serves HTTP long-polling only, without an upgrade to websocket.",
    ),
    row(
        "SISKIN_TRANSPORTS",
        Kind::Word(&["both", "websocket", "polling"]),
        Computed("both, or polling when ENABLE_WEBSOCKET_SUPPORT is false"),
        "The transports that clients may use; wins over ENABLE_WEBSOCKET_SUPPORT.",
    ),
    row(
        "WEBSOCKET_SERVER_PING_INTERVAL",
        Kind::Seconds,
        Value("25"),
        "How often a client is asked whether it is still there.",
    ),
    row(
        "WEBSOCKET_SERVER_PING_TIMEOUT",
        Kind::Seconds,
        Value("60"),
        "How long it may take to answer before its session ends.",
    ),
    row(
        "WEBSOCKET_HEARTBEAT_INTERVAL",
        Kind::Seconds,
        Value("30"),
        "How often clients send their heartbeat event; who misses four (and 120 s) no longer counts as present.",
    ),
    row(
        "WEBSOCKET_EVENT_CALLER_TIMEOUT",
        Kind::Seconds,
        Value("300"),
        "How long a backend's question to a browser waits for the answer.",
    ),
    row(
        "SISKIN_MAX_CONNECTIONS",
        Kind::Count,
        Computed("the limit of open files less 64, at most 32768"),
        "Connections in all; more are refused.",
    ),
    row(
        "SISKIN_MAX_CONNECTIONS_PER_ADDRESS",
        Kind::Count,
        Computed("half of SISKIN_MAX_CONNECTIONS"),
        "Connections of one client address; more are refused.",
    ),
    row(
        "SISKIN_EVENTS_PER_SECOND",
        Kind::Count,
        Value("200"),
        "Events that one session may send a second, on average; ten times as many at once pass; 0 lifts the limit.",
    ),
    row(
        "SISKIN_MAX_ROOMS",
        Kind::Count,
        Value("1000"),
        "Rooms that one session may be in.",
    ),
    row(
        "SISKIN_MAX_PAYLOAD_BYTES",
        Kind::Bytes,
        Value("16 MiB"),
        "The largest message of a client, and the largest body of a request to the API.",
    ),
    row(
        "SISKIN_MAX_HEADER_BYTES",
        Kind::Bytes,
        Value("16 KiB"),
        "The largest head (request line and header) of a request.",
    ),
    row(
        "SISKIN_OUTBOX_BYTES",
        Kind::Bytes,
        Value("1 MiB"),
        "What may wait for one slow client; over it the session is closed. A single larger message still passes when nothing else waits.",
    ),
    row(
        "WEBSOCKET_MANAGER",
        Kind::Word(&["redis"]),
        Unset,
        "redis joins all instances, of siskin and of Open WebUI, that share one Redis; unset, this instance is alone.",
    ),
    row(
        "WEBSOCKET_REDIS_URL",
        Kind::RedisUrl,
        Unset,
        "The Redis; with Sentinel the host is the name of the master's service.",
    )
    .secret()
    .also(&["REDIS_URL"]),
    row(
        "WEBSOCKET_SENTINEL_HOSTS",
        Kind::Hosts,
        Unset,
        "The Sentinels that know the master.",
    ),
    row(
        "WEBSOCKET_SENTINEL_PORT",
        Kind::Count,
        Value("26379"),
        "The Sentinels' port where the host names none.",
    ),
    row(
        "WEBSOCKET_REDIS_CLUSTER",
        Kind::Flag,
        Value("false"),
        "The Redis is a Cluster; the URL names one of its nodes.",
    )
    .also(&["REDIS_CLUSTER"]),
    row(
        "WEBSOCKET_REDIS_OPTIONS",
        Kind::Json,
        Unset,
        "socket_timeout, socket_connect_timeout and health_check_interval in seconds, retry_on_timeout; for rediss:// also ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_check_hostname, ssl_cert_reqs, which the URL's query may hold, too.",
    ),
    row(
        "WEBSOCKET_REDIS_ROOM_CHANNELS",
        Kind::Flag,
        Value("true"),
        "A channel of its own for each room, so that an instance hears only what concerns its sockets; must be the same on all.",
    ),
    row(
        "WEBSOCKET_REDIS_LOCK_TIMEOUT",
        Kind::Seconds,
        Value("60"),
        "How long a lock is held that nobody renews.",
    ),
    row(
        "REDIS_KEY_PREFIX",
        Kind::Text,
        Value("open-webui"),
        "What every key in Redis begins with; must be the same on all.",
    ),
    row(
        "REDIS_TASK_TTL",
        Kind::Seconds,
        Value("300"),
        "How long a task in Redis outlives an instance that died.",
    ),
];

/// Names of the reference that begin as ours do and mean nothing here: no warning about them.
pub const FOREIGN: &[&str] = &[
    "WEBSOCKET_SERVER_LOGGING",
    "WEBSOCKET_SERVER_ENGINEIO_LOGGING",
];

/// The row of a name, or of a name that is read in its place.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS
        .iter()
        .find(|row| row.name == name || row.also.contains(&name))
}

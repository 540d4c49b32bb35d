//! Makes a `Config` of an environment and gathers every mistake on the way, instead of stopping at the first.

use super::env::{self, Env, NOT_UTF8};
use super::table::{self, Computed, Required, Row, SETTINGS, Setting, Unset, Value};
use super::{
    Config, DirectoryKind, Mistake, Reading, RedisSettings, RedisTls, Secret, Source, Transports,
};
use super::{redis, values};
use crate::log::Packets;
use std::path::PathBuf;
use std::time::Duration;

/// Files that stay open beside the connections: listeners, store, Redis, upstream.
const RESERVED_FILES: u64 = 64;
/// Where the default of `SISKIN_MAX_CONNECTIONS` stops, and the memory that each needs, the kernel's for its socket included,
/// with room beside them for the budgets of input and documents.
const MOST_CONNECTIONS: u64 = 32_768;
const CONNECTION_BYTES: usize = 16 << 10;
/// Where the default of `SISKIN_INPUT_BYTES`, and of `SISKIN_DOCUMENTS_BYTES`, begins and stops.
const LEAST_INPUT: usize = 1 << 20;
const MOST_INPUT: usize = 64 << 20;
/// A secret with fewer bytes stops the start, but for a trial.
const SHORT_SECRET: usize = 16;

pub fn read(env: &Env) -> Reading {
    let mut reader = Reader {
        env,
        mistakes: Vec::new(),
        warnings: env::unknown(env),
        effective: Vec::new(),
        weak_secrets: false,
    };
    let config = reader.config();
    let place = |row: &Row| SETTINGS.iter().position(|other| other.name == row.name);
    reader.effective.sort_by_key(|(row, ..)| place(row));
    Reading {
        config: config.filter(|_| reader.mistakes.is_empty()),
        mistakes: reader.mistakes,
        warnings: reader.warnings,
        effective: reader.effective,
    }
}

struct Reader<'a> {
    env: &'a Env,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
    effective: Vec<(&'static Row, Option<String>, Source)>,
    /// A secret may be one that could be guessed.
    weak_secrets: bool,
}

impl Reader<'_> {
    /// After a mistake the default stands in, so that the rest is read too.
    fn config(&mut self) -> Option<Config> {
        self.weak_secrets = self.value(&table::SISKIN_ALLOW_WEAK_SECRETS)?;
        let memory = crate::ground::memory::bytes();
        let max_connections =
            self.computed(&table::SISKIN_MAX_CONNECTIONS, most_connections(memory));
        let half = (max_connections / 2).max(1);
        let per_second = self.value(&table::SISKIN_EVENTS_PER_SECOND)?;
        let directory = self.value(&table::SISKIN_DIRECTORY)?;
        let mut config = Config {
            secret_key: self.required(&table::WEBUI_SECRET_KEY),
            api_key: self.api_key(),
            listen: self.value(&table::SISKIN_LISTEN)?,
            data_dir: self.data_dir(&directory),
            directory,
            trust_token_claims: self.value(&table::SISKIN_TRUST_TOKEN_CLAIMS)?,
            cors: self.value(&table::CORS_ALLOW_ORIGIN)?,
            log: self.value(&table::SISKIN_LOG)?,
            log_packets: Packets {
                socketio: self.value(&table::WEBSOCKET_SERVER_LOGGING)?,
                engineio: self.value(&table::WEBSOCKET_SERVER_ENGINEIO_LOGGING)?,
            },
            console: self.value(&table::SISKIN_CONSOLE)?,
            metrics_open: self.value(&table::SISKIN_METRICS)?,
            trusted_proxies: self.value(&table::SISKIN_TRUSTED_PROXIES)?,
            transports: self.transports()?,
            ping_interval: self.value(&table::WEBSOCKET_SERVER_PING_INTERVAL)?,
            ping_timeout: self.value(&table::WEBSOCKET_SERVER_PING_TIMEOUT)?,
            heartbeat_interval: self.lenient(&table::WEBSOCKET_HEARTBEAT_INTERVAL)?,
            caller_timeout: self.caller_timeout()?,
            max_connections,
            max_connections_per_address: self
                .computed(&table::SISKIN_MAX_CONNECTIONS_PER_ADDRESS, half),
            events_per_second: Some(per_second).filter(|&count| count > 0),
            max_rooms: self.value(&table::SISKIN_MAX_ROOMS)?,
            max_payload: self.value(&table::SISKIN_MAX_PAYLOAD_BYTES)?,
            input_bytes: self.computed(&table::SISKIN_INPUT_BYTES, input_bytes(memory)),
            documents_bytes: self.computed(&table::SISKIN_DOCUMENTS_BYTES, input_bytes(memory)),
            max_header: self.value(&table::SISKIN_MAX_HEADER_BYTES)?,
            max_header_lines: self.value(&table::SISKIN_MAX_HEADER_LINES)?,
            outbox_bytes: self.value(&table::SISKIN_OUTBOX_BYTES)?,
            outbox_most: 0,
            outboxes_bytes: 0,
            recovery: self.value(&table::SISKIN_RECOVERY)?,
            recovery_time: self.value(&table::SISKIN_RECOVERY_SECONDS)?,
            recovery_bytes: self.value(&table::SISKIN_RECOVERY_BYTES)?,
            runtime_dir: self.runtime_dir(),
            redis: self.redis(),
        };
        config.outbox_most = self.outbox_most(config.outbox_bytes);
        let outboxes = (memory / 8).max(config.outbox_bytes);
        config.outboxes_bytes = self.computed(&table::SISKIN_OUTBOXES_BYTES, outboxes);
        if config.trust_token_claims && config.directory != DirectoryKind::Local {
            let text = "SISKIN_TRUST_TOKEN_CLAIMS has no effect: Open WebUI knows the users";
            self.warnings.push(text.into());
        }
        Some(config)
    }

    fn api_key(&mut self) -> Option<Secret> {
        let key = self.optional(&table::SISKIN_API_KEY)?;
        self.check_strength(&table::SISKIN_API_KEY.row, &key);
        Some(key)
    }

    /// Set to nothing it is none, as for the reference.
    fn caller_timeout(&mut self) -> Option<Option<Duration>> {
        let row = &table::WEBSOCKET_EVENT_CALLER_TIMEOUT.row;
        if env::is_empty(self.env, row.name) {
            let source = Source::Environment(row.name);
            self.effective.push((row, Some(String::new()), source));
            return Some(None);
        }
        self.lenient(&table::WEBSOCKET_EVENT_CALLER_TIMEOUT)
            .map(Some)
    }

    /// Who reads may have as much waiting as who has stopped, or more.
    fn outbox_most(&mut self, stalled: usize) -> usize {
        let setting = &table::SISKIN_OUTBOX_MOST_BYTES;
        let most = self.computed(setting, stalled.saturating_mul(8));
        if most < stalled {
            let what = "it is less than SISKIN_OUTBOX_BYTES";
            self.mistake(&setting.row, what, "set it to as much, or more");
        }
        most
    }

    fn transports(&mut self) -> Option<Transports> {
        let default = match self.value(&table::ENABLE_WEBSOCKET_SUPPORT)? {
            true => Transports::Both,
            false => Transports::Polling,
        };
        Some(self.computed(&table::SISKIN_TRANSPORTS, default))
    }

    /// Empty when there is no store to be kept there.
    fn data_dir(&mut self, directory: &DirectoryKind) -> PathBuf {
        let default = default_folder(self.env).unwrap_or_default();
        let folder = self.computed(&table::SISKIN_DATA_DIR, default);
        if folder.is_empty() && *directory == DirectoryKind::Local {
            let what = "there is no home folder to take a default from";
            self.mistake(&table::SISKIN_DATA_DIR.row, what, "name a folder");
        }
        folder.into()
    }

    /// `None` when there is none.
    fn runtime_dir(&mut self) -> Option<PathBuf> {
        let default = first_of(self.env, "RUNTIME_DIRECTORY").unwrap_or_default();
        let folder = self.computed(&table::SISKIN_RUNTIME_DIR, default.into());
        (!folder.is_empty()).then(|| folder.into())
    }

    /// `None` when this instance is alone.
    fn redis(&mut self) -> Option<RedisSettings> {
        let wanted = self.optional(&table::WEBSOCKET_MANAGER).is_some();
        let before = self.mistakes.len();
        let url = self.optional(&table::WEBSOCKET_REDIS_URL);
        let has_url = url.is_some() || self.mistakes.len() > before;
        let url = url.unwrap_or_default();
        let mut json = self
            .optional(&table::WEBSOCKET_REDIS_OPTIONS)
            .unwrap_or_default();
        let of_url = self.redis_query(&url, &mut json.tls);
        let hosts = self
            .optional(&table::WEBSOCKET_SENTINEL_HOSTS)
            .unwrap_or_default();
        let port = self.value(&table::WEBSOCKET_SENTINEL_PORT)?;
        let with_port = |(host, own): values::Host| (host, own.unwrap_or(port));
        let redis = RedisSettings {
            url,
            sentinels: hosts.into_iter().map(with_port).collect(),
            cluster: self.value(&table::WEBSOCKET_REDIS_CLUSTER)?,
            options: json.options,
            tls: json.tls,
            room_channels: self.value(&table::WEBSOCKET_REDIS_ROOM_CHANNELS)?,
            lock_timeout: self.value(&table::WEBSOCKET_REDIS_LOCK_TIMEOUT)?,
            key_prefix: self.value(&table::REDIS_KEY_PREFIX)?,
            task_ttl: self.value(&table::REDIS_TASK_TTL)?,
        };
        if !wanted {
            // Settings of a Redis that is not used stop nothing: the environment may be shared with others.
            let unused = self.mistakes.split_off(before);
            self.warnings.extend(unused.iter().map(Mistake::to_string));
            return None;
        }
        self.warn_of_ignored(&table::WEBSOCKET_REDIS_OPTIONS.row, &json.unknown);
        self.warn_of_ignored(&table::WEBSOCKET_REDIS_URL.row, &of_url);
        self.check_redis(&redis, has_url);
        Some(redis)
    }

    /// Adds what the URL's query says about certificates; returns the names that mean nothing here.
    fn redis_query(&mut self, url: &Secret, tls: &mut RedisTls) -> Vec<String> {
        redis::redis_query(url.expose(), tls).unwrap_or_else(|fix| {
            let what = "its query can't be used";
            self.mistake(&table::WEBSOCKET_REDIS_URL.row, what, &fix);
            Vec::new()
        })
    }

    fn check_redis(&mut self, redis: &RedisSettings, has_url: bool) {
        if !has_url {
            let what = "it is not set, and WEBSOCKET_MANAGER is redis";
            let fix = "set it to the Redis that all instances share, as redis://127.0.0.1:6379/0";
            self.mistake(&table::WEBSOCKET_REDIS_URL.row, what, fix);
        }
        if redis.cluster && !redis.sentinels.is_empty() {
            let what = "WEBSOCKET_SENTINEL_HOSTS is set too";
            let fix = "a Cluster needs no Sentinel: keep one of them";
            self.mistake(&table::WEBSOCKET_REDIS_CLUSTER.row, what, fix);
        }
    }

    /// `None` only when the table's own default can't be read, which is a mistake like any other.
    fn value<T>(&mut self, setting: &'static Setting<T, Value>) -> Option<T> {
        let (row, Value(default)) = (&setting.row, &setting.default);
        self.given(setting).or_else(|| {
            self.default(row, Some((*default).to_owned()));
            let read = (setting.parse)(default);
            read.map_err(|fix| self.unusable(row, row.name, default, &fix))
                .ok()
        })
    }

    /// The same where the reference starts with whatever is set: what can't be used is said, and the default counts.
    fn lenient<T>(&mut self, setting: &'static Setting<T, Value>) -> Option<T> {
        let known = self.mistakes.len();
        let value = self.value(setting);
        let said = self.mistakes.split_off(known).into_iter();
        let said = said.map(|mistake| format!("{mistake}. The default counts"));
        self.warnings.extend(said);
        value
    }

    fn computed<T: ToString>(&mut self, setting: &'static Setting<T, Computed>, default: T) -> T {
        self.given(setting).unwrap_or_else(|| {
            self.default(&setting.row, Some(default.to_string()));
            default
        })
    }

    fn optional<T>(&mut self, setting: &'static Setting<T, Unset>) -> Option<T> {
        self.given(setting).or_else(|| {
            self.default(&setting.row, None);
            None
        })
    }

    /// Empty when it is missing, which is a mistake.
    fn required(&mut self, setting: &'static Setting<Secret, Required>) -> Secret {
        let (row, before) = (&setting.row, self.mistakes.len());
        if let Some(secret) = self.given(setting) {
            self.check_strength(row, &secret);
            return secret;
        }
        self.default(row, None);
        if self.mistakes.len() == before {
            let fix = "set it to Open WebUI's, or make one with `openssl rand -hex 32`";
            self.mistake(row, "it is not set", fix);
        }
        Secret::default()
    }

    /// What the environment says, parsed; a value that can't be is a mistake.
    fn given<T, D>(&mut self, setting: &'static Setting<T, D>) -> Option<T> {
        let row = &setting.row;
        let (text, source) = match env::find(self.env, row) {
            Ok(found) => found?,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return None;
            }
        };
        match (setting.parse)(&text) {
            Ok(value) => {
                let shown = match row.secret {
                    true => "(secret)".into(),
                    false => values::shown(&text),
                };
                self.effective.push((row, Some(shown), source));
                Some(value)
            }
            Err(fix) => {
                let name = match source {
                    Source::Environment(name) => name,
                    _ => row.name,
                };
                self.unusable(row, name, &text, &fix);
                None
            }
        }
    }

    fn default(&mut self, row: &'static Row, value: Option<String>) {
        self.effective.push((row, value, Source::Default));
    }

    fn unusable(&mut self, row: &Row, name: &str, text: &str, fix: &str) {
        let what = match row.secret {
            true => "its value can't be used".to_owned(),
            false => format!("{:?} can't be used", values::shown(text)),
        };
        self.mistakes.push(Mistake::new(name, what, fix));
    }

    fn mistake(&mut self, row: &Row, what: &str, fix: &str) {
        self.mistakes.push(Mistake::new(row.name, what, fix));
    }

    fn check_strength(&mut self, row: &Row, secret: &Secret) {
        if secret.expose().len() >= SHORT_SECRET {
            return;
        }
        let what = "it has fewer than 16 bytes and could be guessed";
        match self.weak_secrets {
            true => self.warnings.push(format!("{}: {what}", row.name)),
            false => {
                let fix = "make one with `openssl rand -hex 32`, or set SISKIN_ALLOW_WEAK_SECRETS=true for a trial";
                self.mistake(row, what, fix);
            }
        }
    }

    fn warn_of_ignored(&mut self, row: &Row, names: &[String]) {
        let ignored = |name| format!("{}: {name} has no effect", row.name);
        self.warnings.extend(names.iter().map(ignored));
    }
}

/// The store's folder when none is named. A name that is not UTF-8 would be another folder than the one that is meant.
fn default_folder(env: &Env) -> Option<String> {
    let state = first_of(env, "STATE_DIRECTORY");
    let data = || {
        let home = || given(env, "HOME").map(|home| format!("{home}/.local/share"));
        given(env, "XDG_DATA_HOME").map(str::to_owned).or_else(home)
    };
    let siskin = || data().map(|data| format!("{data}/siskin"));
    state.map(str::to_owned).or_else(siskin)
}

fn given<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env::given(env, name).filter(|value| !value.contains(NOT_UTF8))
}

/// systemd separates several folders with colons.
fn first_of<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    given(env, name).and_then(|list| list.split(':').next())
}

/// An eighth of the memory that there is, within limits.
fn input_bytes(memory: usize) -> usize {
    (memory / 8).clamp(LEAST_INPUT, MOST_INPUT)
}

/// As many as files can be opened, less a reserve, and as there is memory for. The start raises the soft limit to the hard one.
fn most_connections(memory: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let files = limit.unwrap_or(u64::MAX).saturating_sub(RESERVED_FILES);
    (files.clamp(1, MOST_CONNECTIONS) as usize).min(memory / CONNECTION_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_takes_as_many_connections_as_it_has_memory_for() {
        let files = most_connections(usize::MAX);
        assert!(files <= 32_768);
        // Half of a Pi Zero's, as the unit allows.
        assert_eq!(most_connections(256 << 20), files.min(16_384));
        assert_eq!(most_connections(64 << 20), files.min(4096));
    }
}

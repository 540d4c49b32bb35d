//! Makes a `Config` of an environment and gathers every mistake on the way, instead of stopping at the first.

use super::table::{Fallback, SETTINGS, Setting, setting};
use super::typed::{self, Env};
use super::{Config, DirectoryKind, Mistake, Reading, Redis, Secret, Source, Transports, values};
use std::path::PathBuf;

/// Files that stay open beside the connections: listeners, store, Redis, upstream.
const RESERVED_FILES: u64 = 64;
/// Where the default of `SISKIN_MAX_CONNECTIONS` stops.
const MOST_CONNECTIONS: u64 = 32_768;
/// A secret with fewer bytes gets a warning.
const SHORT_SECRET: usize = 16;

pub fn read(env: &Env) -> Reading {
    let mut reader = Reader {
        env,
        mistakes: Vec::new(),
        warnings: typed::unknown(env),
        effective: Vec::new(),
    };
    let config = reader.config();
    let place = |row: &Setting| SETTINGS.iter().position(|other| other.name == row.name);
    reader.effective.sort_by_key(|(row, ..)| place(row));
    Reading {
        config: reader.mistakes.is_empty().then_some(config),
        mistakes: reader.mistakes,
        warnings: reader.warnings,
        effective: reader.effective,
    }
}

struct Reader<'a> {
    env: &'a Env,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
    effective: Vec<(&'static Setting, Option<String>, Source)>,
}

impl Reader<'_> {
    /// After a mistake the default stands in, so that the rest is read too.
    fn config(&mut self) -> Config {
        let max_connections = self.or("SISKIN_MAX_CONNECTIONS", values::limit, most_connections);
        let half = || (max_connections / 2).max(1);
        let per_second = self.value("SISKIN_EVENTS_PER_SECOND", values::count);
        let config = Config {
            secret_key: self.required("WEBUI_SECRET_KEY"),
            api_key: self.secret("SISKIN_API_KEY"),
            listen: self.value("SISKIN_LISTEN", values::addresses),
            data_dir: self.data_dir(),
            directory: self.value("SISKIN_DIRECTORY", values::directory),
            trust_token_claims: self.value("SISKIN_TRUST_TOKEN_CLAIMS", values::flag),
            cors: self.value("CORS_ALLOW_ORIGIN", values::origins),
            log: self.value("SISKIN_LOG", values::level),
            console: self.value("SISKIN_CONSOLE", values::flag),
            trusted_proxies: self.value("SISKIN_TRUSTED_PROXIES", values::networks),
            transports: self.transports(),
            ping_interval: self.value("WEBSOCKET_SERVER_PING_INTERVAL", values::seconds),
            ping_timeout: self.value("WEBSOCKET_SERVER_PING_TIMEOUT", values::seconds),
            heartbeat_interval: self.value("WEBSOCKET_HEARTBEAT_INTERVAL", values::seconds),
            caller_timeout: self.value("WEBSOCKET_EVENT_CALLER_TIMEOUT", values::seconds),
            max_connections,
            max_connections_per_address: self.or(
                "SISKIN_MAX_CONNECTIONS_PER_ADDRESS",
                values::limit,
                half,
            ),
            events_per_second: Some(per_second).filter(|&count| count > 0),
            max_rooms: self.value("SISKIN_MAX_ROOMS", values::limit),
            max_payload: self.value("SISKIN_MAX_PAYLOAD_BYTES", values::bytes),
            max_header: self.value("SISKIN_MAX_HEADER_BYTES", values::bytes),
            outbox_bytes: self.value("SISKIN_OUTBOX_BYTES", values::bytes),
            redis: self.redis(),
        };
        if config.trust_token_claims && config.directory != DirectoryKind::Local {
            let text = "SISKIN_TRUST_TOKEN_CLAIMS has no effect: Open WebUI knows the users";
            self.warnings.push(text.into());
        }
        config
    }

    fn transports(&mut self) -> Transports {
        let websocket = self.value("ENABLE_WEBSOCKET_SUPPORT", values::flag);
        let default = || if websocket { "both" } else { "polling" }.to_owned();
        let words = |text: &str| values::word(text, &["both", "websocket", "polling"]);
        let chosen = self.or(
            "SISKIN_TRANSPORTS",
            |text| words(text).map(str::to_owned),
            default,
        );
        match chosen.as_str() {
            "websocket" => Transports::Websocket,
            "polling" => Transports::Polling,
            _ => Transports::Both,
        }
    }

    fn data_dir(&mut self) -> PathBuf {
        let env = self.env;
        let given = |name| env.get(name).filter(|value| !value.is_empty());
        let default = || {
            // systemd separates several folders with colons.
            let state = given("STATE_DIRECTORY").and_then(|list| list.split(':').next());
            let home = given("HOME").map(|home| format!("{home}/.local/share"));
            match (state, given("XDG_DATA_HOME").cloned().or(home)) {
                (Some(state), _) => state.to_owned(),
                (None, Some(data)) => format!("{data}/siskin"),
                (None, None) => String::new(),
            }
        };
        let folder = self.or("SISKIN_DATA_DIR", |text| Ok(text.to_owned()), default);
        if folder.is_empty() {
            let what = "there is no home folder to take a default from";
            self.mistake("SISKIN_DATA_DIR", what, "name a folder");
        }
        folder.into()
    }

    fn redis(&mut self) -> Option<Redis> {
        let before = self.mistakes.len();
        let manager = |text: &str| values::word(text, &["redis"]).map(|_| ());
        let wanted = self.maybe("WEBSOCKET_MANAGER", manager).is_some();
        let manager_is_wrong = self.mistakes.len() > before;
        let port = self.value("WEBSOCKET_SENTINEL_PORT", values::port);
        let hosts = |text: &str| values::hosts(text, port);
        let url = self.maybe("WEBSOCKET_REDIS_URL", values::redis_url);
        let options = self.maybe("WEBSOCKET_REDIS_OPTIONS", values::redis_options);
        let (options, mut tls, unknown) = options.unwrap_or_default();
        let of_url = match url.as_deref().map(|url| values::redis_query(url, &mut tls)) {
            Some(Err(fix)) => {
                let what = "its query can't be used";
                self.mistake("WEBSOCKET_REDIS_URL", what, &fix);
                Vec::new()
            }
            Some(Ok(unknown)) => unknown,
            None => Vec::new(),
        };
        let redis = Redis {
            url: Secret::new(url.clone().unwrap_or_default()),
            sentinels: self
                .maybe("WEBSOCKET_SENTINEL_HOSTS", hosts)
                .unwrap_or_default(),
            cluster: self.value("WEBSOCKET_REDIS_CLUSTER", values::flag),
            options,
            tls,
            room_channels: self.value("WEBSOCKET_REDIS_ROOM_CHANNELS", values::flag),
            lock_timeout: self.value("WEBSOCKET_REDIS_LOCK_TIMEOUT", values::seconds),
            key_prefix: self.value("REDIS_KEY_PREFIX", |text| Ok(text.to_owned())),
            task_ttl: self.value("REDIS_TASK_TTL", values::seconds),
        };
        if !wanted {
            // Settings of a Redis that is not used stop nothing: the environment may be shared with others.
            let first = before + usize::from(manager_is_wrong);
            let unused = self.mistakes.split_off(first.min(self.mistakes.len()));
            self.warnings.extend(unused.iter().map(Mistake::to_string));
            return None;
        }
        for (setting, names) in [
            ("WEBSOCKET_REDIS_OPTIONS", unknown),
            ("WEBSOCKET_REDIS_URL", of_url),
        ] {
            let ignored = |name| format!("{setting}: {name} has no effect");
            self.warnings.extend(names.into_iter().map(ignored));
        }
        self.check_redis(&redis, url.is_some(), before);
        Some(redis)
    }

    fn check_redis(&mut self, redis: &Redis, has_url: bool, before: usize) {
        if cfg!(not(feature = "redis")) {
            let what = "this siskin is built without Redis";
            self.mistake(
                "WEBSOCKET_MANAGER",
                what,
                "take a build with the feature redis",
            );
        } else if !has_url && self.mistakes.len() == before {
            let what = "it is not set, and WEBSOCKET_MANAGER is redis";
            let fix = "set it to the Redis that all instances share, as redis://127.0.0.1:6379/0";
            self.mistake("WEBSOCKET_REDIS_URL", what, fix);
        }
        if redis.cluster && !redis.sentinels.is_empty() {
            let what = "WEBSOCKET_SENTINEL_HOSTS is set too";
            self.mistake(
                "WEBSOCKET_REDIS_CLUSTER",
                what,
                "a Cluster needs no Sentinel: keep one of them",
            );
        }
    }

    fn mistake(&mut self, name: &str, what: &str, fix: &str) {
        self.mistakes.push(Mistake::new(name, what, fix));
    }

    /// A setting whose default is in the table.
    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let row = setting(name).expect("only names of the table are read");
        let Fallback::Value(default) = row.default else {
            panic!("{name} has no default in the table");
        };
        match self.given(row, &parse) {
            Some(value) => value,
            None => {
                self.default(row, Some(default.to_owned()));
                parse(default).expect("the table's defaults are right")
            }
        }
    }

    /// A setting whose default is worked out.
    fn or<T: ToString>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> T {
        let row = setting(name).expect("only names of the table are read");
        self.given(row, parse).unwrap_or_else(|| {
            let value = default();
            self.default(row, Some(value.to_string()));
            value
        })
    }

    /// A setting that may be absent.
    fn maybe<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let row = setting(name).expect("only names of the table are read");
        let value = self.given(row, parse);
        if value.is_none() {
            self.default(row, None);
        }
        value
    }

    fn required(&mut self, name: &'static str) -> Secret {
        let before = self.mistakes.len();
        let secret = self.secret(name);
        if secret.is_none() && self.mistakes.len() == before {
            let fix = "set it to Open WebUI's, or make one with `openssl rand -hex 32`";
            self.mistake(name, "it is not set", fix);
        }
        secret.unwrap_or_else(|| Secret::new(""))
    }

    fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let secret = self.maybe(name, |text| Ok(Secret::new(text)))?;
        if secret.expose().len() < SHORT_SECRET {
            let advice = format!(
                "{name} is short and could be guessed: make one with `openssl rand -hex 32`"
            );
            self.warnings.push(advice);
        }
        Some(secret)
    }

    /// What was typed, parsed; a value that can't be is a mistake.
    fn given<T>(
        &mut self,
        row: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, source) = match typed::typed(self.env, row) {
            Ok(typed) => typed?,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return None;
            }
        };
        match parse(&text) {
            Ok(value) => {
                let shown = if row.secret { "(secret)".into() } else { text };
                self.effective.push((row, Some(shown), source));
                Some(value)
            }
            Err(fix) => {
                let name = match source {
                    Source::Environment(name) => name,
                    _ => row.name,
                };
                let what = match row.secret {
                    true => "its value can't be used".to_owned(),
                    false => format!("{text:?} can't be used"),
                };
                self.mistake(name, &what, &fix);
                None
            }
        }
    }

    fn default(&mut self, row: &'static Setting, value: Option<String>) {
        self.effective.push((row, value, Source::Default));
    }
}

/// As many as files can be opened, less a reserve. The start raises the soft limit to the hard one.
fn most_connections() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let files = limit.unwrap_or(u64::MAX).saturating_sub(RESERVED_FILES);
    files.clamp(1, MOST_CONNECTIONS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let fixed = [
            ("WEBUI_SECRET_KEY", "0123456789abcdef"),
            ("HOME", "/home/ann"),
        ];
        let all = fixed.iter().chain(pairs);
        all.map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    fn mistakes(pairs: &[(&str, &str)]) -> Vec<String> {
        read(&env(pairs))
            .mistakes
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_secret_is_all_it_takes() {
        let reading = read(&env(&[]));
        assert_eq!((reading.mistakes.len(), reading.warnings.len()), (0, 0));
        let config = reading.config.unwrap();
        assert_eq!(
            config.data_dir,
            PathBuf::from("/home/ann/.local/share/siskin")
        );
        assert_eq!(config.ping_interval, Duration::from_secs(25));
        assert_eq!(config.transports, Transports::Both);
        assert_eq!(config.outbox_bytes, 1 << 20);
        assert!(config.redis.is_none() && config.api_key.is_none());
        assert_eq!(
            config.max_connections_per_address,
            config.max_connections / 2
        );
    }

    #[test]
    fn each_setting_is_read_once_and_told() {
        let reading = read(&env(&[]));
        let told: Vec<_> = reading.effective.iter().map(|(row, ..)| row.name).collect();
        let rows: Vec<_> = SETTINGS.iter().map(|row| row.name).collect();
        assert_eq!(told, rows);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let told = mistakes(&[
            ("WEBUI_SECRET_KEY", ""),
            ("SISKIN_LISTEN", "here"),
            ("SISKIN_CONSOLE", "maybe"),
            ("SISKIN_OUTBOX_BYTES", "lots"),
            ("WEBSOCKET_MANAGER", "kafka"),
            ("SISKIN_LOG", "loud"),
        ]);
        let names: Vec<_> = told
            .iter()
            .filter_map(|text| text.split(':').next())
            .collect();
        assert_eq!(
            names,
            [
                "WEBUI_SECRET_KEY",
                "SISKIN_LISTEN",
                "SISKIN_LOG",
                "SISKIN_CONSOLE",
                "SISKIN_OUTBOX_BYTES",
                "WEBSOCKET_MANAGER"
            ]
        );
        assert_eq!(
            told[2],
            r#"SISKIN_LOG: "loud" can't be used; write one of error, warn, info, debug, trace"#
        );
    }

    #[test]
    fn a_secret_is_never_told() {
        let reading = read(&env(&[
            ("SISKIN_API_KEY", "hidden"),
            ("WEBSOCKET_REDIS_URL", "http://hidden"),
            ("WEBSOCKET_MANAGER", "redis"),
        ]));
        assert!(!reading.mistakes.is_empty());
        assert!(!format!("{reading:?}").contains("hidden"));
    }

    #[test]
    fn secrets_come_from_files_and_credentials() {
        let folder = std::env::temp_dir().join(format!("siskin-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("SISKIN_API_KEY"), "from-a-credential\n").unwrap();
        std::fs::write(folder.join("other"), "from-a-file\n").unwrap();
        std::fs::write(folder.join("empty"), "\n").unwrap();
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let key = |pairs: &[(&str, &str)]| {
            read(&env(pairs))
                .config
                .map(|config| config.api_key.unwrap().expose().to_owned())
        };
        let credentials = folder.to_string_lossy();
        let credentials = ("CREDENTIALS_DIRECTORY", credentials.as_ref());
        assert_eq!(key(&[credentials]).unwrap(), "from-a-credential");
        assert_eq!(
            key(&[credentials, ("SISKIN_API_KEY_FILE", &path("other"))]).unwrap(),
            "from-a-file"
        );
        assert_eq!(
            key(&[credentials, ("SISKIN_API_KEY", "typed")]).unwrap(),
            "typed"
        );
        assert_eq!(key(&[("SISKIN_API_KEY_FILE", &path("empty"))]), None);
        assert_eq!(key(&[("SISKIN_API_KEY_FILE", &path("missing"))]), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_old_names_count_where_the_new_are_missing() {
        let mut env = env(&[
            ("WEBUI_JWT_SECRET_KEY", "another-old-secret"),
            ("REDIS_URL", "redis://a"),
            ("WEBSOCKET_MANAGER", "redis"),
        ]);
        assert_eq!(
            read(&env).config.unwrap().secret_key.expose(),
            "0123456789abcdef"
        );
        env.remove("WEBUI_SECRET_KEY");
        let config = read(&env).config.unwrap();
        assert_eq!(config.secret_key.expose(), "another-old-secret");
        assert_eq!(config.redis.unwrap().url.expose(), "redis://a");
    }

    #[test]
    fn a_redis_that_is_not_used_stops_nothing() {
        let reading = read(&env(&[
            ("REDIS_URL", "unix:///run/redis"),
            ("WEBSOCKET_SENTINEL_PORT", "x"),
        ]));
        assert!(reading.config.is_some());
        assert_eq!(reading.warnings.len(), 2);
        assert_eq!(mistakes(&[("WEBSOCKET_MANAGER", "redis")]).len(), 1);
        let both = [
            ("WEBSOCKET_MANAGER", "redis"),
            ("REDIS_URL", "redis://a"),
            ("REDIS_CLUSTER", "1"),
            ("WEBSOCKET_SENTINEL_HOSTS", "a"),
        ];
        assert_eq!(mistakes(&both).len(), 1);
    }

    #[test]
    fn transports_follow_either_setting() {
        let transports = |pairs: &[(&str, &str)]| read(&env(pairs)).config.unwrap().transports;
        assert_eq!(
            transports(&[("ENABLE_WEBSOCKET_SUPPORT", "False")]),
            Transports::Polling
        );
        assert_eq!(
            transports(&[("SISKIN_TRANSPORTS", "websocket")]),
            Transports::Websocket
        );
        let both = [
            ("ENABLE_WEBSOCKET_SUPPORT", "false"),
            ("SISKIN_TRANSPORTS", "both"),
        ];
        assert_eq!(transports(&both), Transports::Both);
    }
}

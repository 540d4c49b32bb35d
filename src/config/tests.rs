//! Whole environments, right and wrong.

use super::env::{Env, NOT_UTF8};
use super::table::SETTINGS;
use super::*;
use crate::ground::random_input::{Random, rounds};

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
    let mistakes = read(&env(pairs)).mistakes;
    mistakes.iter().map(ToString::to_string).collect()
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
    let outbox = (config.outbox_bytes, config.outbox_most);
    assert_eq!(outbox, (1 << 20, 8 << 20));
    assert!(config.redis.is_none() && config.api_key.is_none());
    assert_eq!(
        config.max_connections_per_address,
        config.max_connections / 2
    );
}

#[test]
fn input_has_a_part_of_the_memory_unless_another_is_named() {
    let secret = ("WEBUI_SECRET_KEY", "0123456789abcdef");
    let bytes = |more: &[(&str, &str)]| {
        let all: Vec<_> = more.iter().chain([&secret]).copied().collect();
        read(&env(&all)).config.unwrap().input_bytes
    };
    assert!((1 << 20..=64 << 20).contains(&bytes(&[])));
    assert_eq!(bytes(&[("SISKIN_INPUT_BYTES", "5 MiB")]), 5 << 20);
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
fn who_reads_may_have_no_less_waiting_than_who_has_stopped() {
    let most = "SISKIN_OUTBOX_MOST_BYTES";
    let small = ("SISKIN_OUTBOX_BYTES", "64 KiB");
    let config = read(&env(&[small, (most, "64 KiB")])).config.unwrap();
    assert_eq!((config.outbox_bytes, config.outbox_most), (65_536, 65_536));
    let told = mistakes(&[small, (most, "63 KiB")]);
    assert!(told.len() == 1 && told[0].starts_with(most), "{told:?}");
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
    std::fs::write(folder.join("other"), "from-some-other-file\n").unwrap();
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
        "from-some-other-file"
    );
    assert_eq!(
        key(&[credentials, ("SISKIN_API_KEY", "typed-by-somebody")]).unwrap(),
        "typed-by-somebody"
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

/// What comes of an environment with a Redis and this value, and all that is said about it.
fn read_with(row: &Row, name: &str, value: &str) -> (Reading, String) {
    let mut env = env(&[
        ("WEBSOCKET_MANAGER", "redis"),
        ("WEBSOCKET_REDIS_URL", "redis://a"),
    ]);
    env.remove(row.name);
    env.insert(name.to_owned(), value.to_owned());
    let reading = read(&env);
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
    for row in SETTINGS {
        for name in std::iter::once(&row.name).chain(row.also) {
            for value in garbage {
                let (reading, said) = read_with(row, name, value);
                assert_eq!(reading.effective.len(), SETTINGS.len());
                assert_eq!(reading.config.is_some(), reading.mistakes.is_empty());
                let is_bad = value.contains(NOT_UTF8) || !free.contains(&row.shape);
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
    // For one the reference has another meaning.
    let caller = "WEBSOCKET_EVENT_CALLER_TIMEOUT";
    for row in SETTINGS.iter().filter(|row| row.name != caller) {
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
    let told = mistakes(&[("HOME", "/h/\u{FFFD}")]);
    let open_webui = ("SISKIN_DIRECTORY", "http://127.0.0.1:8080");
    assert_eq!(mistakes(&[("HOME", ""), open_webui]), Vec::<String>::new());
    assert_eq!(mistakes(&[("HOME", "")]).len(), 1);
    assert!(told[0].starts_with("SISKIN_DATA_DIR: "), "{told:?}");
}

#[test]
fn a_secret_that_could_be_guessed_stops_the_start() {
    for name in ["WEBUI_SECRET_KEY", "WEBUI_JWT_SECRET_KEY", "SISKIN_API_KEY"] {
        for (value, weak) in [("15-bytes-of-key", true), ("16-bytes-of-keys", false)] {
            let mut env = env(&[(name, value)]);
            if name.contains("JWT") {
                env.remove("WEBUI_SECRET_KEY");
            }
            let reading = read(&env);
            assert_eq!(reading.config.is_none(), weak, "{name}={value}");
            assert_eq!(reading.mistakes.len(), usize::from(weak));
            env.insert("SISKIN_ALLOW_WEAK_SECRETS".into(), "true".into());
            let reading = read(&env);
            assert!(reading.config.is_some());
            assert_eq!(reading.warnings.len(), usize::from(weak));
        }
    }
}

#[test]
fn passwords_among_other_settings_are_not_told() {
    let options = r#"{"password":"hidden","socket_timeout":"x"}"#;
    let reading = read(&env(&[
        ("WEBSOCKET_MANAGER", "redis"),
        ("WEBSOCKET_REDIS_URL", "redis://a"),
        ("WEBSOCKET_REDIS_OPTIONS", options),
        ("SISKIN_DIRECTORY", "http://ann:hidden@a"),
        ("CORS_ALLOW_ORIGIN", "http://ann:hidden@a"),
    ]));
    assert_eq!(reading.mistakes.len(), 3);
    assert!(!format!("{reading:?}").contains("hidden"));
    let given = ("WEBSOCKET_REDIS_OPTIONS", r#"{"password":"hidden"}"#);
    assert!(!format!("{:?}", read(&env(&[given]))).contains("hidden"));
}

#[test]
fn secrets_are_not_printed() {
    assert_eq!(format!("{:?}", Secret::new("abc")), "(secret)");
}

#[test]
fn values_that_the_reference_takes_are_taken_as_it_takes_them() {
    let config = |pairs: &[(&str, &str)]| {
        let reading = read(&env(pairs));
        assert!(reading.mistakes.is_empty(), "{:?}", mistakes(pairs));
        reading.config.unwrap()
    };
    let caller = |value| config(&[("WEBSOCKET_EVENT_CALLER_TIMEOUT", value)]).caller_timeout;
    assert_eq!(config(&[]).caller_timeout, Some(Duration::from_secs(300)));
    assert_eq!((caller(""), caller(" ")), (None, None));
    assert_eq!(caller("20"), Some(Duration::from_secs(20)));
    for (value, seconds) in [("30", 30), ("0", 5), ("5000", 90), ("90", 90)] {
        let interval = config(&[("WEBSOCKET_HEARTBEAT_INTERVAL", value)]).heartbeat_interval;
        assert_eq!(interval, Duration::from_secs(seconds), "{value}");
    }
    let redis = [
        ("WEBSOCKET_MANAGER", "redis"),
        ("WEBSOCKET_REDIS_URL", "redis://r"),
        ("REDIS_TASK_TTL", "0"),
    ];
    assert!(config(&redis).redis.unwrap().task_ttl.is_zero());
    let logged = config(&[("WEBSOCKET_SERVER_ENGINEIO_LOGGING", "True")]).log_packets;
    assert!(logged.engineio && !logged.socketio);
    for wrong in ["x", "1e999", "NaN", "-1", "0"] {
        for (name, default) in [
            ("WEBSOCKET_HEARTBEAT_INTERVAL", 30),
            ("WEBSOCKET_EVENT_CALLER_TIMEOUT", 300),
        ] {
            if (name, wrong) == ("WEBSOCKET_HEARTBEAT_INTERVAL", "0") {
                continue;
            }
            let said = read(&env(&[(name, wrong)])).warnings;
            assert!(said.len() == 1 && said[0].contains(name), "{said:?}");
            assert!(said[0].ends_with("The default counts"), "{said:?}");
            let config = config(&[(name, wrong)]);
            let value = match default {
                30 => Some(config.heartbeat_interval),
                _ => config.caller_timeout,
            };
            assert_eq!(value, Some(Duration::from_secs(default)), "{wrong}");
        }
    }
}

#[test]
fn random_values_are_taken_or_named_and_secrets_never_told() {
    let mut random = Random::new();
    for _ in 0..rounds() / 10 {
        let row = SETTINGS[random.below(SETTINGS.len())];
        let value = match random.below(3) {
            0 => random.text(6),
            1 => random.json(3).to_string(),
            _ => {
                let default = match row.default {
                    table::Fallback::Value(text) => text,
                    _ => "https://a:b@chat.example:80/x;1 MiB",
                };
                String::from_utf8_lossy(&random.spoil(default.as_bytes())).into_owned()
            }
        };
        let (reading, said) = read_with(row, row.name, &value);
        assert_eq!(reading.config.is_some(), reading.mistakes.is_empty());
        assert_eq!(reading.effective.len(), SETTINGS.len());
        let told = row.secret && value.trim().len() > 8 && said.contains(value.trim());
        assert!(!told, "{}={value}: {said}", row.name);
    }
}

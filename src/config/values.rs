//! The kinds of values: how each is written, and its parser. The parser's error says how to write a value.

use super::{Cors, DirectoryKind, HttpUrl, Network, Origin, Recovery, Secret, Transports};
use crate::ground::json;
use log::LevelFilter;
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// What a setting of type `T` looks like.
#[derive(Debug)]
pub struct Kind<T> {
    /// How to write a value, for help texts.
    pub shape: &'static str,
    /// Never printed, and can come from a file.
    pub secret: bool,
    pub parse: fn(&str) -> Result<T, String>,
}

pub const fn kind<T>(shape: &'static str, parse: fn(&str) -> Result<T, String>) -> Kind<T> {
    Kind {
        shape,
        secret: false,
        parse,
    }
}

pub const fn secret(
    shape: &'static str,
    parse: fn(&str) -> Result<Secret, String>,
) -> Kind<Secret> {
    Kind {
        secret: true,
        ..kind(shape, parse)
    }
}

pub const TEXT: Kind<String> = kind("text", text);
pub const SECRET: Kind<Secret> = secret("text", |text| Ok(Secret::new(text)));
pub const FOLDER: Kind<String> = kind("a folder", text);
pub const FLAG: Kind<bool> = kind("true or false", flag);
pub const COUNT: Kind<usize> = kind("a whole number", count);
pub const LIMIT: Kind<usize> = kind("a whole number", limit);
pub const PORT: Kind<u16> = kind("a whole number", port);
pub const BYTES: Kind<usize> = kind("bytes, also as 64 KiB or 16 MiB", bytes);
pub const SECONDS: Kind<Duration> = kind("seconds, also 0.5", seconds);
pub const HEARTBEAT: Kind<Duration> = kind("seconds, from 5 to 90", heartbeat);
pub const LIFETIME: Kind<Duration> = kind("seconds, or 0 for ever", lifetime);
pub const LEVEL: Kind<LevelFilter> = kind(LEVELS, level);
pub const TRANSPORTS: Kind<Transports> = kind(TRANSPORT_NAMES, transports);
pub const RECOVERY: Kind<Recovery> = kind(RECOVERIES, recovery);
pub const METRICS: Kind<bool> = kind(METRICS_FOR, |text| Ok(word(text, METRICS_FOR)? == "open"));
pub const MANAGER: Kind<&str> = kind(MANAGERS, |text| word(text, MANAGERS));
pub const ADDRESSES: Kind<Vec<SocketAddr>> = kind("address:port, several with commas", addresses);
pub const NETWORKS: Kind<Vec<Network>> =
    kind("addresses or networks as 10.0.0.0/8, with commas", networks);
pub const HOSTS: Kind<Vec<Host>> = kind("host or host:port, several with commas", hosts);
pub const ORIGINS: Kind<Cors> = kind(
    "* or origins as https://chat.example, with semicolons",
    origins,
);
pub const DIRECTORY: Kind<DirectoryKind> =
    kind("local, or a URL as http://127.0.0.1:8080", directory);

/// A host, and its port if one is named.
pub type Host = (String, Option<u16>);

const LEVELS: &str = "error, warn, info, debug, trace";
const TRANSPORT_NAMES: &str = "both, websocket, polling";
const RECOVERIES: &str = "browsers, asked, off";
const METRICS_FOR: &str = "key, open";
const MANAGERS: &str = "redis";

/// A value as it is printed: without the passwords that stand in JSON and in URLs.
pub fn shown(text: &str) -> String {
    const HIDDEN: &str = "(secret)";
    if text.starts_with('{') {
        let Ok(mut fields) = json::owned::<Map<String, Value>>(text) else {
            return "{...}".to_owned();
        };
        for (name, value) in &mut fields {
            if value.is_object() || name.to_ascii_lowercase().contains("pass") {
                *value = HIDDEN.into();
            }
        }
        return Value::Object(fields).to_string();
    }
    match text
        .split_once("://")
        .map(|(scheme, rest)| (scheme, rest.rsplit_once('@')))
    {
        Some((scheme, Some((_, host)))) => format!("{scheme}://{HIDDEN}@{host}"),
        _ => text.to_owned(),
    }
}

fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "write a whole number, 0 or more".into())
}

/// A limit, which would let nobody in if it were 0.
fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number, 1 or more".into()),
        Ok(limit) => Ok(limit),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a port from 1 to 65535".into()),
        Ok(port) => Ok(port),
    }
}

/// A number of bytes, 1024 or more, maybe with a unit; all units are powers of 1024.
fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || "write bytes as 65536, 64 KiB or 16 MiB, at least 1 KiB".to_owned();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    match number.checked_mul(factor) {
        // Less is a unit that was forgotten.
        Some(..1024) | None => Err(wrong()),
        Some(bytes) => Ok(bytes),
    }
}

/// Seconds, more than none and at most a year.
fn seconds(text: &str) -> Result<Duration, String> {
    // JSON's reader of numbers is here anyway; the standard library's brings 15 KB with it.
    let time = serde_json::from_str(text).ok().and_then(within_a_year);
    time.ok_or_else(|| "write seconds as 25 or 0.5, more than 0 and at most a year".to_owned())
}

/// Seconds; what is less or more than the reference takes becomes the least or the most.
fn heartbeat(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = serde_json::from_str(text).ok();
    let seconds = seconds.filter(|seconds| *seconds >= 0.0);
    let seconds = seconds.ok_or_else(|| "write seconds, from 5 to 90".to_owned())?;
    Ok(Duration::from_secs_f64(seconds.clamp(5.0, 90.0)))
}

/// Seconds, or 0, which stands for no end.
fn lifetime(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => seconds(text),
    }
}

pub fn within_a_year(seconds: f64) -> Option<Duration> {
    let fits = seconds > 0.0 && seconds <= 366.0 * 86400.0;
    fits.then(|| Duration::from_secs_f64(seconds))
}

/// One of `words`, which stand between commas.
pub fn word(text: &str, words: &'static str) -> Result<&'static str, String> {
    let mut each = words.split(", ");
    let found = each.find(|word| word.eq_ignore_ascii_case(text));
    found.ok_or_else(|| match words.contains(',') {
        true => format!("write one of {words}"),
        false => format!("write {words}, or nothing"),
    })
}

fn level(text: &str) -> Result<LevelFilter, String> {
    word(text, LEVELS)?.parse().map_err(|_| LEVELS.into())
}

fn transports(text: &str) -> Result<Transports, String> {
    Ok(match word(text, TRANSPORT_NAMES)? {
        "websocket" => Transports::Websocket,
        "polling" => Transports::Polling,
        _ => Transports::Both,
    })
}

fn recovery(text: &str) -> Result<Recovery, String> {
    Ok(match word(text, RECOVERIES)? {
        "asked" => Recovery::Asked,
        "off" => Recovery::Off,
        _ => Recovery::Browsers,
    })
}

/// `127.0.0.1:8380`, `[::1]:8380`, `localhost:8380`, `:8380` and `8380`; several with commas.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    text.split(',').map(|part| address(part.trim())).collect()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "write an address and a port as 127.0.0.1:8380 or [::1]:8380".to_owned();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
    let host = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "" | "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Err(wrong()),
    };
    Ok(SocketAddr::new(host, port.parse().map_err(|_| wrong())?))
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    let how = "write addresses as 10.1.2.3 or networks as 10.0.0.0/8";
    list(text, Network::parse, how)
}

/// `a, b:26380`.
fn hosts(text: &str) -> Result<Vec<Host>, String> {
    let how = "write hosts as sentinel-1 or sentinel-1:26379";
    list(text, host_port, how)
}

/// What stands between commas; `how` to write it if something can't be read.
fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>, how: &str) -> Result<Vec<T>, String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(|part| read(part).ok_or(how.into())).collect()
}

/// `host`, `host:port`, `[::1]`, `[::1]:port`; brackets are dropped.
fn host_port(text: &str) -> Option<Host> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            match rest {
                "" => (host, None),
                _ => (host, Some(port(rest.strip_prefix(':')?).ok()?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, text)) => (host, Some(port(text).ok()?)),
            None => (text, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

fn origins(text: &str) -> Result<Cors, String> {
    let parts = text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"*") {
        return Ok(Cors::Any);
    }
    let origins = parts.iter().map(|part| Origin::parse(part));
    match origins.collect() {
        Some(origins) if !parts.is_empty() => Ok(Cors::Only(origins)),
        _ => Err("write * or origins as https://chat.example;https://other.example:8443, with names in ASCII".into()),
    }
}

fn directory(text: &str) -> Result<DirectoryKind, String> {
    if text.eq_ignore_ascii_case("local") {
        return Ok(DirectoryKind::Local);
    }
    if text.starts_with("https://") {
        return Err("https is not built in: write the plain http:// address of Open WebUI, in the same machine or network".into());
    }
    let wrong = || "write local, or the address of Open WebUI as http://127.0.0.1:8080".to_owned();
    let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let path = path.trim_end_matches('/');
    let plain = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    let (host, port) = host_port(authority).filter(|_| plain).ok_or_else(wrong)?;
    Ok(DirectoryKind::OpenWebui(HttpUrl {
        host,
        port: port.unwrap_or(80),
        path: path.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(bytes("65536"), Ok(65536));
        assert_eq!(bytes("64 KiB"), Ok(65536));
        assert_eq!(bytes("16m"), Ok(16 << 20));
        for wrong in [
            "",
            "0",
            "16",
            "1023",
            "-1",
            "KiB",
            "1.5 MiB",
            "99999999999999 GiB",
            "1 TiB",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "NaN", "inf", "1e300", "5s", "99999999"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!((count("0"), limit("1")), (Ok(0), Ok(1)));
        for wrong in ["", "0", "-1", "1.5", "1k"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_in_each_form() {
        let text = |text| {
            addresses(text).map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            text("127.0.0.1:1, [::1]:2").unwrap(),
            ["127.0.0.1:1", "[::1]:2"]
        );
        assert_eq!(text("8380").unwrap(), ["127.0.0.1:8380"]);
        assert_eq!(text(":8380").unwrap(), ["[::]:8380"]);
        assert_eq!(text("localhost:0").unwrap(), ["127.0.0.1:0"]);
        for wrong in ["", "x:1", "1.2.3.4", "1.2.3.4:99999", "127.0.0.1:1,"] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_and_urls() {
        let two = vec![("a".into(), None), ("::1".into(), Some(9))];
        assert_eq!(hosts("a, [::1]:9"), Ok(two));
        assert!(hosts("a:b").is_err());
        let url = |host: &str, port, path: &str| {
            Ok(DirectoryKind::OpenWebui(HttpUrl {
                host: host.into(),
                port,
                path: path.into(),
            }))
        };
        assert_eq!(
            directory("http://127.0.0.1:8080/"),
            url("127.0.0.1", 8080, "")
        );
        assert_eq!(directory("http://webui/base/"), url("webui", 80, "/base"));
        assert_eq!(directory("LOCAL"), Ok(DirectoryKind::Local));
        for wrong in [
            "",
            "https://a",
            "a:1",
            "http://",
            "http://a b",
            "http://u@a",
            "http://a/?x",
            "http://a:0",
        ] {
            assert!(directory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, expected) in [
            (
                r#"{"password":"x","PassPhrase":1,"deep":{"password":"x"},"socket_timeout":5}"#,
                r#"{"PassPhrase":"(secret)","deep":"(secret)","password":"(secret)","socket_timeout":5}"#,
            ),
            (r#"{"password":"x""#, "{...}"),
            ("http://ann:x@host:1/a", "http://(secret)@host:1/a"),
            ("https://a;http://ann:x@b", "https://(secret)@b"),
            ("http://host/a", "http://host/a"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn origins_lose_their_slash() {
        let two = ["https://a", "http://b:1"].map(|text| Origin::parse(text).unwrap());
        assert_eq!(
            origins("https://a/; http://b:1"),
            Ok(Cors::Only(two.into()))
        );
        assert_eq!(origins("https://a;*"), Ok(Cors::Any));
        for wrong in ["", ";", "a", "https://a/b", "https://a,https://b/c"] {
            assert!(origins(wrong).is_err(), "{wrong}");
        }
    }
}

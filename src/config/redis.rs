//! The settings of Redis: the types, and what the URL's query and `WEBSOCKET_REDIS_OPTIONS` mean.

use super::Secret;
use super::values::{Kind, flag, kind, secret, within_a_year, word};
use std::path::PathBuf;
use std::time::Duration;

pub const REDIS_URL: Kind<Secret> = secret("a URL as redis://user:password@host:6379/0", redis_url);
pub const REDIS_JSON: Kind<RedisJson> = kind("a JSON object", redis_json);

/// Where Redis is and how it is used.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`; holds the password.
    pub url: Secret,
    /// Not empty: the host of `url` is the service that these Sentinels know.
    pub sentinels: Vec<(String, u16)>,
    pub cluster: bool,
    pub options: RedisOptions,
    /// For `rediss://`.
    #[cfg_attr(
        not(feature = "tls"),
        allow(dead_code, reason = "a build without TLS does not read it")
    )]
    pub tls: RedisTls,
    pub room_channels: bool,
    pub lock_timeout: Duration,
    pub key_prefix: String,
    pub task_ttl: Duration,
}

/// What is honoured of `WEBSOCKET_REDIS_OPTIONS`; `None` leaves it to the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisOptions {
    pub socket_timeout: Option<Duration>,
    pub socket_connect_timeout: Option<Duration>,
    pub health_check_interval: Option<Duration>,
    pub retry_on_timeout: bool,
}

/// How a server of `rediss://` is trusted, and what shows it who we are: redis-py's options, from
/// `WEBSOCKET_REDIS_OPTIONS` or the URL's query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// `ssl_cert_reqs` is none: no certificate is looked at.
    pub any_certificate: bool,
    /// `ssl_check_hostname` is false: a certificate need not be made out to the server's name.
    pub any_name: bool,
    /// `ssl_ca_certs`: the authorities in PEM; else those of the system.
    pub authorities: Option<PathBuf>,
    /// `ssl_certfile`: our own certificate in PEM, with its chain.
    pub certificate: Option<PathBuf>,
    /// `ssl_keyfile`: its key in PEM; else in the same file.
    pub key: Option<PathBuf>,
}

fn redis_url(text: &str) -> Result<Secret, String> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("redis" | "rediss") => Ok(Secret::new(text)),
        _ => Err("write a URL as redis://127.0.0.1:6379/0".into()),
    }
}

/// What the query of a `rediss://` URL says about certificates, and the names that begin as those do and mean nothing here.
pub fn redis_query(url: &str, tls: &mut RedisTls) -> Result<Vec<String>, String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut unknown = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name.starts_with("ssl_") && !certificates(tls, &name, &value)? {
            unknown.push(name.into_owned());
        }
    }
    Ok(unknown)
}

/// One option about certificates; `false` when it is none that we honour.
fn certificates(tls: &mut RedisTls, name: &str, value: &str) -> Result<bool, String> {
    let file = || Some(value.into()).filter(|_| !value.is_empty());
    match name {
        "ssl_cert_reqs" => {
            let wrong = |_| "ssl_cert_reqs must be required or none";
            // To a client both of Python's other words mean the same.
            let chosen = word(value, "required, optional, none").map_err(wrong)?;
            tls.any_certificate = chosen == "none";
        }
        "ssl_check_hostname" => {
            let wrong = |_| "ssl_check_hostname must be true or false";
            tls.any_name = !flag(value).map_err(wrong)?;
        }
        "ssl_ca_certs" => tls.authorities = file(),
        "ssl_certfile" => tls.certificate = file(),
        "ssl_keyfile" => tls.key = file(),
        _ => return Ok(false),
    }
    Ok(true)
}

/// What is honoured of `WEBSOCKET_REDIS_OPTIONS`, and the names of the others.
#[derive(Debug, Default)]
pub struct RedisJson {
    pub options: RedisOptions,
    pub tls: RedisTls,
    pub unknown: Vec<String>,
}

fn redis_json(text: &str) -> Result<RedisJson, String> {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
        .map_err(|_| r#"write a JSON object as {"socket_timeout": 5}"#)?;
    let mut read = RedisJson::default();
    let options = &mut read.options;
    for (name, value) in map {
        let wrong = || format!("{name} must be a number of seconds, more than 0");
        let duration = || match value.as_f64() {
            Some(number) => within_a_year(number).map(Some).ok_or_else(wrong),
            None if value.is_null() => Ok(None),
            None => Err(wrong()),
        };
        match name.as_str() {
            "socket_timeout" => options.socket_timeout = duration()?,
            "socket_connect_timeout" => options.socket_connect_timeout = duration()?,
            // redis-py's 0 means never.
            "health_check_interval" if value.as_f64() == Some(0.0) => {}
            "health_check_interval" => options.health_check_interval = duration()?,
            "retry_on_timeout" => {
                let flag = value.as_bool();
                options.retry_on_timeout = flag.ok_or("retry_on_timeout must be true or false")?;
            }
            _ => {
                let text = match &value {
                    serde_json::Value::String(text) => text.clone(),
                    // As redis-py takes it.
                    serde_json::Value::Null if name == "ssl_cert_reqs" => "none".into(),
                    serde_json::Value::Null => String::new(),
                    other => other.to_string(),
                };
                if !certificates(&mut read.tls, &name, &text)? {
                    read.unknown.push(name);
                }
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_options_are_typed() {
        let RedisJson { options, tls, unknown } =
            redis_json(r#"{"socket_timeout": 2.5, "retry_on_timeout": true, "health_check_interval": 0, "x": 1}"#).unwrap();
        assert_eq!(options.socket_timeout, Some(Duration::from_millis(2500)));
        assert_eq!(
            (options.retry_on_timeout, options.health_check_interval),
            (true, None)
        );
        assert_eq!((unknown, tls), (vec!["x".to_owned()], RedisTls::default()));
        for wrong in [
            "",
            "[]",
            r#"{"socket_timeout": "5"}"#,
            r#"{"socket_timeout": -1}"#,
            r#"{"retry_on_timeout": 1}"#,
            r#"{"ssl_cert_reqs": "maybe"}"#,
            r#"{"ssl_check_hostname": 2}"#,
        ] {
            assert!(redis_json(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn certificates_are_named_in_options_and_in_the_url() {
        let given = r#"{"ssl_cert_reqs": null, "ssl_check_hostname": false, "ssl_ca_certs": "/a", "ssl_ciphers": "x"}"#;
        let RedisJson {
            mut tls, unknown, ..
        } = redis_json(given).unwrap();
        assert!(tls.any_certificate && tls.any_name);
        assert_eq!(unknown, ["ssl_ciphers"]);
        let url = "rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs=%2Fb&ssl_certfile=/c&ssl_keyfile=/d&db=1&ssl_x=1";
        assert_eq!(redis_query(url, &mut tls).unwrap(), ["ssl_x"]);
        let expected = RedisTls {
            any_certificate: false,
            any_name: true,
            authorities: Some("/b".into()),
            certificate: Some("/c".into()),
            key: Some("/d".into()),
        };
        assert_eq!(tls, expected);
        assert!(redis_query("rediss://h?ssl_cert_reqs=None1", &mut tls).is_err());
        assert!(redis_query("rediss://h", &mut tls).unwrap().is_empty());
    }
}

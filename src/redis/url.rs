//! A server's URL taken apart, as redis-py and the redis crate read it. The crate's reader brings those of all other URLs,
//! 25 KB in the binary.

use redis::{ProtocolVersion, RedisConnectionInfo};
use std::net::Ipv6Addr;

const DEFAULT_PORT: u16 = 6379;

/// A host and a port.
type Server = (String, u16);

/// Reads what follows `redis://`: the server, and who we are there. An error does not tell the password.
pub fn read(rest: &str) -> Result<(Server, RedisConnectionInfo), &'static str> {
    let (rest, _) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut login = logged_in(user)?;
    let database = path.trim_matches('/');
    if !database.is_empty() {
        login = login.set_db(database.parse().map_err(|_| "its database is no number")?);
    }
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "protocol" {
            login = login.set_protocol(match &*value {
                "2" | "resp2" => ProtocolVersion::RESP2,
                "3" | "resp3" => ProtocolVersion::RESP3,
                _ => return Err("its protocol must be 2 or 3"),
            });
        }
    }
    Ok((host_port(server)?, login))
}

/// `user:password`, either of which may be missing.
fn logged_in(user: &str) -> Result<RedisConnectionInfo, &'static str> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut login = RedisConnectionInfo::default();
    if !name.is_empty() {
        login = login.set_username(decoded(name).ok_or("its user is no UTF-8")?);
    }
    if !password.is_empty() {
        login = login.set_password(decoded(password).ok_or("its password is no UTF-8")?);
    }
    Ok(login)
}

/// `host`, `host:port`, and the same with an IPv6 address in brackets.
fn host_port(server: &str) -> Result<Server, &'static str> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']').ok_or("a bracket is missing")?;
            let ip: Ipv6Addr = ip.parse().map_err(|_| "in brackets is no IPv6 address")?;
            let port = match port.strip_prefix(':') {
                None if !port.is_empty() => return Err("behind the brackets is no port"),
                port => port.unwrap_or_default(),
            };
            (ip.to_string(), port)
        }
        None => {
            let (host, port) = server.split_once(':').unwrap_or((server, ""));
            (host.to_owned(), port)
        }
    };
    let strange =
        |c: char| c.is_control() || matches!(c, ' ' | '<' | '>' | '[' | '\\' | ']' | '^' | '|');
    if host.is_empty() {
        return Err("it names no host");
    }
    if host.contains(strange) {
        return Err("its host is no name");
    }
    if host == "0.0.0.0" || host == "::" {
        return Err("0.0.0.0 and :: are nobody's address");
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        "" => DEFAULT_PORT,
        port if is_number => port.parse().map_err(|_| "its port is too large")?,
        _ => return Err("its port is no number"),
    };
    Ok((host, port))
}

/// Undoes percent-encoding; what only looks like it stays, as in Python. `None` when it is no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let code = part.as_bytes().first_chunk::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match code.and_then(|[high, low]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::{ConnectionAddr, IntoConnectionInfo as _};

    /// What the crate's own reader says.
    fn by_the_crate(url: &str) -> Option<String> {
        let info = url.into_connection_info().ok()?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return None;
        };
        Some(told(&(host, port), info.redis_settings()))
    }

    fn told((host, port): &Server, login: &RedisConnectionInfo) -> String {
        let (user, password, db) = (login.username(), login.password(), login.db());
        let protocol = login.protocol();
        format!("{host} {port} {user:?} {password:?} {db} {protocol:?}")
    }

    #[test]
    fn urls_are_read_as_the_crate_reads_them() {
        for (rest, fine) in [
            ("127.0.0.1", true),
            ("redis", true),
            ("Redis.lan:6380/3", true),
            ("h:", true),
            ("h:0/", true),
            ("h//2//", true),
            ("h/?protocol=3", true),
            ("h?protocol=resp3&protocol=2&x=%zz", true),
            ("h/1?protocol=resp2#more/9?", true),
            ("h#/7", true),
            ("[::1]", true),
            ("[0:0:0:0:0:0:0:1]:7/15", true),
            ("[::ffff:1.2.3.4]:", true),
            ("me@h", true),
            (":secret@h", true),
            ("me:@h", true),
            (":@h", true),
            ("@h", true),
            ("me:p%40ss@h", true),
            ("me:p@ss:w@h:1", true),
            ("m%C3%9F:100%&%4+%zz%@h", true),
            ("me:p ä+b@h", true),
            ("a_b-c.d:65535", true),
            ("h/x", false),
            ("h/1/2", false),
            ("h/1.5", false),
            ("h:65536", false),
            ("h:x", false),
            ("h:+1", false),
            ("a:b:1", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[::1]1", false),
            ("[1.2.3.4]", false),
            ("[h]", false),
            ("a b", false),
            ("a<b", false),
            ("a|b", false),
            ("", false),
            ("/0", false),
            (":6379", false),
            ("me@", false),
            ("0.0.0.0", false),
            ("[::]", false),
            (":secret@0.0.0.0", false),
            ("%ff@h", false),
            (":%ff@h", false),
            ("h?protocol=4", false),
        ] {
            let ours = read(rest).ok().map(|(server, login)| told(&server, &login));
            assert_eq!(ours, by_the_crate(&format!("redis://{rest}")), "{rest}");
            assert_eq!(ours.is_some(), fine, "{rest}");
        }
    }
}

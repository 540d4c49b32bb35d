//! Origins of web pages (RFC 6454).

/// Where a page comes from. Two that say the same in other words are equal: the port may be the scheme's own, letters may be
/// large (RFC 6454, 4 and 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    /// A name, an IPv4 address, or an IPv6 address in brackets; with the port that is not the scheme's own.
    authority: String,
}

impl Origin {
    /// Reads an origin as browsers send it, `https://chat.example:8443`; a slash at its end is nothing. `None` for anything
    /// that no browser would send: a path, a user, a name that is not in ASCII.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let scheme = scheme.to_ascii_lowercase();
        let sign = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if scheme.is_empty() || !scheme.bytes().all(sign) {
            return None;
        }
        let authority = authority_of(&scheme, authority)?;
        Some(Self { scheme, authority })
    }

    /// Whether a page of this origin may have come from this `Host`. The scheme is not asked: behind a proxy it is the
    /// proxy's.
    pub fn is_of_host(&self, host: &str) -> bool {
        authority_of(&self.scheme, host).is_some_and(|host| host == self.authority)
    }
}

/// Host and port in small letters, without the scheme's own port.
fn authority_of(scheme: &str, text: &str) -> Option<String> {
    let (host, port) = match text.rfind(']').map(|end| text.split_at(end + 1)) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if !is_host(host) || host.len() + port.map_or(0, |port| port.len() + 1) != text.len() {
        return None;
    }
    let own = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    let host = host.to_ascii_lowercase();
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port {
        None => Some(host),
        Some(port) if digits(port) => match port.parse::<u16>().ok()? {
            port if Some(port) == own => Some(host),
            port => Some(format!("{host}:{port}")),
        },
        Some(_) => None,
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']');
        return address.is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !host.is_empty() && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_in_other_words_is_the_same() {
        let same = |a: &str, b: &str| {
            let (a, b) = (Origin::parse(a).unwrap(), Origin::parse(b).unwrap());
            assert_eq!(a, b);
        };
        same("http://10.0.0.5:80", "http://10.0.0.5");
        same("https://Chat.Example/", "https://chat.example:443");
        same("HTTPS://chat.example:0443", "https://chat.example");
        same("http://[2001:DB8::1]:80/", "http://[2001:db8::1]");
        same("tauri://Localhost", "tauri://localhost");
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        let all = [
            "http://a",
            "https://a",
            "http://a:443",
            "https://a:80",
            "http://b",
            "http://a.b",
            "http://[::1]",
            "x://a:80",
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(Origin::parse(a).unwrap(), Origin::parse(b).unwrap());
            }
        }
    }

    #[test]
    fn what_no_browser_sends_is_none() {
        for wrong in [
            "",
            "null",
            "a",
            "a:1",
            "://a",
            "http://",
            "http:///",
            "http://a/b",
            "http://a//",
            "http://a?b",
            "http://u@a",
            "http://a:",
            "http://a:x",
            "http://a:99999",
            "http://a:-1",
            "http://*.a",
            "http://a,http://b",
            "http://[::1",
            "http://::1",
            "http://[x]",
            "http://[::1]x",
            "http://bücher.example",
            "ht tp://a",
        ] {
            assert_eq!(Origin::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_page_of_our_own_has_our_host() {
        let of = |origin: &str, host| Origin::parse(origin).unwrap().is_of_host(host);
        assert!(of("http://a:8380", "A:8380") && of("http://a", "a:80") && of("https://a", "a"));
        assert!(of("https://a", "a:443") && of("http://[::1]:1", "[::1]:1"));
        assert!(
            !of("https://a", "a:80")
                && !of("http://a", "a:8380")
                && !of("http://a", "")
                && !of("http://a", "b")
        );
    }
}

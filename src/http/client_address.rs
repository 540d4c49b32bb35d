//! Whose request it is, and how it came, when a reverse proxy hands it on.

use crate::config::Network;
use hyper::header::{FORWARDED, HOST, HeaderMap, HeaderValue, ORIGIN, USER_AGENT};
use hyper::{Request, Version};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Whether the client came over TLS to a trusted proxy: the first scheme in `X-Forwarded-Proto`, or in `Forwarded` when
/// there is none.
pub fn is_https(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> bool {
    if !proxies.iter().any(|net| net.contains(peer)) {
        return false;
    }
    let line = |name| headers.get(name).and_then(|line| line.to_str().ok());
    let scheme = match (line(X_FORWARDED_PROTO), line(FORWARDED.as_str())) {
        (Some(schemes), _) => schemes.split(',').next().unwrap_or_default(),
        (None, Some(elements)) => {
            let nearest = elements.split(',').next().unwrap_or_default();
            pair(nearest, "proto")
        }
        (None, None) => return false,
    };
    let scheme = scheme.trim().trim_matches('"');
    ["https", "wss"]
        .iter()
        .any(|tls| scheme.eq_ignore_ascii_case(tls))
}

/// Whether a request is a browser's: it has a header that only browsers set, or the origin of a page and a browser's name.
pub fn is_browser(headers: &HeaderMap) -> bool {
    const FETCH: [&str; 3] = ["sec-fetch-mode", "sec-fetch-site", "sec-fetch-dest"];
    let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    FETCH.iter().any(|name| headers.contains_key(*name))
        || (headers.contains_key(ORIGIN) && agent.is_some_and(|name| name.starts_with(b"Mozilla/")))
}

/// Whether a request comes from this machine itself, not from a proxy on it: those say for whom they ask, or speak HTTP/1.0
/// (nginx unless it is told otherwise). Nor from a page in a browser here, whose name somebody else may have led to this machine.
pub fn is_local<B>(peer: IpAddr, request: &Request<B>) -> bool {
    const PROXIES: [&str; 7] = [
        "cf-connecting-ip",
        X_FORWARDED_FOR,
        X_FORWARDED_PROTO,
        "x-forwarded-host",
        "x-real-ip",
        "forwarded",
        "via",
    ];
    let headers = request.headers();
    let host = headers.get(HOST).map(HeaderValue::to_str);
    peer.to_canonical().is_loopback()
        && request.version() == Version::HTTP_11
        && host.is_none_or(|host| host.is_ok_and(is_this_machine))
        && !headers.contains_key(ORIGIN)
        && !PROXIES.iter().any(|name| headers.contains_key(*name))
}

/// Whether a `Host` is this machine's name for itself.
fn is_this_machine(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    name.eq_ignore_ascii_case("localhost")
        || node(host).is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// The client's address: the peer's, or, when the peer is a trusted proxy, the last one in `X-Forwarded-For` that is not a
/// trusted proxy itself; in `Forwarded` (RFC 7239) when there is no `X-Forwarded-For`, since proxies that know only the one
/// hand on what the client says in the other.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|net| net.contains(address));
    if !trusted(peer) {
        return peer;
    }
    let lines = |name| {
        let values = headers.get_all(name).iter();
        values.filter_map(|line| line.to_str().ok())
    };
    let hops: Vec<&str> = match headers.contains_key(X_FORWARDED_FOR) {
        true => lines(X_FORWARDED_FOR).flat_map(|l| l.split(',')).collect(),
        false => {
            let elements = lines(FORWARDED.as_str()).flat_map(|line| line.split(','));
            elements.map(forwarded_for).collect()
        }
    };
    let mut nearest = peer;
    for hop in hops.into_iter().rev() {
        let Some(address) = node(hop) else { break };
        nearest = address.to_canonical();
        if !trusted(nearest) {
            break;
        }
    }
    nearest
}

/// The node of an element of `Forwarded`; empty when it names none.
fn forwarded_for(element: &str) -> &str {
    pair(element, "for")
}

/// What an element of `Forwarded` has under a name; empty when it has nothing.
fn pair<'a>(element: &'a str, called: &str) -> &'a str {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(called));
    found.map_or("", |(_, value)| value)
}

/// The address of a node, which may have a port, or be in quotes: `192.0.2.7`, `192.0.2.7:51234`, `2001:db8::1`,
/// `"[2001:db8::1]:443"`. `None` for what is no address, as `unknown` and `_hidden`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|node: SocketAddr| node.ip());
    text.parse().ok().or_else(with_port).or_else(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_by(peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, hyper::header::HeaderValue::from_static(value));
        }
        let proxies: Vec<_> = ["127.0.0.0/8", "10.0.0.1"]
            .iter()
            .filter_map(|n| Network::parse(n))
            .collect();
        client_address(peer.parse().expect("an address"), &headers, &proxies).to_string()
    }

    fn address(peer: &str, forwarded: &'static str) -> String {
        address_by(peer, &[(X_FORWARDED_FOR, forwarded)])
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(address("9.9.9.9", "1.1.1.1"), "9.9.9.9");
        assert_eq!(address("127.0.0.1", "1.1.1.1, 2.2.2.2"), "2.2.2.2");
        assert_eq!(
            address("127.0.0.1", "1.1.1.1, 2.2.2.2, 10.0.0.1"),
            "2.2.2.2"
        );
        assert_eq!(address("127.0.0.1", "forged, 10.0.0.1"), "10.0.0.1");
        assert_eq!(address("127.0.0.1", ""), "127.0.0.1");
    }

    #[test]
    fn only_who_asks_for_nobody_else_is_local() {
        let local = |peer: &str, version, header: Option<&'static str>| {
            let mut request = Request::new(());
            *request.version_mut() = version;
            let value = hyper::header::HeaderValue::from_static("x");
            header.map(|name| request.headers_mut().insert(name, value));
            is_local(peer.parse().expect("an address"), &request)
        };
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(local(peer, Version::HTTP_11, None), "{peer}");
            assert!(local(peer, Version::HTTP_11, Some("user-agent")), "{peer}");
            assert!(!local(peer, Version::HTTP_10, None), "{peer}");
            for header in [
                "x-forwarded-for",
                "forwarded",
                "via",
                "x-real-ip",
                "cf-connecting-ip",
                "origin",
                "host",
            ] {
                assert!(!local(peer, Version::HTTP_11, Some(header)), "{header}");
            }
        }
        for host in ["localhost:80", "LOCALHOST", "127.0.0.1", "[::1]:8080"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "chat.example",
            "127.0.0.1.example:80",
            "[::2]",
            "10.0.0.1",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
        for peer in ["10.0.0.1", "192.0.2.1", "2001:db8::1", "0.0.0.0"] {
            assert!(!local(peer, Version::HTTP_11, None), "{peer}");
        }
    }

    #[test]
    fn a_port_is_no_part_of_the_address() {
        for (forwarded, expected) in [
            ("192.0.2.7:51234", "192.0.2.7"),
            ("9.9.9.9, 192.0.2.7:51234, 10.0.0.1:80", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("unknown", "127.0.0.1"),
            ("192.0.2.7:x", "127.0.0.1"),
        ] {
            assert_eq!(address("127.0.0.1", forwarded), expected, "{forwarded}");
        }
    }

    #[test]
    fn a_trusted_proxy_tells_whether_the_client_came_over_tls() {
        let https = |peer: &str, name: &'static str, line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(name, hyper::header::HeaderValue::from_static(line));
            let proxies = [Network::parse("127.0.0.0/8").expect("a network")];
            is_https(peer.parse().expect("an address"), &headers, &proxies)
        };
        for line in ["https", " HTTPS ", "wss", "https, http"] {
            assert!(https("127.0.0.1", X_FORWARDED_PROTO, line), "{line}");
            assert!(!https("9.9.9.9", X_FORWARDED_PROTO, line), "{line}");
        }
        for line in ["http", "", "httpsx", "http, https"] {
            assert!(!https("127.0.0.1", X_FORWARDED_PROTO, line), "{line}");
        }
        assert!(https(
            "127.0.0.1",
            "forwarded",
            "for=1.1.1.1;Proto=\"https\""
        ));
        assert!(!https(
            "127.0.0.1",
            "forwarded",
            "for=1.1.1.1;proto=http, proto=https"
        ));
        assert!(!https("127.0.0.1", "accept", "https"));
    }

    #[test]
    fn forwarded_says_as_much() {
        let says = |line| address_by("127.0.0.1", &[("forwarded", line)]);
        assert_eq!(says("for=192.0.2.7"), "192.0.2.7");
        assert_eq!(says("proto=https;For=\"192.0.2.7:80\";by=_x"), "192.0.2.7");
        assert_eq!(
            says("for=1.1.1.1, For=\"[2001:db8:cafe::17]:4711\""),
            "2001:db8:cafe::17"
        );
        assert_eq!(says("for=2.2.2.2;proto=http, for=10.0.0.1"), "2.2.2.2");
        for none in ["for=unknown", "for=_gazonk", "proto=https", "192.0.2.7", ""] {
            assert_eq!(says(none), "127.0.0.1", "{none}");
        }
        let two = [
            ("forwarded", "for=1.1.1.1"),
            ("forwarded", "for=2.2.2.2, for=10.0.0.1"),
        ];
        assert_eq!(address_by("127.0.0.1", &two), "2.2.2.2");
        assert_eq!(address_by("9.9.9.9", &two), "9.9.9.9");
        let forged = [("forwarded", "for=1.1.1.1"), (X_FORWARDED_FOR, "2.2.2.2")];
        assert_eq!(address_by("127.0.0.1", &forged), "2.2.2.2");
    }
}

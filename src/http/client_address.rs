//! Whose request it is, when a reverse proxy hands it on.

use crate::config::Network;
use hyper::header::HeaderMap;
use std::net::IpAddr;

/// The client's address: the peer's, or, when the peer is a trusted proxy, the last one in `X-Forwarded-For`
/// that is not a trusted proxy itself.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|net| net.contains(address));
    if !trusted(peer) {
        return peer;
    }
    let lines = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut hops: Vec<&str> = lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    let mut nearest = peer;
    while let Some(address) = hops.pop().and_then(|hop| hop.parse::<IpAddr>().ok()) {
        nearest = address.to_canonical();
        if !trusted(nearest) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            hyper::header::HeaderValue::from_static(forwarded),
        );
        let proxies: Vec<_> = ["127.0.0.0/8", "10.0.0.1"]
            .iter()
            .filter_map(|n| Network::parse(n))
            .collect();
        client_address(peer.parse().expect("an address"), &headers, &proxies).to_string()
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
}

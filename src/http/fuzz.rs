//! What random bytes must not upset: where a proxy says that a request comes from.

use super::client_address::{client_address, is_https};
use crate::config::Network;
use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// What a trusted proxy may write into `Forwarded` and `X-Forwarded-For`: anything.
pub fn forwarded(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let peer = IpAddr::from([127, 0, 0, 1]);
    let proxies = ["127.0.0.1", "10.0.0.0/8"].map(|net| Network::parse(net).expect("a network"));
    for name in [FORWARDED, HeaderName::from_static("x-forwarded-for")] {
        let headers = HeaderMap::from_iter([(name, value.clone())]);
        let _ = client_address(peer, &headers, &proxies);
        let _ = is_https(peer, &headers, &proxies);
    }
}

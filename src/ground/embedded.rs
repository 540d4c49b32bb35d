//! A file that lies in the binary as a gzip member (RFC 1952), and how it is served.
//!
//! The build script packs it. It goes out as it lies there; for the rare client that doesn't take gzip it is unpacked, once.
//! Its entity tag is the member's own check sum and size.

use crate::ground::net::Said;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use std::sync::OnceLock;

/// Bytes of a gzip member before and behind what is deflated.
const HEAD: usize = 10;
const TRAILER: usize = 8;

/// A file as it is served.
pub struct Embedded {
    kind: &'static str,
    packed: &'static [u8],
    plain: OnceLock<Bytes>,
}

/// The file that the build script packed as `OUT_DIR/$name.gz`, of this content type.
macro_rules! embedded {
    ($kind:expr, $name:literal) => {
        $crate::ground::embedded::Embedded::new(
            $kind,
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
        )
    };
}
pub(crate) use embedded;

impl Embedded {
    /// A gzip member without name, comment and extra field.
    pub const fn new(kind: &'static str, packed: &'static [u8]) -> Self {
        Self {
            kind,
            packed,
            plain: OnceLock::new(),
        }
    }

    /// The answer to a GET with these headers: 304 to who has the file already.
    pub fn answer(&self, asked: &HeaderMap) -> Response<Said> {
        let tag = self.tag();
        let mut answer = Response::new(Said::default());
        let known = asked.get_all(header::IF_NONE_MATCH).iter();
        if known
            .filter_map(|v| v.to_str().ok())
            .any(|list| holds(list, &tag))
        {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else if takes_gzip(asked) {
            *answer.body_mut() = Said::whole(Bytes::from_static(self.packed));
            let gzip = HeaderValue::from_static("gzip");
            answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
        } else {
            *answer.body_mut() = Said::whole(self.plain());
        }
        let fixed = [
            (header::CONTENT_TYPE, self.kind),
            (header::VARY, "Accept-Encoding"),
            // A client asks every time, and is told in a few bytes that nothing has changed.
            (header::CACHE_CONTROL, "no-cache"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let headers = answer.headers_mut();
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        answer
    }

    /// Weak, since it stands for the packed and the plain file (RFC 9110, 8.8.3).
    fn tag(&self) -> String {
        let (_, trailer) = self.packed.split_at(self.packed.len() - TRAILER);
        let hex: String = trailer.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("W/\"{hex}\"")
    }

    /// The file unpacked.
    pub fn plain(&self) -> Bytes {
        let unpack = || {
            let deflated = &self.packed[HEAD..self.packed.len() - TRAILER];
            let plain = miniz_oxide::inflate::decompress_to_vec(deflated);
            plain.unwrap_or_default().into()
        };
        self.plain.get_or_init(unpack).clone()
    }
}

/// Does `If-None-Match` name the tag?
fn holds(list: &str, tag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*" || list.split(',').any(|one| weak(one) == weak(tag))
}

/// Does the client take gzip (RFC 9110, 12.5.3)?
fn takes_gzip(asked: &HeaderMap) -> bool {
    let lists = asked.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = lists
        .filter_map(|v| v.to_str().ok())
        .flat_map(|list| list.split(','));
    codings.any(|coding| {
        let (name, quality) = coding.split_once(";q=").unwrap_or((coding, "1"));
        let wanted = serde_json::from_str(quality).is_ok_and(|q: f64| q > 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())]
            .into_iter()
            .collect()
    }

    /// A gzip member of a few letters, as the build script makes it.
    fn file() -> Embedded {
        const MEMBER: &[u8] = &[
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255, 0x4b, 0x4c, 0x4a, 0x06, 0, 0xc2, 0x41, 0x24,
            0x35, 3, 0, 0, 0,
        ];
        Embedded::new("text/plain", MEMBER)
    }

    #[test]
    fn it_is_unpacked_once() {
        let file = file();
        let plain = file.plain();
        assert_eq!(&plain[..], b"abc");
        assert_eq!(plain.as_ptr(), file.plain().as_ptr());
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let file = file();
        let fresh = file.answer(&ask(header::ACCEPT_ENCODING, "br, gzip"));
        assert_eq!(fresh.headers()["content-encoding"], "gzip");
        let tag = fresh.headers()["etag"].to_str().unwrap();
        assert_eq!(tag, "W/\"c241243503000000\"");
        let again = file.answer(&ask(header::IF_NONE_MATCH, &format!("\"x\", {tag}")));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()["etag"].to_str().unwrap(), tag);
        assert!(!holds("\"x\"", tag) && holds("*", tag) && holds(tag, tag));
    }

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        for (codings, taken) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let asked = ask(header::ACCEPT_ENCODING, codings);
            assert_eq!(takes_gzip(&asked), taken, "{codings}");
        }
        let plain = file().answer(&HeaderMap::new());
        assert!(!plain.headers().contains_key("content-encoding"));
    }
}

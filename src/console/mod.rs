//! The page and the client module, embedded.
//!
//! Every file lies in the binary as the gzip member that [`pack.rs`](../../src/console/pack.rs) made of it. It goes out as it
//! lies there; only for the rare client that doesn't take gzip it is unpacked. Its entity tag is the member's own
//! check sum and size.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

/// The page obeys no script, style or address but its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Bytes of a gzip member before and behind what is deflated.
const HEAD: usize = 10;
const TRAILER: usize = 8;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file as it is served.
struct File {
    path: &'static str,
    kind: &'static str,
    packed: &'static [u8],
}

macro_rules! file {
    ($path:literal, $kind:expr, $name:literal) => {
        File {
            path: $path,
            kind: $kind,
            packed: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
        }
    };
}

/// The console. `SISKIN_CONSOLE=false` takes it away.
const PAGE: &[File] = &[
    file!("/", HTML, "index.html"),
    file!("/console/console.css", CSS, "console.css"),
    file!("/console/console.js", JS, "console.js"),
    file!("/console/api.js", JS, "api.js"),
    file!("/console/arrived.js", JS, "arrived.js"),
    file!("/console/channel.js", JS, "channel.js"),
    file!("/console/chat.js", JS, "chat.js"),
    file!("/console/dom.js", JS, "dom.js"),
    file!("/console/graph.js", JS, "graph.js"),
    file!("/console/lists.js", JS, "lists.js"),
    file!("/console/note.js", JS, "note.js"),
    file!("/console/send.js", JS, "send.js"),
    file!("/console/server.js", JS, "server.js"),
    file!("/console/icon.svg", SVG, "icon.svg"),
];

/// The client module and what it stands on: for the page, and for any frontend.
const CLIENT: &[File] = &[
    file!("/client/siskin.js", JS, "siskin.js"),
    file!("/client/siskin.d.ts", TEXT, "siskin.d.ts"),
    file!("/client/calls.js", JS, "calls.js"),
    file!("/client/channels.js", JS, "channels.js"),
    file!("/client/chats.js", JS, "chats.js"),
    file!("/client/emitter.js", JS, "emitter.js"),
    file!("/client/provider.js", JS, "provider.js"),
    file!("/client/socket.io.js", JS, "socket.io.js"),
    file!("/client/yjs.js", JS, "yjs.js"),
    file!("/client/LICENSES.txt", TEXT, "LICENSES.txt"),
];

/// Answers for a path that is the console's; `page`: whether the page itself is wanted.
pub fn answer(path: &str, asked: &HeaderMap, page: bool) -> Option<Response<Full<Bytes>>> {
    let pages = if page { PAGE } else { &[] };
    let file = pages.iter().chain(CLIENT).find(|file| file.path == path)?;
    Some(file.answer(asked))
}

impl File {
    fn answer(&self, asked: &HeaderMap) -> Response<Full<Bytes>> {
        let tag = self.tag();
        let mut answer = Response::new(Full::default());
        let known = asked.get_all(header::IF_NONE_MATCH).iter();
        if known
            .filter_map(|v| v.to_str().ok())
            .any(|list| holds(list, &tag))
        {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else if takes_gzip(asked) {
            *answer.body_mut() = Full::new(Bytes::from_static(self.packed));
            let gzip = HeaderValue::from_static("gzip");
            answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
        } else {
            *answer.body_mut() = Full::new(self.plain().into());
        }
        self.mark(answer.headers_mut(), &tag);
        answer
    }

    fn mark(&self, headers: &mut HeaderMap, tag: &str) {
        let fixed = [
            (header::CONTENT_TYPE, self.kind),
            (header::VARY, "Accept-Encoding"),
            // A browser asks every time, and is told in a few bytes that nothing has changed.
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::from_str(tag) {
            headers.insert(header::ETAG, tag);
        }
        // Frontends of other origins import the module; there is no secret in it.
        if self.path.starts_with("/client/") {
            let anybody = HeaderValue::from_static("*");
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
        }
    }

    /// Weak, since it stands for the packed and the plain file (RFC 9110, 8.8.3).
    fn tag(&self) -> String {
        let (_, trailer) = self.packed.split_at(self.packed.len() - TRAILER);
        let hex: String = trailer.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("W/\"{hex}\"")
    }

    fn plain(&self) -> Vec<u8> {
        let deflated = &self.packed[HEAD..self.packed.len() - TRAILER];
        miniz_oxide::inflate::decompress_to_vec(deflated).unwrap_or_default()
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
    use std::collections::BTreeSet;

    fn ask(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = headers.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn every_file_is_what_was_packed_and_has_a_tag_of_its_own() {
        let files = || PAGE.iter().chain(CLIENT);
        let tags: BTreeSet<String> = files().map(File::tag).collect();
        assert_eq!(tags.len(), files().count());
        for file in files() {
            let size = file
                .packed
                .last_chunk()
                .map(|size| u32::from_le_bytes(*size));
            assert_eq!(
                size,
                u32::try_from(file.plain().len()).ok(),
                "{}",
                file.path
            );
            assert!(size > Some(0), "{}", file.path);
        }
        let script = CLIENT
            .iter()
            .find(|file| file.path == "/client/siskin.js")
            .unwrap();
        assert_eq!(script.plain(), include_bytes!("client/siskin.js"));
    }

    #[test]
    fn the_whole_page_is_at_most_80_kib() {
        let files = PAGE.iter().chain(CLIENT);
        let read = files.filter(|file| file.kind != TEXT);
        let bytes: usize = read.map(|file| file.packed.len()).sum();
        assert!(bytes <= 80 * 1024, "{bytes} bytes gzipped");
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let fresh = answer(
            "/client/siskin.js",
            &ask(&[("accept-encoding", "br, gzip")]),
            false,
        )
        .unwrap();
        assert_eq!(fresh.headers()["content-encoding"], "gzip");
        let tag = fresh.headers()["etag"].to_str().unwrap().to_owned();
        let again = ask(&[(
            "if-none-match",
            Box::leak(format!("\"x\", {tag}").into_boxed_str()),
        )]);
        let again = answer("/client/siskin.js", &again, false).unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()["etag"].to_str().unwrap(), tag);
        assert!(!holds("\"x\"", &tag) && holds("*", &tag) && holds(&tag, &tag));
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
            assert_eq!(
                takes_gzip(&ask(&[("accept-encoding", codings)])),
                taken,
                "{codings}"
            );
        }
        let plain = answer("/client/siskin.js", &HeaderMap::new(), false).unwrap();
        assert!(!plain.headers().contains_key("content-encoding"));
    }

    #[test]
    fn without_the_page_the_client_module_stays() {
        assert!(answer("/", &HeaderMap::new(), false).is_none());
        assert!(answer("/", &HeaderMap::new(), true).is_some());
        assert!(answer("/client/siskin.js", &HeaderMap::new(), false).is_some());
        assert!(answer("/client/", &HeaderMap::new(), true).is_none());
        assert!(answer("/client/../page", &HeaderMap::new(), true).is_none());
    }
}

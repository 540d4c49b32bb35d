//! The page and the client module, embedded.
//!
//! Every file is served as [`Embedded`] says, for the page with headers that keep it from obeying anybody else.

use crate::ground::embedded::{Embedded, embedded};
use crate::ground::net::Said;
use hyper::Response;
use hyper::header::{self, HeaderMap, HeaderValue};
use std::time::Duration;

/// The page obeys no script, style or address but its own. Pages of the same origin may show it in theirs: Home Assistant does.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file and where it is served.
struct File {
    path: &'static str,
    content: Embedded,
}

macro_rules! file {
    ($path:literal, $kind:expr, $name:literal) => {
        File {
            path: $path,
            content: embedded!($kind, $name),
        }
    };
}

/// The console. `SISKIN_CONSOLE=false` takes it away.
static PAGE: [File; 14] = [
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
static CLIENT: [File; 10] = [
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

/// What the client module knows of this server.
const SETTINGS: &str = "/client/settings.js";

/// Answers for a path that is the console's; `page`: whether the page itself is wanted; `heartbeat`: what lies between two
/// heartbeats of a client.
pub fn answer(
    path: &str,
    asked: &HeaderMap,
    page: bool,
    heartbeat: Duration,
) -> Option<Response<Said>> {
    if path == SETTINGS {
        return Some(settings(heartbeat));
    }
    let pages: &[File] = if page { &PAGE } else { &[] };
    let file = pages.iter().chain(&CLIENT).find(|file| file.path == path)?;
    Some(file.answer(asked))
}

fn settings(heartbeat: Duration) -> Response<Said> {
    let script = format!(
        "/** Milliseconds between two heartbeats, as this server wants them. */\nexport const HEARTBEAT = {};\n",
        heartbeat.as_millis()
    );
    let mut answer = Response::new(Said::whole(script));
    let fixed = [
        (header::CONTENT_TYPE, JS),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    secure(answer.headers_mut(), SETTINGS);
    answer
}

impl File {
    fn answer(&self, asked: &HeaderMap) -> Response<Said> {
        let mut answer = self.content.answer(asked);
        secure(answer.headers_mut(), self.path);
        answer
    }
}

fn secure(headers: &mut HeaderMap, path: &str) {
    let policy = HeaderValue::from_static(POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let nobody = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, nobody);
    // Frontends of other origins import the module; there is no secret in it.
    if path.starts_with("/client/") {
        let anybody = HeaderValue::from_static("*");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;
    use std::collections::BTreeSet;

    fn files() -> impl Iterator<Item = &'static File> {
        PAGE.iter().chain(&CLIENT)
    }

    fn tag(file: &File) -> String {
        let answer = file.answer(&HeaderMap::new());
        answer.headers()["etag"].to_str().unwrap().to_owned()
    }

    #[test]
    fn every_file_is_what_was_packed_and_has_a_tag_of_its_own() {
        let tags: BTreeSet<String> = files().map(tag).collect();
        assert_eq!(tags.len(), files().count());
        for file in files() {
            // The tag ends in the size, least byte first.
            let size = u32::try_from(file.content.plain().len()).unwrap();
            assert!(size > 0, "{}", file.path);
            let end = format!("{:08x}\"", size.swap_bytes());
            assert!(tag(file).ends_with(&end), "{}", file.path);
        }
        let script = CLIENT
            .iter()
            .find(|file| file.path == "/client/siskin.js")
            .unwrap();
        assert_eq!(
            &script.content.plain()[..],
            include_bytes!("client/siskin.js")
        );
    }

    #[test]
    fn the_whole_page_is_at_most_82_kib() {
        let gzip = HeaderValue::from_static("gzip");
        let gzip: HeaderMap = [(header::ACCEPT_ENCODING, gzip)].into_iter().collect();
        let answers = files().map(|file| file.answer(&gzip));
        let read = answers.filter(|answer| answer.headers()["content-type"] != TEXT);
        let bytes: u64 = read
            .map(|answer| answer.body().size_hint().exact().unwrap())
            .sum();
        assert!((1024..=82 * 1024).contains(&bytes), "{bytes} bytes gzipped");
    }

    #[test]
    fn without_the_page_the_client_module_stays() {
        let nothing = HeaderMap::new();
        let answers = |path, page| answer(path, &nothing, page, Duration::from_secs(30)).is_some();
        assert!(!answers("/", false) && answers("/", true));
        assert!(answers("/client/siskin.js", false) && answers(SETTINGS, false));
        assert!(!answers("/client/", true) && !answers("/client/../page", true));
    }
}

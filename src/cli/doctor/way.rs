//! The way from a URL to siskin's socket: its name, its port, the proxy, and who answers.
//!
//! - [`transports`]: polling and websocket
//! - [`visitor`]: address, origin, token

mod transports;
mod visitor;

use super::Report;
use super::beside::{compare, skew};
use super::wire::{Answer, Place, Wire, resolve, told};
use crate::cli::request;
use crate::config::Config;
use serde_json::Value;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// What is asked for.
pub struct Asked {
    /// A URL was given: what stands behind it may be a proxy.
    pub through_proxy: bool,
    pub origin: Option<String>,
    pub token: Option<String>,
    /// Whether the first ping is waited for.
    pub wait: bool,
}

/// Milliseconds between pings that somebody may have chosen.
const LIKELY: RangeInclusive<u64> = 1..=3_600_000;

const WEBUI_ANSWERS: &str =
    "Open WebUI's own socket answers, not siskin: the proxy sends /ws/socket.io there";

/// Who stands before siskin, as far as its answers tell.
#[derive(Clone, Copy, PartialEq)]
enum Proxy {
    Nginx,
    Caddy,
    Other,
}

/// One way that is looked at.
struct Way<'a> {
    report: &'a mut Report,
    config: Option<&'a Config>,
    place: Place,
    asked: &'a Asked,
    proxy: Proxy,
    /// From one ping to the next.
    interval: Duration,
    /// Who waits for the first ping, and since when.
    waits: Option<(Wire, Instant)>,
}

pub fn look(report: &mut Report, config: Option<&Config>, place: Place, asked: &Asked) {
    let mut way = Way {
        report,
        config,
        place,
        asked,
        proxy: Proxy::Other,
        interval: Duration::from_secs(25),
        waits: None,
    };
    if !way.name() || !way.port() {
        return;
    }
    if let Some(sid) = way.path() {
        // Without polling there is none.
        if !sid.is_empty() && way.polling(&sid) {
            way.upgrade(&sid);
        }
        way.websocket();
        way.origin();
        way.silence();
    }
}

/// Getting there.
impl Way<'_> {
    fn name(&mut self) -> bool {
        match resolve(&self.place.url) {
            Ok(addresses) => {
                let list: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
                if self.place.url.host.parse::<IpAddr>().is_err() {
                    let says = format!("{} is {}", self.place.url.host, list.join(", "));
                    self.report.ok("name", &says);
                }
                self.place.addresses = addresses;
                true
            }
            Err(error) => {
                let host = &self.place.url.host;
                let says = format!("{host} has no address: {error}");
                let fix = format!(
                    "make a record of it in DNS, or put its address into /etc/hosts: 192.0.2.7 {host}"
                );
                self.report.bad("name", &says, &fix);
                false
            }
        }
    }

    fn port(&mut self) -> bool {
        let (tls, through_proxy) = (self.place.tls, self.asked.through_proxy);
        self.place.tls = tls && cfg!(feature = "tls");
        let opened = Wire::open(&self.place);
        self.place.tls = tls;
        let origin = self.place.origin();
        if let Err(error) = opened {
            let fix = match through_proxy {
                true => {
                    "start the proxy, let it listen there (nginx: listen 80; Caddy: :80 { ... }), and open the port in the firewall"
                }
                false => "systemctl start siskin",
            };
            self.report
                .bad("port", &format!("{origin}: {}", told(&error)), fix);
            return false;
        }
        if tls && cfg!(not(feature = "tls")) {
            self.report
                .ok("port", &format!("{origin} accepts connections"));
            let fix = "a siskin with the feature tls looks through it; or give the proxy a plain address within the machine, and look at that one";
            self.report.bad(
                "tls",
                "this siskin speaks no TLS: what is behind https can't be looked at",
                fix,
            );
            return false;
        }
        true
    }

    /// The line for the proxy that is there; for an unknown one both.
    fn line(&self, nginx: &str, caddy: &str) -> String {
        match self.proxy {
            Proxy::Nginx => format!("nginx, in location /ws/socket.io: {nginx}"),
            Proxy::Caddy => format!("Caddyfile: {caddy}"),
            Proxy::Other => {
                format!("nginx, in location /ws/socket.io: {nginx}\nCaddyfile: {caddy}")
            }
        }
    }

    /// Where siskin is, as a proxy would name it.
    fn siskin(&self) -> String {
        let address = self.config.and_then(request::address);
        address.map_or("127.0.0.1:8380".into(), |address| address.to_string())
    }

    fn route(&self) -> String {
        let siskin = self.siskin();
        self.line(
            &format!("proxy_pass http://{siskin};   (nothing behind the port, no slash)"),
            &format!("@socket path /ws/socket.io /ws/socket.io/*\n           reverse_proxy @socket {siskin}   (no handle_path, no strip_prefix)"),
        )
    }

    /// Who answers on the socket's path: the sid of a session, when it is siskin.
    fn path(&mut self) -> Option<String> {
        let path = self.place.socket("polling");
        let answer = match self.place.get(&path, "") {
            Ok(answer) => answer,
            Err(error) => {
                let fix = "look what listens there: ss -tlnp";
                self.report.bad("path", &told(&error), fix);
                return None;
            }
        };
        let servers: Vec<&str> = answer.all("server").chain(answer.all("via")).collect();
        let servers = servers.join(" ").to_ascii_lowercase();
        self.proxy = match () {
            _ if servers.contains("nginx") => Proxy::Nginx,
            _ if servers.contains("caddy") => Proxy::Caddy,
            _ => Proxy::Other,
        };
        if self.asked.through_proxy
            && let Some(skew) = skew(&answer)
        {
            compare(self.report, "the server", skew);
        }
        let Some(open) = opened(&answer) else {
            return self.strange(&answer);
        };
        let sid = open
            .get("sid")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let interval = open.get("pingInterval").and_then(Value::as_u64);
        let Some(interval) = interval.filter(|interval| LIKELY.contains(interval)) else {
            let fix = self.route();
            let says = "what answers says of no ping interval that a server would have";
            self.report.bad("path", says, &fix);
            return None;
        };
        self.interval = Duration::from_millis(interval);
        self.is_siskin(&servers, &sid).then_some(sid)
    }

    /// Engine.IO answers; whether it is siskin's, and not from a cache.
    fn is_siskin(&mut self, servers: &str, sid: &str) -> bool {
        let path = self.place.socket("polling");
        let unknown = self
            .place
            .get(&format!("{path}&sid=AAAAAAAAAAAAAAAAAAAA"), "");
        if unknown.is_ok_and(|answer| answer.text("message") != "Session ID unknown") {
            let fix = self.route();
            self.report.bad("path", WEBUI_ANSWERS, &fix);
            return false;
        }
        let again = self
            .place
            .get(&path, "")
            .ok()
            .and_then(|answer| opened(&answer));
        self.end(again.as_ref());
        if again.is_some_and(|open| open.get("sid").and_then(Value::as_str) == Some(sid)) {
            let fix = self.line(
                "proxy_buffering off; proxy_cache off;",
                "no cache before reverse_proxy @socket",
            );
            self.report.bad(
                "path",
                "the proxy answers from a cache: everybody gets the same session",
                &fix,
            );
            return false;
        }
        let who = if servers.is_empty() {
            String::new()
        } else {
            format!(" behind {servers}")
        };
        self.report.ok(
            "path",
            &format!("siskin answers{who} at {}{path}", self.place.origin()),
        );
        true
    }

    /// Ends a session that nobody needs.
    fn end(&self, open: Option<&Value>) {
        let sid = open.and_then(|open| open.get("sid")?.as_str());
        let path = self.place.socket("polling");
        if let Some(sid) = sid {
            // If that fails it ends by itself.
            let _ = self
                .place
                .send("POST", &format!("{path}&sid={sid}"), "", "1");
        }
    }

    /// Something else than a handshake was answered. An empty sid: websockets may be there all the same.
    fn strange(&mut self, answer: &Answer) -> Option<String> {
        let status = answer.status;
        let server = answer.header("server");
        let body = &answer.body;
        let (says, fix) = match (status, answer.text("message").as_str()) {
            (_, "Transport unknown") => {
                let why = "siskin takes no polling: SISKIN_TRANSPORTS=both lets it";
                self.report.skip("polling", why);
                return Some(String::new());
            }
            // python-engineio, which takes websockets alone.
            _ if body.contains("Invalid transport") => (WEBUI_ANSWERS.into(), self.route()),
            (_, "Too many sessions of one address") => (
                "siskin takes everybody for one address, which has as many sessions as it may have".into(),
                self.forwarded(),
            ),
            (_, message @ ("Too many sessions" | "Too much unfinished input")) => (
                format!("siskin is full: {message}"),
                "SISKIN_MAX_CONNECTIONS=... higher, and LimitNOFILE with it".into(),
            ),
            (_, "Unsupported protocol version") => (
                "the proxy does not hand on the query of the URL".into(),
                self.route(),
            ),
            _ if body.contains("the socket is /ws/socket.io") || body.contains("<title>siskin</title>") => {
                ("siskin is reached under another path: the proxy takes a part of /ws/socket.io away".into(), self.route())
            }
            (502..=504, _) => (
                format!("the proxy does not reach siskin ({status} {server})"),
                format!("{}\nand if siskin runs elsewhere: SISKIN_LISTEN=0.0.0.0:8380", self.route()),
            ),
            (300..=399, _) => (
                format!("it is redirected to {}, and redirects are not followed", answer.header("location")),
                "look at that address: siskin doctor URL".into(),
            ),
            (401 | 403 | 407, _) => (
                format!("something before siskin wants a login ({status} {server})"),
                self.line("auth_basic off; auth_request off;", "basic_auth and forward_auth not for @socket"),
            ),
            (413 | 431, _) => (format!("the request is too large for it ({status})"), self.route()),
            _ => (
                format!("something else answers there: {status} {server}"),
                self.route(),
            ),
        };
        self.report.bad("path", &says, &fix);
        None
    }

    fn forwarded(&self) -> String {
        format!(
            "{}\nsiskin's settings: SISKIN_TRUSTED_PROXIES=127.0.0.0/8, ::1, and the proxy's address",
            self.line(
                "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
                "no header_up -X-Forwarded-For"
            )
        )
    }
}

/// The JSON of a handshake.
fn opened(answer: &Answer) -> Option<Value> {
    let open = answer
        .body
        .strip_prefix('0')
        .filter(|_| answer.status == 200)?;
    let open = open.split('\x1e').next().unwrap_or_default();
    serde_json::from_str(open)
        .ok()
        .filter(|open: &Value| open.get("sid").is_some())
}

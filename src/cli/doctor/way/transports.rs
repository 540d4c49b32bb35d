//! Both transports, how one goes over into the other, and how long a silent one stays open.

use super::super::wire::{Answer, Wire, told};
use super::Way;
use serde_json::Value;
use std::io;
use std::time::{Duration, Instant};

/// What looks like a namespace of the server's and is none: its refusal tells that all before it was handled.
pub const NOWHERE: &str = "40/siskin-doctor,";
/// How long a word of the server's may take, which may ask Open WebUI first.
const WORD: Duration = Duration::from_secs(8);

/// The transports.
impl Way<'_> {
    /// A word there and back over polling.
    pub(super) fn polling(&mut self, sid: &str) -> bool {
        let path = format!("{}&sid={sid}", self.place.socket("polling"));
        let posted = self.place.send("POST", &path, "", "40");
        let polled = match &posted {
            Ok(posted) if posted.status == 200 => self.place.get(&path, ""),
            _ => posted,
        };
        let (says, fix) = match &polled {
            Ok(answer) if answer.body.starts_with("40{") => {
                let says = "a word goes there and an answer comes back";
                self.report.ok("polling", says);
                return true;
            }
            Ok(answer) if answer.text("message") == "Session ID unknown" => (
                "a second request of a session reaches another siskin, or one that has restarted".into(),
                "several behind one name: a client has to reach the same one each time (nginx: upstream siskin { ip_hash; ... }, Caddy: lb_policy ip_hash)".into(),
            ),
            Ok(answer) => (
                format!("it is answered with {} {}", answer.status, answer.text("message")),
                self.line("no limit_except; client_max_body_size 16m;", "no method matcher at @socket"),
            ),
            Err(error) => (
                format!("an answer is held back: {}", told(error)),
                self.line("proxy_buffering off; proxy_cache off;", "flush_interval -1"),
            ),
        };
        self.report.bad("polling", &says, &fix);
        false
    }

    /// From polling to a websocket, as browsers do it.
    pub(super) fn upgrade(&mut self, sid: &str) {
        let path = format!("{}&sid={sid}", self.place.socket("websocket"));
        match self.place.websocket(&path) {
            Ok(Ok(mut wire)) => match probe(&mut wire) {
                Ok(()) => {
                    self.report
                        .ok("upgrade", "polling goes over into a websocket");
                    self.waits = Some((wire, Instant::now()));
                }
                Err(error) => self.dead("upgrade", &error),
            },
            // The next check says why.
            Ok(Err(_)) | Err(_) => self.report.skip("upgrade", "no websocket opens"),
        }
    }

    fn dead(&mut self, check: &str, error: &io::Error) {
        let fix = self.line("proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";", "reverse_proxy hands a websocket on by itself: look at what stands before Caddy");
        let says = format!("a websocket opens, but nothing passes: {}", told(error));
        self.report.bad(check, &says, &fix);
    }

    /// A websocket at once; and over it, who siskin takes us for and what becomes of the token.
    pub(super) fn websocket(&mut self) {
        let path = self.place.socket("websocket");
        let mut wire = match self.place.websocket(&path) {
            Ok(Ok(wire)) => wire,
            Ok(Err(answer)) => return self.no_websocket(&answer),
            Err(error) => {
                let fix = self.line(
                    "proxy_read_timeout 120s;",
                    "no timeout in reverse_proxy @socket",
                );
                return self.report.bad("websocket", &told(&error), &fix);
            }
        };
        match connected(&mut wire) {
            Ok(sid) => {
                self.report
                    .ok("websocket", "it opens, and words go both ways");
                self.address(&wire, &sid);
                self.token(&mut wire);
            }
            Err(error) => return self.dead("websocket", &error),
        }
        if self.waits.is_none() {
            self.waits = Some((wire, Instant::now()));
        }
    }

    fn no_websocket(&mut self, answer: &Answer) {
        let (status, message) = (answer.status, answer.text("message"));
        let upgrade =
            "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
        let (says, nginx) = match message.as_str() {
            "A websocket needs HTTP/1.1" => (
                "the proxy speaks HTTP/1.0 with siskin, which has no websockets".to_owned(),
                format!("proxy_http_version 1.1; {upgrade}"),
            ),
            "Bad request" => (
                "the proxy does not hand on the header Upgrade".to_owned(),
                format!("proxy_http_version 1.1; {upgrade}"),
            ),
            "Transport unknown" => {
                return self.report.skip(
                    "websocket",
                    "siskin takes none: ENABLE_WEBSOCKET_SUPPORT=true lets it",
                );
            }
            _ => (
                format!("it is answered with {status} {message}"),
                format!("proxy_http_version 1.1; {upgrade}"),
            ),
        };
        let fix = self.line(&nginx, "reverse_proxy @socket alone: no header_up for Connection or Upgrade, no transport with versions 2");
        self.report.bad("websocket", &says, &fix);
    }

    /// Whether the first ping comes before the proxy loses patience.
    pub(super) fn silence(&mut self) {
        let Some((mut wire, since)) = self.waits.take() else {
            return self.report.skip("silence", "no websocket is open");
        };
        let seconds = self.interval.as_secs_f64();
        if !self.asked.wait {
            return self.report.skip(
                "silence",
                &format!("not waited {seconds} s for a ping: leave --quick away"),
            );
        }
        let until = since + self.interval + Duration::from_secs(3);
        let heard = loop {
            match wire.hear(until.saturating_duration_since(Instant::now())) {
                Ok(word) if word == "2" => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        match heard {
            Ok(()) => {
                let seconds = seconds.min(since.elapsed().as_secs_f64());
                self.report.ok(
                    "silence",
                    &format!("a silent websocket stays open until siskin's ping ({seconds} s)"),
                );
            }
            Err(error) => {
                let after = since.elapsed().as_secs_f64();
                let says = format!(
                    "a silent websocket ends after {after:.1} s ({}); siskin pings every {seconds} s",
                    told(&error)
                );
                let fix = self.line(
                    "proxy_read_timeout 120s; proxy_send_timeout 120s;",
                    "no stream_timeout, read_timeout or write_timeout below 120s",
                );
                self.report.bad(
                    "silence",
                    &says,
                    &format!("{fix}\nor siskin's settings: WEBSOCKET_SERVER_PING_INTERVAL=10"),
                );
            }
        }
    }
}

/// As a browser takes a session of polling over.
fn probe(wire: &mut Wire) -> io::Result<()> {
    wire.say("2probe")?;
    until(wire, |word| word == "3probe")?;
    wire.say("5")?;
    wire.say(NOWHERE)?;
    until(wire, |word| word.starts_with("44/")).map(drop)
}

/// The handshakes of Engine.IO and Socket.IO; the socket's id.
fn connected(wire: &mut Wire) -> io::Result<String> {
    until(wire, |word| word.starts_with("0{"))?;
    wire.say("40")?;
    let word = until(wire, |word| word.starts_with("40"))?;
    let open: Option<Value> = word
        .get(2..)
        .and_then(|open| serde_json::from_str(open).ok());
    let sid = open.as_ref().and_then(|open| open.get("sid")?.as_str());
    Ok(sid.unwrap_or_default().to_owned())
}

/// The first word that fits, answering pings.
pub(super) fn until(wire: &mut Wire, fits: impl Fn(&str) -> bool) -> io::Result<String> {
    let end = Instant::now() + WORD;
    loop {
        let word = wire.hear(end.saturating_duration_since(Instant::now()))?;
        if word == "2" {
            wire.say("3")?;
        }
        if fits(&word) {
            return Ok(word);
        }
    }
}

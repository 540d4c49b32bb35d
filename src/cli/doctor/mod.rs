//! `siskin doctor`: why nothing arrives. Looks at each part between a browser and siskin, and names what to change.
//!
//! - `way`: from a URL to siskin's socket, through the proxy
//! - `beside`: Open WebUI, the token, Redis
//! - `here`: this machine's disk, files and limits
//! - `wire`: the client that looks
//!
//! It changes nothing: it opens connections and ends them, as a page would that is opened and closed.

mod beside;
mod here;
mod way;
mod wire;

use super::{Failure, Outcome, check, request};
use crate::config::table::SISKIN_DIRECTORY;
use crate::config::{Config, DirectoryKind, Reading, Source};
use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use wire::Place;

/// find out why nothing arrives: looks at proxy, socket, token, Redis, Open WebUI and this machine, and names what to change
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "doctor",
    example = "{command_name} https://chat.example.org",
    example = "{command_name} --token - http://127.0.0.1 < token",
    note = "It reads the same settings as the running instance and knows most where that one runs; with a URL it works from anywhere. Exit code 0: nothing is bad. A token is shown to the server, so its user is signed in for a moment."
)]
pub struct Doctor {
    /// where browsers go: http://chat.example.org; without it, the running instance itself
    #[argh(positional)]
    url: Option<String>,
    /// the page's origin, if it is another than the URL's
    #[argh(option)]
    origin: Option<String>,
    /// a user's token, to be told which step refuses it; - reads it from standard input
    #[argh(option)]
    token: Option<String>,
    /// don't wait for the first ping, which takes up to WEBSOCKET_SERVER_PING_INTERVAL
    #[argh(switch)]
    quick: bool,
    /// print JSON
    #[argh(switch)]
    json: bool,
}

/// What was found, each thing said at once.
struct Report {
    json: Option<Vec<Value>>,
    colour: bool,
    bad: bool,
}

impl Report {
    fn new(json: bool) -> Self {
        Self {
            json: json.then(Vec::new),
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            bad: false,
        }
    }

    fn ok(&mut self, check: &str, says: &str) {
        self.add(check, "ok", says, "");
    }

    /// `fix`: the line to put somewhere, and where.
    fn bad(&mut self, check: &str, says: &str, fix: &str) {
        self.bad = true;
        self.add(check, "bad", says, fix);
    }

    /// It was not looked at: `why`, and what would help.
    fn skip(&mut self, check: &str, why: &str) {
        self.add(check, "skip", why, "");
    }

    fn add(&mut self, check: &str, verdict: &str, says: &str, fix: &str) {
        let (says, fix) = (plain(says), plain(fix));
        if let Some(found) = &mut self.json {
            let mut one = json!({"check": check, "verdict": verdict, "says": says});
            if !fix.is_empty() {
                one["fix"] = fix.into();
            }
            return found.push(one);
        }
        let word = match (self.colour, verdict) {
            (true, "ok") => "\x1b[32mok  \x1b[0m",
            (true, "bad") => "\x1b[31mbad \x1b[0m",
            (true, _) => "\x1b[33mskip\x1b[0m",
            (false, "ok") => "ok  ",
            (false, "bad") => "bad ",
            _ => "skip",
        };
        super::say(&format!("{word}  {check:<10}  {says}\n"));
        for line in fix.lines() {
            super::say(&format!("      {line}\n"));
        }
    }
}

/// What comes from outside moves no cursor and fills no screen.
fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => c,
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().take(800).map(shown).collect()
}

pub fn run(doctor: &Doctor) -> Outcome {
    let place = doctor.url.as_deref().map(place).transpose()?;
    let token = token(doctor.token.as_deref())?;
    let mut report = Report::new(doctor.json);
    let config = settings(&mut report, place.is_some());
    if let Some(config) = &config {
        running(&mut report, config);
        here::look(&mut report, config);
        beside::look(&mut report, config);
    }
    let own = || config.as_ref().and_then(own_place);
    let asked = way::Asked {
        through_proxy: place.is_some(),
        origin: doctor.origin.clone(),
        token,
        wait: !doctor.quick,
    };
    match place.or_else(own) {
        Some(place) => way::look(&mut report, config.as_ref(), place, &asked),
        None => report.skip("path", "no URL was given"),
    }
    let bad = report.bad;
    if let Some(found) = report.json {
        super::say(&format!("{}\n", json!({"ok": !bad, "checks": found})));
    }
    match bad {
        true => Err(Failure::Failed(String::new())),
        false => Ok(()),
    }
}

/// Where a URL leads. What stands behind the socket's path is left away.
fn place(text: &str) -> Result<Place, Failure> {
    let (tls, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        Some(_) => (false, ""),
        None => (false, text),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let rest = rest
        .trim_end_matches('/')
        .trim_end_matches(crate::http::SOCKET_PATH);
    let authority = rest.split('/').next().unwrap_or_default();
    let named = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (SISKIN_DIRECTORY.parse)(&format!("http://{rest}")) {
        Ok(DirectoryKind::OpenWebui(mut url)) => {
            if tls && !named {
                url.port = 443;
            }
            let addresses = Vec::new();
            Ok(Place {
                url,
                tls,
                addresses,
            })
        }
        _ => Err(Failure::Wrong(
            "Write a URL as http://chat.example.org or https://chat.example.org:8443.".into(),
        )),
    }
}

/// Where the running instance listens.
fn own_place(config: &Config) -> Option<Place> {
    let address = request::address(config)?;
    place(&format!("http://{address}")).ok()
}

fn token(given: Option<&str>) -> Result<Option<String>, Failure> {
    let mut line = String::new();
    if given == Some("-") {
        let read = std::io::stdin().read_line(&mut line);
        read.map_err(|e| Failure::Failed(format!("standard input can't be read: {e}")))?;
    } else if let Some(token) = given {
        line = token.to_owned();
    }
    let token = line.trim().trim_start_matches("Bearer ").to_owned();
    match given {
        None => Ok(None),
        Some(_) if token.is_empty() || token.contains(char::is_whitespace) => Err(Failure::Wrong(
            "The token is empty, or has spaces in it.".into(),
        )),
        Some(_) => Ok(Some(token)),
    }
}

/// The settings, if they can be used. From outside there may be none.
fn settings(report: &mut Report, from_outside: bool) -> Option<Config> {
    let mut reading = crate::config::read_environment();
    let mut sources = reading.effective.iter().map(|(.., source)| source);
    if from_outside && sources.all(|source| *source == Source::Default) {
        let why = "none are given: where siskin runs, with its settings, more can be looked at: sudo /usr/lib/siskin/run doctor URL";
        report.skip("settings", why);
        return None;
    }
    check::check_redis(&mut reading);
    let Reading {
        config,
        mistakes,
        warnings,
        ..
    } = reading;
    for mistake in &mistakes {
        report.bad(
            "settings",
            &format!("{}: {}", mistake.name, mistake.what),
            &mistake.fix,
        );
    }
    let odd = warnings.join("; ");
    let fine = "siskin would start with them";
    match (config.is_some() && mistakes.is_empty(), odd.is_empty()) {
        (true, true) => report.ok("settings", fine),
        (true, false) => report.ok("settings", &format!("{fine}, but: {odd}")),
        (false, _) => report.skip(
            "this side",
            "nothing is looked at with settings that can't be used",
        ),
    }
    config.filter(|_| mistakes.is_empty())
}

/// The instance that these settings belong to.
fn running(report: &mut Report, config: &Config) {
    let answer = match request::send(config, "GET", "/ready", b"") {
        Ok(answer) => answer,
        Err(Failure::Failed(why) | Failure::Wrong(why)) => {
            let fix = "systemctl start siskin; what ended it is in: journalctl -u siskin -n 20";
            return report.bad("siskin", &why, fix);
        }
    };
    let (status, text) = (answer.status, answer.text());
    let ready: Option<Value> = serde_json::from_str(&text).ok();
    let reasons = ready
        .as_ref()
        .and_then(|ready| ready.get("reasons")?.as_array());
    let Some(reasons) = reasons else {
        let fix = "free the port, or give siskin another one: SISKIN_LISTEN=127.0.0.1:8390";
        return report.bad("siskin", "at SISKIN_LISTEN something else answers", fix);
    };
    let reasons: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
    match (status, reasons.is_empty()) {
        (200, true) => report.ok("siskin", "it runs and is ready"),
        (200, false) => report.ok("siskin", &format!("it runs: {}", reasons.join("; "))),
        _ => {
            let says = format!("it runs, but is not ready: {}", reasons.join("; "));
            report.bad(
                "siskin",
                &says,
                "what to change is said below, where that part is looked at",
            );
        }
    }
}

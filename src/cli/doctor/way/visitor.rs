//! Who may come: whom siskin takes a client for, pages of which origin, and which step refuses a token.

use super::super::beside::takes;
use super::super::wire::{Wire, told};
use super::transports::{NOWHERE, until};
use super::{Way, opened};
use crate::cli::request;
use crate::config::{Cors, Origin};
use crate::ground::clock;
use crate::token::{self, TokenError};
use serde_json::Value;
use std::net::IpAddr;

/// Who may come.
impl Way<'_> {
    /// Whom siskin takes a client for.
    pub(super) fn address(&mut self, wire: &Wire, sid: &str) {
        let Some(config) = self
            .config
            .filter(|config| self.asked.through_proxy && config.api_key.is_some())
        else {
            return self.report.skip("address", "whom siskin takes a client for is told where it runs, with its SISKIN_API_KEY and the URL");
        };
        let answer = request::send(config, "GET", &format!("/api/v1/sessions/{sid}"), b"");
        let answer = answer.ok().filter(|answer| answer.status == 200);
        let session: Option<Value> =
            answer.and_then(|answer| serde_json::from_str(&answer.text()).ok());
        let seen = session
            .as_ref()
            .and_then(|session| session.get("address")?.as_str()?.parse().ok());
        let (Some(seen), Some((here, there))): (Option<IpAddr>, _) = (seen, wire.ends()) else {
            return self.report.skip(
                "address",
                "the instance at SISKIN_LISTEN does not know this session, or not the key",
            );
        };
        match seen {
            seen if seen == here => self.report.ok("address", "siskin knows the client's own"),
            seen if seen == there || seen.is_loopback() => {
                let trusted = config.trusted_proxies.iter().any(|net| net.contains(seen));
                let fix = match trusted {
                    true => self.line(
                        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
                        "no header_up -X-Forwarded-For",
                    ),
                    false => format!(
                        "siskin's settings: SISKIN_TRUSTED_PROXIES=127.0.0.0/8, ::1, {seen}"
                    ),
                };
                let says =
                    format!("siskin takes every client for the proxy, {seen}: all share one limit");
                self.report.bad("address", &says, &fix);
            }
            seen => self.report.skip(
                "address",
                &format!("siskin takes us for {seen}; fine if addresses are translated on the way"),
            ),
        }
    }

    pub(super) fn origin(&mut self) {
        let origin = self
            .asked
            .origin
            .clone()
            .unwrap_or_else(|| self.place.origin());
        let own = self.asked.origin.is_none();
        let header = format!("Origin: {origin}\r\n");
        if Origin::parse(&origin).is_none() || origin.contains(char::is_control) {
            return self.report.bad(
                "origin",
                "it is no origin",
                "write it as https://chat.example.org, without a path",
            );
        }
        let answer = match self.place.get(&self.place.socket("polling"), &header) {
            Ok(answer) => answer,
            Err(error) => return self.report.bad("origin", &told(&error), "see above"),
        };
        self.end(opened(&answer).as_ref());
        let allowed: Vec<&str> = answer.all("access-control-allow-origin").collect();
        let list = match self.config.map(|config| &config.cors) {
            Some(Cors::Only(_)) | None => "CORS_ALLOW_ORIGIN=...;",
            Some(Cors::Any) => "CORS_ALLOW_ORIGIN=",
        };
        let mut setting = format!("siskin's settings: {list}{origin}");
        if answer.status != 200 {
            if own {
                setting = format!(
                    "{}\nor {setting}",
                    self.line("proxy_set_header Host $http_host;", "no header_up Host")
                );
            }
            let says = format!(
                "pages of {origin} are refused: {} {}",
                answer.status,
                answer.text("message")
            );
            return self.report.bad("origin", &says, &setting);
        }
        if own || matches!(allowed[..], [one] if one == origin || one == "*") {
            let says = format!("pages of {origin} may connect");
            return self.report.ok("origin", &says);
        }
        let fix = self.line(
            "no add_header Access-Control-...: siskin sends them",
            "no header Access-Control-...: siskin sends them",
        );
        let says = format!(
            "browsers refuse the answer to {origin}: Access-Control-Allow-Origin is {:?}",
            allowed.join(" and ")
        );
        self.report.bad("origin", &says, &fix);
    }

    /// Which step refuses a token, and why.
    pub(super) fn token(&mut self, wire: &mut Wire) {
        let Some(token) = self.asked.token.as_deref() else {
            return self.report.skip(
                "token",
                "none was given: --token TOKEN, or --token - for standard input",
            );
        };
        if let Some((says, fix)) = self.refused(token) {
            return self.report.bad("token", &says, fix);
        }
        let join = serde_json::json!(["user-join", {"auth": {"token": token}}]);
        let asked = wire
            .say(&format!("420{join}"))
            .and_then(|()| wire.say(NOWHERE));
        let word = asked.and_then(|()| {
            until(wire, |word| {
                word.starts_with("430[") || word.starts_with("44/")
            })
        });
        match word {
            Ok(word) if word.starts_with("430[{") => {
                self.report.ok("token", "siskin signs its user in")
            }
            Ok(_) => {
                let (says, fix) = self.unknown(token);
                self.report.bad("token", &says, fix);
            }
            Err(error) => {
                let fix = "see the lines about Open WebUI; with its token a user can sign in when it answers";
                self.report.bad(
                    "token",
                    &format!("siskin does not sign its user in: {}", told(&error)),
                    fix,
                );
            }
        }
    }

    /// What the token itself says; with the secret, whether it is signed with it.
    fn refused(&self, token: &str) -> Option<(String, &'static str)> {
        let now = clock::now();
        let verified = match self.config {
            Some(config) => token::Key::new(config.secret_key.expose()).verify(token, now),
            None => {
                token::read_unverified(token).and_then(|claims| claims.check(now).map(|()| claims))
            }
        };
        let error = verified.err()?;
        let fix = match error {
            TokenError::Signature => {
                "it is signed with another secret: WEBUI_SECRET_KEY has to be that of who made it"
            }
            TokenError::Expired | TokenError::NotYetValid => {
                "sign in anew; if it is a new one, a clock is wrong: timedatectl set-ntp true"
            }
            TokenError::Algorithm => "sign it with HS256",
            TokenError::BadId => "ids have 256 characters at most, and no control characters",
            TokenError::TooLong => "put less into it: 60 KiB at most",
            TokenError::Malformed | TokenError::NoId => {
                "a token is what a page keeps as localStorage.token, or what siskin token prints"
            }
        };
        let what = match (error, token::read_unverified(token).ok()) {
            (TokenError::Expired, Some(claims)) => {
                format!("{error}, {} s ago", now - claims.exp.unwrap_or(now))
            }
            _ => error.to_string(),
        };
        Some((what, fix))
    }

    /// It is a good token by itself, and refused all the same.
    fn unknown(&self, token: &str) -> (String, &'static str) {
        match self.config.map(|config| takes(config, token)) {
            None => (
                "siskin refuses it, though its time is right: its secret is another, or it does not know the user".into(),
                "look from where siskin runs, with its settings: that tells which",
            ),
            Some(Some((200, role))) => (
                format!("Open WebUI knows its user ({role}), siskin refuses it"),
                "a user needs the role user or admin: an admin of Open WebUI gives it",
            ),
            Some(Some((status, _))) => (
                format!("Open WebUI refuses it ({status}): its user is gone, or has signed out"),
                "sign in anew",
            ),
            Some(None) => (
                "siskin does not know its user, or it was revoked".into(),
                "PUT /api/v1/users/ID makes the user, or SISKIN_TRUST_TOKEN_CLAIMS=true",
            ),
        }
    }
}

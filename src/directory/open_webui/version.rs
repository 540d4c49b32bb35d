//! Which version of Open WebUI answers, and what follows from it: the table of the README, tested with each.
//!
//! Asked at the start and whenever the process may be a new one.

use super::client::{Client, DEADLINE, UpstreamError, UpstreamRequest, host};
use crate::config::HttpUrl;
use crate::ground::json;
use crate::ground::net::dial;
use crate::ground::tasks::within;
use crate::socket::Object;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const VERSION: &str = "/api/version";
const SOCKET: &str = "/ws/socket.io/?EIO=4&transport=";
/// The oldest one that siskin is tested with.
const OLDEST: Number = (0, 6, 43);

type Number = (u32, u32, u32);

/// What it wants of a note that is saved. What is not sent again as it was would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteForm {
    Data,
    WithTitle,
    /// And `access_grants`.
    WithGrants,
    /// And `access_control`, which was before the grants.
    WithControl,
}

/// What a version does otherwise than the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ways {
    form: NoteForm,
    /// It hears Redis, and with it answers to calls, only after the first connection to its socket.
    sleeps: bool,
    /// It hears of direct connections over Redis.
    direct: bool,
}

/// From which version on what is so, the newest first.
const TABLE: [(Number, Ways); 5] = [
    ((0, 12, 4), ways(NoteForm::Data, false, true)),
    ((0, 12, 0), ways(NoteForm::WithTitle, false, true)),
    ((0, 11, 4), ways(NoteForm::WithTitle, true, true)),
    ((0, 8, 0), ways(NoteForm::WithGrants, true, false)),
    ((0, 0, 0), ways(NoteForm::WithControl, true, false)),
];

const fn ways(form: NoteForm, sleeps: bool, direct: bool) -> Ways {
    Ways {
        form,
        sleeps,
        direct,
    }
}

impl Ways {
    /// Of a version; of one that is not named by numbers, those of the newest.
    fn of(version: &str) -> Self {
        let number = number(version);
        let row = TABLE
            .iter()
            .find(|(from, _)| number.is_none_or(|n| n >= *from));
        row.map_or(TABLE[0].1, |(_, ways)| *ways)
    }
}

fn number(version: &str) -> Option<Number> {
    // `0.6.43`, `v0.12.4`, `0.13.0-dev`, `0.12.4.post1`.
    let version = version.trim().trim_start_matches('v');
    let mut parts = version.split(['.', '-', '+']);
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next()?, next().unwrap_or(0)))
}

/// What is known of it.
pub struct Version {
    client: Rc<Client>,
    url: HttpUrl,
    /// Does it share a Redis with us?
    shares_redis: bool,
    known: RefCell<Option<String>>,
    ways: Cell<Ways>,
}

#[derive(Deserialize)]
struct Answer {
    version: String,
}

impl Version {
    pub fn new(client: Rc<Client>, url: HttpUrl, shares_redis: bool) -> Self {
        Self {
            client,
            url,
            shares_redis,
            known: RefCell::default(),
            ways: Cell::new(TABLE[0].1),
        }
    }

    /// What it wants of a note that is saved.
    pub fn form(&self) -> NoteForm {
        self.ways.get().form
    }

    /// Does it hear direct connections at its own socket alone?
    pub fn streams_by_socket(&self) -> bool {
        !self.ways.get().direct
    }

    /// The process may be a new one: asks its version, says once what does not work with it, and wakes it if it sleeps.
    /// Whether it was another version than before.
    pub async fn ask(&self) -> bool {
        let asked = match self.fetch().await {
            Ok(version) => self.heard(&version),
            Err(error) => {
                log::debug!("the version of Open WebUI is not known: {error}");
                false
            }
        };
        if self.shares_redis
            && self.ways.get().sleeps
            && let Err(error) = within(DEADLINE, self.wake()).await.unwrap_or_else(late)
        {
            log::warn!("Open WebUI can't be woken, and hears no answers of browsers yet: {error}");
        }
        asked
    }

    async fn fetch(&self) -> Result<String, UpstreamError> {
        let response = self
            .client
            .send(&UpstreamRequest::anonymous(VERSION), DEADLINE)
            .await?;
        let body = response.body.filter(|_| response.status.is_success());
        let answer = body.and_then(|body| json::read(&body).ok());
        let Some(Object(Answer { version })) = answer else {
            let status = response.status.as_u16();
            return Err(UpstreamError(format!(
                "{VERSION} is answered with {status} and no version"
            )));
        };
        Ok(version)
    }

    /// Notes the version. Whether it was another one before.
    fn heard(&self, version: &str) -> bool {
        // It comes from outside and goes to the log.
        let version: String = version
            .chars()
            .filter(|c| !c.is_control())
            .take(40)
            .collect();
        if self.known.borrow().as_deref() == Some(&version) {
            return false;
        }
        let ways = Ways::of(&version);
        match limits(&version, ways) {
            Some(limits) => log::warn!("Open WebUI is {version}: {limits}"),
            None => log::info!("Open WebUI is {version}"),
        }
        *self.known.borrow_mut() = Some(version);
        self.ways.set(ways);
        true
    }

    /// One connection to its socket, so that it begins to hear Redis.
    async fn wake(&self) -> Result<(), UpstreamError> {
        let status = self.open_websocket().await?;
        if status == 101 {
            return Ok(());
        }
        // It may be one that serves polling alone.
        let path = format!("{SOCKET}polling");
        let response = self
            .client
            .send(&UpstreamRequest::anonymous(&path), DEADLINE)
            .await?;
        match response.status.is_success() {
            true => Ok(()),
            false => Err(UpstreamError(format!(
                "its socket is answered with {status}"
            ))),
        }
    }

    /// The status that a websocket is answered with. It is closed at once.
    async fn open_websocket(&self) -> Result<u16, UpstreamError> {
        let failed = |e: std::io::Error| UpstreamError(format!("its socket: {e}"));
        let (url, host) = (&self.url, host(&self.url));
        let mut stream = dial(&url.host, url.port).await.map_err(failed)?;
        // The key is the standard's example: nobody checks what comes back.
        let request = format!(
            "GET {}{SOCKET}websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            url.path
        );
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut status = [0; "HTTP/1.1 101".len()];
        stream.read_exact(&mut status).await.map_err(failed)?;
        let status = std::str::from_utf8(&status).unwrap_or_default();
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.ok_or_else(|| UpstreamError("its socket does not speak HTTP".into()))
    }
}

fn late() -> Result<(), UpstreamError> {
    let seconds = DEADLINE.as_secs();
    Err(UpstreamError(format!(
        "its socket: no answer within {seconds} s"
    )))
}

/// What does not work with a version, in one line.
pub fn limits_of(version: &str) -> Option<String> {
    limits(version, Ways::of(version))
}

fn limits(version: &str, ways: Ways) -> Option<String> {
    let mut limits = Vec::new();
    if number(version).is_some_and(|number| number < OLDEST) {
        let (major, minor, patch) = OLDEST;
        limits.push(format!(
            "siskin is tested with {major}.{minor}.{patch} and newer"
        ));
    }
    if matches!(ways.form, NoteForm::WithGrants | NoteForm::WithControl) {
        limits.push("a note that is public is so no longer when somebody edits it who may not make notes public".into());
    }
    (!limits.is_empty()).then(|| limits.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_ways() {
        use NoteForm::{Data, WithControl, WithGrants, WithTitle};
        for (version, form, sleeps, direct) in [
            ("0.6.43", WithControl, true, false),
            ("0.7.2", WithControl, true, false),
            ("0.8.0", WithGrants, true, false),
            ("0.8.12", WithGrants, true, false),
            ("0.10.2", WithGrants, true, false),
            ("0.11.3", WithGrants, true, false),
            ("0.11.4", WithTitle, true, true),
            ("0.12.0", WithTitle, false, true),
            ("0.12.3", WithTitle, false, true),
            ("0.12.4", Data, false, true),
            ("0.12.10", Data, false, true),
            ("0.13", Data, false, true),
            ("1.0.0", Data, false, true),
            ("0.1.0", WithControl, true, false),
            ("v0.8.1-dev", WithGrants, true, false),
            ("0.12.3.post1", WithTitle, false, true),
            ("", Data, false, true),
            ("main", Data, false, true),
        ] {
            assert_eq!(Ways::of(version), ways(form, sleeps, direct), "{version}");
        }
    }

    #[test]
    fn only_what_does_not_work_is_said() {
        let said = |version: &str| limits(version, Ways::of(version)).unwrap_or_default();
        for whole in ["0.12.4", "0.12.0", "0.11.4", "2.0.0", "main"] {
            assert_eq!(said(whole), "");
        }
        assert!(said("0.8.12").contains("public"));
        assert!(!said("0.6.43").contains("tested with"));
        assert!(said("0.6.42").contains("tested with 0.6.43 and newer"));
    }
}

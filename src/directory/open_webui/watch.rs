//! Whether Open WebUI is there: one log line when it goes, one when it is back, and a request every 3 s in between.
//!
//! While it is away nobody else waits for it. Failures of requests while it is there are logged once a minute.
//!
//! Its pages repair themselves when they connect: they leave a dead answer, and reload when the version has changed. Ours
//! live through its restarts, so while there are any it is asked for its version, and they learn when it has gone and come
//! back, or has become another. Who only hung, or answered with errors, has not gone.

use super::client::{Client, DEADLINE, UpstreamError, UpstreamRequest};
use super::version::Version;
use crate::directory::types::Refusal;
use crate::ground::json;
use crate::ground::tasks::{Bell, Single, Tasks};
use crate::log::tenths;
use crate::socket::{Hub, Object};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Who bears the token of the request. Without one it is refused, by Open WebUI and by nothing else.
pub const WHO_AM_I: &str = "/api/v1/auths/";

/// What a request comes to that Open WebUI does not answer.
pub const AWAY: Refusal = Refusal::Unavailable("Open WebUI does not answer");

/// Its version. Anybody may ask.
const VERSION: &str = "/api/version";

/// Bytes of an answer about it at most.
const MOST_BYTES: usize = 16 << 10;

/// Between two requests while it is away, and while somebody is here.
const PAUSE: Duration = Duration::from_secs(3);
/// Between two warnings about failed requests.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// What is known about it.
pub struct Watch {
    client: Rc<Client>,
    /// Which version it is, as of the last time that it was back.
    pub version: Version,
    tasks: Tasks,
    /// For log lines.
    address: String,
    /// Since when, and why.
    away: RefCell<Option<(Instant, UpstreamError)>>,
    /// Is the task running that checks whether it is there?
    checking: Single,
    /// When a failed request was logged as a warning last.
    warned: Cell<Option<Instant>>,
    /// Whether it was ever there, and whether it has gone since it was last.
    known: Cell<bool>,
    gone: Cell<bool>,
    /// What it says of its version, and what else it said once.
    build: RefCell<Option<Build>>,
    other: RefCell<Option<Build>>,
    /// How often it was another.
    restarts: Cell<u64>,
    /// Rung when it goes, comes back, or is another.
    changed: Bell,
}

impl Watch {
    pub fn new(client: Rc<Client>, version: Version, tasks: Tasks, address: String) -> Rc<Self> {
        Rc::new(Self {
            client,
            version,
            tasks,
            address,
            away: RefCell::default(),
            checking: Single::default(),
            warned: Cell::default(),
            known: Cell::default(),
            gone: Cell::default(),
            build: RefCell::default(),
            other: RefCell::default(),
            restarts: Cell::default(),
            changed: Bell::default(),
        })
    }

    /// Asks for its version while somebody is here, as long as the server runs.
    pub fn follow(self: &Rc<Self>, hub: Rc<Hub>) {
        let watch = self.clone();
        self.tasks.spawn("follows Open WebUI", async move {
            loop {
                smol::Timer::after(PAUSE).await;
                if hub.is_empty() || watch.is_away() {
                    continue;
                }
                match watch.ask_build().await.map(|build| watch.saw(build)) {
                    Ok(false) => {}
                    Ok(true) => {
                        watch.version.ask().await;
                        watch.restart();
                    }
                    Err(error) => watch.check(Some(error)),
                }
            }
        });
    }

    /// Waits until it was restarted more often than that; returns how often.
    pub fn restarted(&self, before: u64) -> impl Future<Output = u64> {
        let more = move || Some(self.restarts.get()).filter(|restarts| *restarts > before);
        self.changed.until(more)
    }

    /// Waits until it is there.
    pub fn here(&self) -> impl Future<Output = ()> {
        let here = || (!self.is_away()).then_some(());
        self.changed.until(here)
    }

    /// What it says of its version; `None` when it tells none.
    async fn ask_build(&self) -> Result<Option<Build>, UpstreamError> {
        let response = self
            .client
            .send(&UpstreamRequest::anonymous(VERSION), DEADLINE)
            .await?;
        match response.status {
            status if status.is_server_error() => Err(unexpected(VERSION, status)),
            status if status.is_success() => {
                let body = response.body.filter(|body| body.len() <= MOST_BYTES);
                Ok(body
                    .and_then(|body| json::read::<Object<Build>>(&body).ok())
                    .map(|build| build.0))
            }
            _ => Ok(None),
        }
    }

    /// Another version counts when it was answered twice: in the middle of an update two of them may answer in turn. Whether
    /// it is another now.
    fn saw(&self, build: Option<Build>) -> bool {
        let Some(build) = build else {
            return false;
        };
        let mut known = self.build.borrow_mut();
        let other = self.other.replace(None);
        match &mut *known {
            None => *known = Some(build),
            Some(known) if !known.is_another(&build) => known.learn(build),
            Some(_) if other.is_none_or(|other| other.is_another(&build)) => {
                self.other.replace(Some(build));
            }
            Some(_) => {
                *known = Some(build);
                log::info!("Open WebUI at {} has another version", self.address);
                return true;
            }
        }
        false
    }

    fn restart(&self) {
        self.restarts.set(self.restarts.get() + 1);
        self.changed.ring();
    }

    pub fn is_away(&self) -> bool {
        self.away.borrow().is_some()
    }

    /// Waits until it is away.
    pub fn gone(&self) -> impl Future<Output = ()> {
        self.changed.until(|| self.is_away().then_some(()))
    }

    /// What `/ready` says about it.
    pub fn degraded(&self) -> Option<String> {
        let away = self.away.borrow();
        let (_, why) = away.as_ref()?;
        Some(format!("Open WebUI at {} is away: {why}", self.address))
    }

    /// Checks, in the background, whether it is there, until it is. `failure` is what a request failed with; at start
    /// none has.
    pub fn check(self: &Rc<Self>, failure: Option<UpstreamError>) {
        let watch = self.clone();
        let check = || async move {
            let mut failure = failure;
            while let Err(why) = watch.is_there().await {
                failure = None;
                watch.set_away(why);
                smol::Timer::after(PAUSE).await;
            }
            // We are new here, or it failed: its process may be a new one.
            watch.version.ask().await;
            watch.set_back();
            if let Some(failure) = failure {
                watch.log_failure(&failure);
            }
        };
        self.checking
            .start(&self.tasks, "looks for Open WebUI", check);
    }

    async fn is_there(&self) -> Result<(), UpstreamError> {
        self.client.take_lost();
        let response = self
            .client
            .send(&UpstreamRequest::anonymous(WHO_AM_I), DEADLINE)
            .await;
        self.gone.set(self.gone.get() || self.client.take_lost());
        let response = response?;
        match response.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(()),
            status => Err(unexpected(WHO_AM_I, status)),
        }
    }

    fn set_away(&self, why: UpstreamError) {
        let mut away = self.away.borrow_mut();
        match &mut *away {
            Some((_, known)) => *known = why,
            None => {
                log::warn!(
                    "Open WebUI at {} is away: {why}; sockets stay, nobody new can sign in, notes are saved when it is back",
                    self.address
                );
                *away = Some((Instant::now(), why));
                self.changed.ring();
            }
        }
    }

    fn set_back(&self) {
        if let Some((since, _)) = self.away.take() {
            let away = tenths(since.elapsed());
            log::info!("Open WebUI at {} is back after {away} s", self.address);
        }
        let (known, gone) = (self.known.replace(true), self.gone.take());
        self.changed.ring();
        if known && gone {
            // Whatever it is now: those who connect anew see it.
            self.build.replace(None);
            self.restart();
        }
    }

    /// A request failed though it is there.
    fn log_failure(&self, failure: &UpstreamError) {
        let (now, address) = (Instant::now(), &self.address);
        let last = self.warned.get();
        if last.is_some_and(|at| now < at + WARNING_INTERVAL) {
            log::debug!("Open WebUI at {address}: {failure}");
            return;
        }
        self.warned.set(Some(now));
        log::warn!(
            "Open WebUI at {address}: {failure} (the next such line comes in a minute at the earliest)"
        );
    }
}

/// What `GET /api/version` answers, as far as it matters. Text, or it is not told.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Build {
    version: Value,
    deployment_id: Value,
}

impl Build {
    /// Whether it is another: what one of both does not tell is no difference.
    fn is_another(&self, other: &Self) -> bool {
        let pairs = [
            (&self.version, &other.version),
            (&self.deployment_id, &other.deployment_id),
        ];
        let differ =
            |(one, other): (&Value, &Value)| one.is_string() && other.is_string() && one != other;
        pairs.into_iter().any(differ)
    }

    /// The same may say more.
    fn learn(&mut self, same: Self) {
        for (known, more) in [
            (&mut self.version, same.version),
            (&mut self.deployment_id, same.deployment_id),
        ] {
            if more.is_string() {
                *known = more;
            }
        }
    }
}

/// A status that Open WebUI doesn't answer with, or only when something is wrong in it.
pub fn unexpected(path: &str, status: StatusCode) -> UpstreamError {
    let more = match status {
        s if s.is_redirection() => ", and redirects are not followed",
        s if s.is_success() => " without a token: is this Open WebUI?",
        _ => "",
    };
    UpstreamError(format!("{path} is answered with {}{more}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_tell_makes_another() {
        let build = |json: &str| json::read::<Object<Build>>(json.as_bytes()).unwrap().0;
        let known = build(r#"{"version":"1","deployment_id":"a"}"#);
        for same in [
            r#"{"deployment_id": "\u0061", "more": [], "version": "1"}"#,
            r#"{"version":"1"}"#,
            r#"{"version":"1","deployment_id":null}"#,
            r#"{"version":1,"deployment_id":{}}"#,
            "{}",
        ] {
            assert!(!known.is_another(&build(same)) && !build(same).is_another(&known));
        }
        for other in [
            r#"{"version":"2","deployment_id":"a"}"#,
            r#"{"version":"2"}"#,
            r#"{"version":"1","deployment_id":"b"}"#,
            r#"{"deployment_id":""}"#,
        ] {
            assert!(known.is_another(&build(other)), "{other}");
        }
        let mut less = build(r#"{"version":"1"}"#);
        less.learn(build(r#"{"version":null,"deployment_id":"a"}"#));
        assert!(!less.is_another(&known) && less.is_another(&build(r#"{"deployment_id":"b"}"#)));
        assert!(less.is_another(&build(r#"{"version":"2"}"#)));
    }
}

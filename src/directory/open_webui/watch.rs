//! Whether Open WebUI is there: one log line when it goes, one when it is back, and a request every 3 s in between.
//!
//! While it is away nobody else waits for it. Failures of requests while it is there are logged once a minute.

use super::client::{Client, DEADLINE, UpstreamError, UpstreamRequest};
use super::version::Version;
use crate::directory::types::Refusal;
use crate::ground::tasks::{Bell, Single, Tasks};
use crate::log::tenths;
use hyper::{Method, StatusCode};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Who bears the token of the request. Without one it is refused, by Open WebUI and by nothing else.
pub const WHO_AM_I: &str = "/api/v1/auths/";

/// What a request comes to that Open WebUI does not answer.
pub const AWAY: Refusal = Refusal::Unavailable("Open WebUI does not answer");

/// Between two requests while it is away.
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
    /// Rung when it goes or comes back.
    changed: Bell,
    /// Is the task running that checks whether it is there?
    checking: Single,
    /// When a failed request was logged as a warning last.
    warned: Cell<Option<Instant>>,
}

impl Watch {
    pub fn new(client: Rc<Client>, version: Version, tasks: Tasks, address: String) -> Rc<Self> {
        Rc::new(Self {
            client,
            version,
            tasks,
            address,
            away: RefCell::default(),
            changed: Bell::default(),
            checking: Single::default(),
            warned: Cell::default(),
        })
    }

    pub fn is_away(&self) -> bool {
        self.away.borrow().is_some()
    }

    /// Waits until it is away.
    pub async fn gone(&self) {
        self.changed.until(|| self.is_away().then_some(())).await;
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
        let request = UpstreamRequest {
            method: Method::GET,
            path: WHO_AM_I,
            token: None,
            body: None,
            repeatable: true,
        };
        let response = self.client.send(&request, DEADLINE).await?;
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

/// A status that Open WebUI doesn't answer with, or only when something is wrong in it.
pub fn unexpected(path: &str, status: StatusCode) -> UpstreamError {
    let more = match status {
        s if s.is_redirection() => ", and redirects are not followed",
        s if s.is_success() => " without a token: is this Open WebUI?",
        _ => "",
    };
    UpstreamError(format!("{path} is answered with {}{more}", status.as_u16()))
}

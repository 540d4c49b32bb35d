//! Whether Open WebUI is there: one log line when it goes, one when it is back, and a question every 3 s in between.
//!
//! While it is away nobody else waits for it. Questions that it answers oddly though it is there are logged once a minute.

use super::OpenWebui;
use super::client::{Question, Trouble};
use crate::ground::tasks::Single;
use crate::log::tenths;
use hyper::{Method, StatusCode};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Between two questions whether it is back.
const PAUSE: Duration = Duration::from_secs(3);
/// Between two log lines about odd answers.
const ODD: Duration = Duration::from_secs(60);

/// What is known about it.
#[derive(Default)]
pub struct Watch {
    away: RefCell<Option<(Instant, Trouble)>>,
    /// Is the task running that looks for it?
    looking: Single,
    odd: Cell<Option<Instant>>,
}

impl Watch {
    pub fn is_away(&self) -> bool {
        self.away.borrow().is_some()
    }

    /// Why it is away, in one sentence.
    pub fn why(&self) -> Option<String> {
        let away = self.away.borrow();
        away.as_ref().map(|(_, why)| why.to_string())
    }

    /// It was asked and gave no usable answer.
    fn went(&self, url: &str, why: Trouble) {
        let mut away = self.away.borrow_mut();
        match &mut *away {
            Some((_, known)) => *known = why,
            None => {
                log::warn!(
                    "Open WebUI at {url} is away: {why}; sockets stay, nobody new can sign in, notes are saved when it is back"
                );
                *away = Some((Instant::now(), why));
            }
        }
    }

    fn came(&self, url: &str) {
        if let Some((since, _)) = self.away.take() {
            let away = tenths(since.elapsed());
            log::info!("Open WebUI at {url} is back after {away} s");
        }
    }

    /// It is there, but this went wrong.
    pub fn odd(&self, url: &str, what: &Trouble) {
        let now = Instant::now();
        let told = self.odd.get().is_some_and(|at| now < at + ODD);
        if told {
            log::debug!("Open WebUI at {url}: {what}");
            return;
        }
        self.odd.set(Some(now));
        log::warn!(
            "Open WebUI at {url}: {what} (the next such line comes in a minute at the earliest)"
        );
    }
}

impl OpenWebui {
    /// Something went wrong: looks whether Open WebUI is there at all, until it is. At start nothing did.
    pub(super) fn look(self: &Rc<Self>, what: Option<Trouble>) {
        let weak = Rc::downgrade(self);
        let look = || async move {
            let mut what = what;
            loop {
                let Some(webui) = weak.upgrade() else { return };
                match webui.is_there().await {
                    Ok(()) => {
                        webui.watch.came(&webui.address);
                        if let Some(what) = what.take() {
                            webui.watch.odd(&webui.address, &what);
                        }
                        return;
                    }
                    Err(why) => {
                        what = None;
                        webui.watch.went(&webui.address, why);
                    }
                }
                drop(webui);
                smol::Timer::after(PAUSE).await;
            }
        };
        let looking = &self.watch.looking;
        looking.start(&self.tasks, "looks for Open WebUI", look);
    }

    /// Who shows no token is told so, by Open WebUI and by nothing else.
    async fn is_there(&self) -> Result<(), Trouble> {
        let question = Question {
            method: Method::GET,
            path: super::WHO_AM_I,
            token: None,
            body: None,
            repeatable: true,
        };
        let answer = self.client.ask(&question).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(()),
            status => Err(odd_status(super::WHO_AM_I, status)),
        }
    }
}

/// An answer that Open WebUI doesn't give, or only when something is wrong in it.
pub fn odd_status(path: &str, status: StatusCode) -> Trouble {
    let more = match status {
        s if s.is_redirection() => ", and redirects are not followed",
        s if s.is_success() => " without a token: is this Open WebUI?",
        _ => "",
    };
    Trouble(format!("{path} is answered with {}{more}", status.as_u16()))
}

//! Who reads an answer over HTTP, as server-sent events: what there is of it, then each event as it is emitted.
//!
//! A [`Watch`] stands for one message and those who read it as one user, or with the API's key. While it is there, the message's
//! events are kept in the ring (`socket/recovery`), as long after the last reader as a session may come back: who was cut off
//! shows the number of the last event that came, and gets what followed. Everybody else gets the message as it is saved, with what
//! the ring has of it beside that, and begins anew.

mod reader;
mod reading;
mod watch;

use super::core::Core;
use super::identity;
use crate::directory::{Access, Refusal, is_saved_chat};
use crate::ground::tasks::{Single, Tasks};
use crate::metrics;
use crate::socket::{Args, Target, To};
use crate::store::StoreError;
use reader::Reader;
use reading::HEARTBEAT;
pub use reading::Reading;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
pub use watch::Asked;
use watch::{DONE, SILENT, Told, Watch};

/// Answers that one user reads at a time; those that backends read with the key; watches in all.
const OF_USER: usize = 16;
const OF_BACKENDS: usize = 256;
const MOST: usize = 1024;

/// How long an answer is waited for of which nothing comes: as long as the request that streams it may be silent.
const SILENCE: Duration = Duration::from_secs(300);

/// Why nothing can be read.
#[derive(Debug)]
pub enum Unread {
    TooMany,
    Store(StoreError),
}

/// Everybody who reads.
pub struct Readers {
    core: &'static Core,
    watches: RefCell<Vec<Rc<Watch>>>,
    /// The last watch's number.
    last: Cell<u32>,
    tasks: Tasks,
    looking: Single,
}

impl Readers {
    pub fn new(core: &'static Core) -> Self {
        Self {
            core,
            watches: RefCell::default(),
            last: Cell::default(),
            tasks: Tasks::new(core.executor),
            looking: Single::default(),
        }
    }

    /// What is sent to who reads; `None`: the answer is done, and nothing was missed.
    ///
    /// # Errors
    /// Too many are read, or the store can't tell what is saved.
    pub fn open(&'static self, asked: &Asked<'_>) -> Result<Option<Reading>, Unread> {
        let (watch, known) = self.watch(asked)?;
        let look = || self.look_after();
        self.looking.start(&self.tasks, "looks after readers", look);
        let reader = Reader::new(asked.who.clone());
        let after = asked
            .after
            .filter(|after| known && watch.goes_on(&self.core.hub, *after));
        let done = match after {
            Some(after) => watch.tell_missed(&self.core.hub, &reader, after),
            None => tell_all(self.core, &watch, &reader).map_err(Unread::Store)?,
        };
        if done && after.is_some_and(|after| after >= watch.last()) {
            return Ok(None);
        }
        reader.began(self.core.config.outbox_bytes);
        if done {
            reader.add(None, "end", DONE);
            reader.end();
        }
        Ok(Some(Reading::new(reader, watch)))
    }

    /// The watch of a message, and whether it was there.
    fn watch(&self, asked: &Asked<'_>) -> Result<(Rc<Watch>, bool), Unread> {
        let mut watches = self.watches.borrow_mut();
        let user = asked.who.as_ref().map(|who| &*who.user.id);
        let its = watches.iter().filter(|watch| watch.is_of(user));
        let most = if user.is_some() { OF_USER } else { OF_BACKENDS };
        if its.map(|watch| watch.readers()).sum::<usize>() >= most {
            metrics::refused("readers");
            return Err(Unread::TooMany);
        }
        if let Some(watch) = watches.iter().find(|watch| watch.is(user, asked)) {
            return Ok((watch.clone(), true));
        }
        if watches.len() >= MOST {
            let Some(idle) = watches.iter().position(|watch| watch.readers() == 0) else {
                metrics::refused("readers");
                return Err(Unread::TooMany);
            };
            watches.remove(idle).close(&self.core.hub);
        }
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        let watch = Rc::new(Watch::new(&self.core.hub, number, asked));
        watches.push(watch.clone());
        Ok((watch, false))
    }

    /// An event was emitted to a target here, by whichever instance.
    pub fn emitted(&self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        let watches = self.watches.borrow();
        let To::Room(room) = target.to else { return };
        if event != "events" || !watches.iter().any(|watch| watch.hears(room)) {
            return;
        }
        let Some(told) = Told::read(args) else { return };
        let number = self.core.hub.number_of_last();
        for watch in watches.iter().filter(|watch| watch.is_told(room, &told)) {
            watch.tell(number, &told);
        }
    }

    /// The request that streamed a message's answer has come to its end.
    pub fn finished(&self, chat_id: &str, message_id: &str) {
        let watches = self.watches.borrow();
        let its = watches
            .iter()
            .filter(|watch| watch.is_about(chat_id, message_id));
        its.for_each(|watch| watch.finish(DONE));
    }

    /// What these users may do has changed: they are judged anew when they come back.
    pub fn end_users(&self, user_ids: &[&str]) {
        let is_theirs = |watch: &Watch| user_ids.iter().any(|id| watch.is_of(Some(id)));
        self.close(is_theirs);
    }

    /// Everybody goes: for a server that goes down.
    pub fn end(&self) {
        self.close(|_| true);
    }

    fn close(&self, concerns: impl Fn(&Watch) -> bool) {
        let mut watches = self.watches.borrow_mut();
        let closed: Vec<_> = watches.extract_if(.., |watch| concerns(watch)).collect();
        drop(watches);
        closed.iter().for_each(|watch| watch.close(&self.core.hub));
    }

    /// Who may have access to a chat has changed.
    pub fn check_chat(&self, chat_id: &str) -> impl Future<Output = ()> {
        self.check(|watch| watch.is_in(chat_id))
    }

    /// Until nobody reads, and nobody may come back.
    async fn look_after(&'static self) {
        while !self.watches.borrow().is_empty() {
            smol::Timer::after(HEARTBEAT).await;
            let at = Instant::now();
            self.close(|watch| watch.is_left(at, self.core.config.recovery_time));
            self.end_silent(at);
            self.check(|_| true).await;
        }
    }

    fn end_silent(&self, now: Instant) {
        let watches = self.watches.borrow();
        let silent = watches.iter().filter(|watch| watch.is_silent(now, SILENCE));
        silent.for_each(|watch| watch.finish(SILENT));
    }

    /// Ends those who may not read any more.
    async fn check(&self, concerns: impl Fn(&Watch) -> bool) {
        let watches: Vec<_> = {
            let watches = self.watches.borrow();
            watches
                .iter()
                .filter(|watch| concerns(watch))
                .cloned()
                .collect()
        };
        for watch in watches {
            for reader in watch.all() {
                if !may_read(self.core, &watch, &reader).await {
                    reader.end();
                }
            }
        }
    }
}

/// The message as it is saved, and what is kept of its events beside that. Whether it is done.
fn tell_all(core: &Core, watch: &Watch, reader: &Reader) -> Result<bool, StoreError> {
    let (chat_id, message_id) = watch.message();
    let saved = match core.directory.local().filter(|_| is_saved_chat(chat_id)) {
        Some(local) => local.message_record(chat_id, message_id)?,
        None => None,
    };
    let (events, done) = watch.kept(&core.hub, saved.is_some());
    let said_done = saved.as_ref().and_then(|saved| saved.get("done")) == Some(&true.into());
    let message = json!(saved);
    let all = format!(r#"{{"resumed":false,"message":{message},"events":[{events}]}}"#);
    reader.add(core.hub.number_of_last(), "start", &all);
    Ok(done || said_done || watch.is_done())
}

async fn may_read(core: &Core, watch: &Watch, reader: &Reader) -> bool {
    let Some(who) = &reader.who else { return true };
    let revoked = core.peers.is_revoked(who).await;
    let valid = identity::still_valid(core, who, revoked).await;
    if reader.is_expired() || matches!(valid, Err(Refusal::Denied(_))) {
        return false;
    }
    let (chat_id, _) = watch.message();
    !is_saved_chat(chat_id) || core.directory.chat_access(who, chat_id).await != Ok(Access::None)
}

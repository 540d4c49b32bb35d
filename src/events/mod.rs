//! What a client event says, one file a family: its payload is read, the application is called, the client is answered.
//!
//! - [`session`] for CONNECT, `user-join`, `join-channels`, `heartbeat`
//! - [`usage`] for `usage`
//! - [`channel`] for `events:channel`
//! - [`chat`] for `events:chat`
//! - [`note`] for `join-note`
//! - [`document`] for `ydoc:*`
//! - [`stream`] for `{user}:{session}:{request}`
//! - [`unknown`] for all others
//! - [`payload`] for what the fields of payloads may be
//! - [`things`] for what an event waits for, and which others wait with it
//! - [`late`] for what becomes of an event for a slow client

mod channel;
mod chat;
mod document;
mod late;
mod note;
mod payload;
mod session;
mod stream;
mod things;
mod unknown;
mod usage;

use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::joins::Trial;
use crate::app::{recovery, streams};
use crate::engine::{Allowance, try_step};
use crate::ground::clock::now;
use crate::ground::net::Reactor;
use crate::ground::rooms;
use crate::ground::tasks::{LARGE, aside, within};
use crate::metrics;
use crate::socket::{
    Args, Comes, Event, Find, Handler, Lateness, MAX_DEPTH, Memo, Reason, Sid, Step, Target,
};
use log::Level;
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use things::{Thing, Things};

/// Bytes of one value that an event may have a use for, but for those with a way of their own.
const MOST: usize = 64 << 10;

/// How long an event holds up all that its client sends after it: answers that come at once stay in order.
const SOON: Duration = Duration::from_millis(100);

/// The ack's arguments, sent if the client asked for an ack.
pub type EventResult = Result<Args<'static>, Fault>;

/// Tries to join; told whether it is the first time.
pub type Attempt = dyn Fn(bool) -> Trial<Args<'static>>;

/// Bytes of what goes on with an event: for a few KiB the allocator asks the system, each time.
const LARGEST: usize = 2 << 10;

/// What a handler returns.
pub enum Work {
    /// It is done.
    Now(EventResult),
    /// It has to wait for something; the client's next event waits for it.
    Later(Pin<Box<dyn Future<Output = EventResult>>>),
    /// Something is joined, which has a name: tried again while the directory can't tell, and the client's next event waits
    /// for the first attempt.
    Join(Cow<'static, str>, Box<Attempt>),
    /// Somebody else answers; the client's next event waits for this, if for anything.
    Handed(Step),
}

impl Work {
    pub fn later<F: Future<Output = EventResult> + 'static>(future: F) -> Self {
        const { assert!(size_of::<F>() <= LARGEST, "box what is rarely needed") }
        Self::Later(Box::pin(future))
    }

    pub fn join<F: Future<Output = EventResult> + 'static>(
        what: impl Into<Cow<'static, str>>,
        attempt: impl Fn(bool) -> F + 'static,
    ) -> Self {
        Self::Join(what.into(), Box::new(move |first| Box::pin(attempt(first))))
    }

    /// Nothing happens, for this reason.
    pub fn refuse(fault: Fault) -> Self {
        Self::Now(Err(fault))
    }

    /// Done, with nothing to say.
    pub fn done() -> Self {
        Self::Now(Ok(Args::none()))
    }
}

/// The application above the hub.
#[derive(Clone)]
pub struct Dispatch {
    house: &'static House,
    things: Rc<Things>,
}

impl Dispatch {
    pub fn new(house: &'static House) -> Rc<Self> {
        let things = Rc::default();
        Rc::new(Self { house, things })
    }

    /// What each event name means. The static name is the one for log lines.
    fn handle(&self, event: &Event<'_>) -> (&'static str, Work) {
        type Handle = fn(&'static House, Sender, &Args<'_>) -> Work;
        let (house, sid, args) = (self.house, event.sid, &event.args);
        let (label, handle): (&'static str, Handle) = match &*event.name {
            "user-join" => return ("user-join", session::user_join(house, sid, args)),
            "join-channels" => ("join-channels", session::join_channels),
            "heartbeat" => ("heartbeat", session::heartbeat),
            "usage" => ("usage", usage::usage),
            "events:channel" => ("events:channel", channel::event),
            "events:chat" => ("events:chat", chat::event),
            "join-note" => ("join-note", note::join),
            "ydoc:document:join" => ("ydoc:document:join", document::join),
            "ydoc:document:state" => ("ydoc:document:state", document::state),
            "ydoc:document:update" => ("ydoc:document:update", document::update),
            "ydoc:document:leave" => ("ydoc:document:leave", document::leave),
            "ydoc:awareness:update" => ("ydoc:awareness:update", document::awareness),
            name if self.is_stream(sid, name) => return ("stream", stream::event(house, event)),
            _ => return ("other", unknown::event(house, event)),
        };
        let from = house.sessions.sender(sid);
        let work = from.map(|from| handle(house, from, args));
        (label, work.unwrap_or_else(Work::refuse))
    }

    fn is_stream(&self, sid: Sid, name: &str) -> bool {
        // Mostly the name tells.
        streams::is_name(name)
            && self
                .house
                .sessions
                .sender(sid)
                .is_ok_and(|from| streams::is_own(&from, name))
    }

    /// The same for arguments that take longer to look at than a turn may. Two events have a use for so many, and those that
    /// are handed over as they are; for the others large values are left out, each of which is more than a value of
    /// theirs may be.
    fn handle_large(&self, event: Event<'_>) -> (&'static str, Work) {
        let (house, sid) = (self.house, event.sid);
        let label = metrics::event_name(&event.name);
        let from = || house.sessions.sender(sid);
        // A name that means something here is no stream's, however many parts it has.
        if matches!(label, "other" | "stream") {
            if !self.is_stream(sid, &event.name) {
                return ("other", unknown::event(house, &event));
            }
            return ("stream", stream::large(house, event));
        }
        let event = owned(event);
        if label == "ydoc:document:update" {
            let work = from().map(|from| document::large_update(house, from, event.args));
            return (label, work.unwrap_or_else(Work::refuse));
        }
        let this = self.clone();
        let work = Work::later(async move {
            let args = event.args;
            let args = aside(move || args.without_large(MOST)).await;
            let event = Event { args, ..event };
            match this.handle(&event).1 {
                Work::Now(answer) => answer,
                Work::Later(answer) => answer.await,
                Work::Join(_, attempt) => attempt(true).await,
                // None of those that are known is.
                Work::Handed(_) => Err(Fault::Payload),
            }
        });
        (label, work)
    }
}

/// An event that may be waited with. Its namespace is the application's one.
fn owned(event: Event<'_>) -> Event<'static> {
    Event {
        sid: event.sid,
        nsp: "/",
        name: event.name.into_owned().into(),
        args: event.args.into_owned(),
        ack: event.ack,
    }
}

/// Handling, and waiting.
impl Dispatch {
    fn begin(&self, event: Event<'_>) -> Step {
        let (house, sid, ack) = (self.house, event.sid, event.ack);
        let (label, work, thing) = if event.args.json().len() > LARGE {
            let (label, work) = self.handle_large(event);
            (label, work, things::of_large(label))
        } else {
            let (label, work) = self.handle(&event);
            let thing = things::may_wait(label).then(|| things::of(label, &event.args));
            (label, work, thing.flatten())
        };
        let step = try_step(self.go_on(work, sid, label, ack)?)?;
        // It waits for its thing, and soon holds up nothing else.
        let busy = thing.and_then(|thing| self.things.begin(sid, thing));
        let Some(busy) = busy else { return Some(step) };
        Some(Box::pin(async move {
            let mut step = step;
            if within(SOON, &mut step).await.is_none() {
                house.events.spawn("an event", async move {
                    step.await;
                    drop(busy);
                });
            }
        }))
    }

    fn go_on(&self, work: Work, sid: Sid, label: &'static str, ack: Option<u64>) -> Step {
        is_about(label, sid);
        metrics::event(label);
        let house = self.house;
        match work {
            Work::Now(answer) => {
                finish(house, sid, label, ack, answer);
                None
            }
            Work::Handed(step) => step,
            Work::Join(what, attempt) => {
                let done = move |answer| finish(house, sid, label, ack, answer);
                match house.joins.start(sid, what, attempt, done) {
                    Ok(wait) => wait,
                    Err(fault) => {
                        finish(house, sid, label, ack, Err(fault));
                        None
                    }
                }
            }
            Work::Later(mut future) => {
                let mut cx = Context::from_waker(Waker::noop());
                // Most need not wait.
                if let Poll::Ready(answer) = future.as_mut().poll(&mut cx) {
                    finish(house, sid, label, ack, answer);
                    return None;
                }
                Some(Box::pin(async move {
                    let answer = poll_fn(|cx| {
                        is_about(label, sid);
                        future.as_mut().poll(cx)
                    });
                    finish(house, sid, label, ack, answer.await);
                }))
            }
        }
    }

    /// Handles an event once its socket's events before it that are about the same thing are done.
    fn wait_for(&self, thing: Thing, event: Event<'_>) -> Pin<Box<dyn Future<Output = ()>>> {
        let (this, event) = (self.clone(), owned(event));
        Box::pin(async move {
            this.things.free(event.sid, &thing).await;
            if !this.house.core.hub.is_connected(event.sid) {
                return;
            }
            if let Some(step) = this.begin(event) {
                step.await;
            }
        })
    }
}

impl Handler for Dispatch {
    fn connect(&self, _sid: Sid, nsp: &str, _auth: &Args<'_>) -> Result<(), Cow<'static, str>> {
        match nsp {
            "/" => Ok(()),
            _ => Err("Invalid namespace".into()),
        }
    }

    fn connected(&self, sid: Sid, nsp: &str, auth: Args<'_>) -> Step {
        self.house.core.peers.socket_changed(nsp, sid, true);
        session::connected(self.house, sid, &auth)
    }

    fn event(&self, event: Event<'_>) -> Step {
        match self.things.waits_for(event.sid, &event.name, &event.args) {
            Some(thing) => {
                if things::leaves(&event.name, &event.args) {
                    // What it ends needs no answer of the directory any more.
                    self.house.joins.end(event.sid, &thing);
                }
                Some(self.wait_for(thing, event))
            }
            None => self.begin(event),
        }
    }

    fn pay(&self, sid: Sid, bytes: usize) -> Option<Duration> {
        self.house.core.pay(sid, Allowance::cost(bytes))
    }

    fn lateness(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> Lateness {
        late::lateness(target, event, args)
    }

    fn slowed(&self, sid: Sid) {
        log::warn!("{sid} sends too many events and is read more slowly");
        let message = "Too many events, they are handled more slowly";
        self.house.core.send_error(sid, message);
    }

    fn too_deep(&self, sid: Sid) {
        let core = self.house.core;
        let level = core.limit_reached(sid, "JSON depth", Level::Info);
        log::log!(
            level,
            "a packet of {sid} is refused: its JSON nests deeper than {MAX_DEPTH}"
        );
        let why = format!("Not taken: it nests deeper than {MAX_DEPTH}");
        core.send_error(sid, &why);
    }

    fn disconnected(&self, sid: Sid, nsp: &str, reason: Reason) {
        let (core, why) = (self.house.core, reason.sentence());
        log::debug!("{sid} has gone: {why}");
        self.house.gone.note(core, sid, why);
        if !core.hub.is_awaited(sid.as_str()) {
            core.peers.socket_changed(nsp, sid, false);
        }
        if let Reason::ServerDisconnect(_) = reason {
            self.house.sessions.rights_changed(sid);
        }
        let lost = !matches!(
            reason,
            Reason::ClientDisconnect | Reason::ServerDisconnect(_)
        );
        self.house.forget(sid, lost);
    }

    fn entering(&self, sid: Sid, room: &str) {
        self.house.channels.entering(sid, room);
    }

    fn left(&self, sid: Sid, room: &str) {
        self.house.chats.left(sid, room);
        self.house.sessions.left(sid, room);
    }

    fn emitted(&self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        self.house.readers.emitted(target, event, args);
        self.house.channels.emitted(target, event, args);
        self.house.notes.emitted(target, event, args);
        self.house.documents.emitted(target, event, args);
    }

    fn is_replayed(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> bool {
        late::is_replayed(target, event, args)
    }

    fn remember(&self, sid: Sid) -> Option<Memo> {
        recovery::remember(self.house.core, sid)
    }

    fn write_memo(&self, memo: &Memo) -> Vec<u8> {
        recovery::write(memo)
    }

    fn read_memo(&self, bytes: &[u8]) -> Option<Memo> {
        recovery::read(bytes)
    }

    fn returns_to(&self, room: &str) -> bool {
        rooms::document(room).is_none()
    }

    fn comes_back(&self, memo: Memo, auth: &Args<'_>) -> Option<Comes> {
        let payload::Auth { token } = auth.object()?;
        let core = self.house.core;
        Some(Box::pin(async move {
            recovery::comes_back(core, memo, &token).await
        }))
    }

    fn find(&self, pid: &str, offset: Option<&str>, auth: &Args<'_>) -> Option<Find> {
        let payload::Auth { token } = auth.object()?;
        let core = self.house.core;
        // A stranger asks nobody.
        core.key.verify(&token, now()).ok()?;
        core.peers.find(pid, offset)
    }

    fn came_back(&self, sid: Sid, who: Memo) -> Step {
        if let Some(returned) = who.downcast_ref::<recovery::Returned>() {
            self.house.sessions.admit_again(sid, returned);
            self.house.chats.open_again(sid);
        }
        self.house.gone.forget(sid);
        None
    }

    fn given_up(&self, sid: Sid) {
        self.house.core.peers.socket_changed("/", sid, false);
        self.house.chats.given_up();
    }

    fn room_changed(&self, nsp: &str, room: &Rc<str>, occupied: bool) {
        self.house.core.peers.room_changed(nsp, room, occupied);
    }
}

/// For the log, should it take long.
fn is_about(label: &'static str, sid: Sid) {
    Reactor::with(|reactor| reactor.turns().is_about(label, sid.as_bytes()));
}

/// Answers an event, or logs why there is no answer.
fn finish(house: &House, sid: Sid, event: &str, ack: Option<u64>, answer: EventResult) {
    match answer {
        Ok(args) => {
            if let Some(ack) = ack {
                house.core.hub.ack(sid, ack, &args);
            }
        }
        Err(Fault::Unavailable(why)) => {
            // The directory has said in the log what is wrong: one line for the outage, not one an event.
            metrics::refused("directory unavailable");
            log::debug!("{event} of {sid} failed: {why}");
        }
        Err(Fault::Full(limit)) => {
            let level = house.core.limit_reached(sid, limit, Level::Info);
            log::log!(level, "{event} of {sid} is refused: {limit}");
        }
        Err(fault) => {
            // An editor would wait for what does not come.
            if fault == Fault::Payload && event.starts_with("ydoc:") {
                let why = "An event of a document is not understood";
                house.core.send_error(sid, why);
            }
            log::debug!("{event} of {sid} is ignored: {fault:?}");
        }
    }
}

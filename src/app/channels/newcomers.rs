//! Who was told of a new channel (`events:channel` of type `channel:created` to `user:{id}`, which does not say which) enters
//! it, as soon as the directory agrees.
//!
//! Open WebUI tells before it has done all of it, so it is asked again for a while. Who has hidden the channel is in no list
//! until somebody writes there: then a message of a channel that the newcomer is not in is the reason to ask for that
//! one, and the newcomer gets what was said since.

use crate::app::core::{Core, Sender};
use crate::app::sessions::Sessions;
use crate::directory::type_of;
use crate::ground::rooms;
use crate::ground::tasks::{Bell, Tasks, within};
use crate::socket::{Args, Sid, Target};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

/// Between the requests for all channels of a newcomer.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// How long a message may be a newcomer's first one.
const LASTS: Duration = Duration::from_secs(600);
/// Newcomers at a time, channels that are asked for in one's name, messages that wait for the answer.
const MOST: usize = 1024;
const MOST_CHANNELS: usize = 64;
const MOST_MESSAGES: usize = 64;

/// Sockets that were told of a channel and are not in it yet.
pub struct Newcomers {
    core: &'static Core,
    sessions: &'static Sessions,
    tasks: Tasks,
    all: RefCell<HashMap<Sid, Newcomer>>,
    /// Rung when some are told.
    rung: Bell,
}

/// What one has heard of channels that it is not in: messages while it is asked for, nothing once it is none of its own.
#[derive(Default)]
struct Newcomer {
    /// It was told of another.
    again: bool,
    channels: HashMap<Box<str>, Option<Vec<Args<'static>>>>,
}

impl Newcomers {
    pub fn new(core: &'static Core, sessions: &'static Sessions) -> &'static Self {
        Box::leak(Box::new(Self {
            core,
            sessions,
            tasks: Tasks::new(core.executor),
            all: RefCell::default(),
            rung: Bell::default(),
        }))
    }

    /// These were told of a channel.
    pub fn told(&'static self, sids: Vec<Sid>) {
        for sid in sids {
            let mut all = self.all.borrow_mut();
            if let Some(newcomer) = all.get_mut(&sid) {
                newcomer.again = true;
            } else if all.len() < MOST {
                all.insert(sid, Newcomer::default());
                self.tasks.spawn("enters a new channel", async move {
                    self.enter(sid).await;
                    self.rung.until(|| self.is_settled(sid).then_some(())).await;
                    self.all.borrow_mut().remove(&sid);
                });
            }
        }
        self.rung.ring();
    }

    /// Asks until there is a new channel, then waits for a message of one that is not listed; again when it is told of
    /// another.
    async fn enter(&self, sid: Sid) {
        let again = || {
            let mut all = self.all.borrow_mut();
            let newcomer = all.get_mut(&sid)?;
            std::mem::take(&mut newcomer.again).then_some(())
        };
        loop {
            let entered = self.try_to_enter(sid).await;
            let wait = if entered { Duration::ZERO } else { LASTS };
            if within(wait, self.rung.until(again)).await.is_none() {
                return;
            }
        }
    }

    /// Whether there is nothing to wait for: the socket is in a new channel, or gone.
    async fn try_to_enter(&self, sid: Sid) -> bool {
        for pause in PAUSES {
            smol::Timer::after(pause).await;
            let Some(from) = self.sender(sid) else {
                return true;
            };
            match self.sessions.enter_channels(&from).await {
                Ok(0) => {}
                Ok(_) => return true,
                Err(fault) => log::debug!("{sid} does not enter a new channel: {fault:?}"),
            }
        }
        false
    }

    /// Whether no message waits for an answer any more.
    fn is_settled(&self, sid: Sid) -> bool {
        let all = self.all.borrow();
        let newcomer = all.get(&sid);
        newcomer.is_none_or(|newcomer| newcomer.channels.values().all(Option::is_none))
    }

    /// A socket is about to enter a channel, whoever says so: what was said there before comes first.
    pub fn entering(&self, sid: Sid, channel_id: &str) {
        let mut all = self.all.borrow_mut();
        let newcomer = all.get_mut(&sid);
        let waiting = newcomer.and_then(|newcomer| newcomer.channels.get_mut(channel_id)?.take());
        drop(all);
        if let Some(said) = waiting {
            self.send(sid, said);
            self.rung.ring();
        }
    }

    fn send(&self, sid: Sid, said: Vec<Args<'static>>) {
        for args in said {
            self.core
                .hub
                .emit(&Target::sid(sid), "events:channel", &args);
        }
    }

    fn sender(&self, sid: Sid) -> Option<Sender> {
        let who = self.core.pools.sessions.who(sid)?;
        Some(Sender { sid, who })
    }

    /// Something was said in a channel.
    pub fn heard(&'static self, channel_id: &str, args: &Args<'_>) {
        let mut all = self.all.borrow_mut();
        if all.is_empty() || type_of(args).as_deref() != Some("message") {
            return;
        }
        let room = rooms::of_channel(channel_id);
        for (sid, newcomer) in &mut *all {
            if self.core.hub.is_in(*sid, &room) || newcomer.channels.len() >= MOST_CHANNELS {
                continue;
            }
            let said = args.clone().into_owned();
            match newcomer.channels.entry(channel_id.into()) {
                Entry::Occupied(mut known) => {
                    if let Some(waiting) = known.get_mut()
                        && waiting.len() < MOST_MESSAGES
                    {
                        waiting.push(said);
                    }
                }
                Entry::Vacant(unknown) => {
                    unknown.insert(Some(vec![said]));
                    let (sid, channel_id) = (*sid, channel_id.to_owned());
                    self.tasks.spawn("enters a new channel", async move {
                        self.enter_one(sid, &channel_id).await;
                    });
                }
            }
        }
    }

    async fn enter_one(&self, sid: Sid, channel_id: &str) {
        let Some(Sender { who, .. }) = self.sender(sid) else {
            self.forget(sid, channel_id, true);
            return;
        };
        let is_in = self.core.directory.is_in_channel(&who, channel_id).await;
        if is_in == Ok(true) {
            self.entering(sid, channel_id);
            // The room is entered before anything else is said there.
            let room = rooms::of_channel(channel_id);
            if let Err(fault) = self.core.enter(sid, &room).await {
                log::debug!("{sid} does not enter a new channel: {fault:?}");
            }
        }
        self.forget(sid, channel_id, is_in.is_err());
    }

    /// Nothing waits for an answer about the channel; `ask_again`: the next message is another reason to ask.
    fn forget(&self, sid: Sid, channel_id: &str, ask_again: bool) {
        if let Some(newcomer) = self.all.borrow_mut().get_mut(&sid) {
            match ask_again {
                true => drop(newcomer.channels.remove(channel_id)),
                false => drop(newcomer.channels.insert(channel_id.into(), None)),
            }
        }
        self.rung.ring();
    }
}

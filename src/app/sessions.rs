//! A session from CONNECT to its end: signing in, its rooms, the check every 30 s, being forgotten.
//!
//! Whoever shows no valid token stays connected and anonymous: in no pool, in no room, every event ignored.

use super::chats::Chats;
use super::core::{Core, Fault, Sender};
use super::identity;
use super::joins::{Joins, Trial};
use super::readers::Readers;
use super::recovery::{self, Returned};
use crate::directory::{ChannelIds, Identity, Refusal};
use crate::ground::clock::Moment;
use crate::ground::rooms;
use crate::ground::tasks::{Single, Tasks};
use crate::metrics;
use crate::peers::pools::sessions::Reaped;
use crate::socket::{Args, BySid, Sid, Target};
use crate::token::MAX_TOKEN_BYTES;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What all channels of a user are called as something to join, for whoever asked for it and for who did not.
pub const CHANNELS: &str = "channels";
const ALL_CHANNELS: &str = "all channels";

/// Why a session ends whose token has had its time.
const EXPIRED: &str = "the token has expired";
/// Between two checks of every session (contract, Identity).
const RECHECK: Duration = Duration::from_secs(30);
/// Between two attempts to sign in those who came while the directory could not tell.
const RETRY: Duration = Duration::from_secs(5);
/// Identities that are checked at the same time.
const CHECKS_AT_ONCE: usize = 16;
/// Identities whose revocation is looked up in one pipeline.
const LOOKUPS_AT_ONCE: usize = 200;
/// Sockets that may wait for the directory.
const MOST_WAITING: usize = 10_000;

/// Over how long, and in how many steps, all sockets connect anew.
const SPREAD: Duration = Duration::from_secs(4);
const RENEWALS: usize = 40;

/// The sessions of this instance, and what is asked about those of all.
pub struct Sessions {
    core: &'static Core,
    chats: &'static Chats,
    joins: &'static Joins,
    readers: &'static Readers,
    tasks: Tasks,
    /// Sockets whose token the directory could not judge yet.
    waiting: RefCell<BySid<Rc<str>>>,
    retrying: Single,
    checking: Single,
}

/// Signing in.
impl Sessions {
    pub fn new(
        core: &'static Core,
        chats: &'static Chats,
        joins: &'static Joins,
        readers: &'static Readers,
    ) -> Self {
        Self {
            core,
            chats,
            joins,
            readers,
            tasks: Tasks::new(core.executor),
            waiting: RefCell::default(),
            retrying: Single::default(),
            checking: Single::default(),
        }
    }

    /// The socket's user, if it has signed in. One whose token has expired is disconnected.
    ///
    /// # Errors
    /// It is anonymous, or was just disconnected.
    pub fn sender(&self, sid: Sid) -> Result<Sender, Fault> {
        let current = self.core.pools.sessions.current(sid);
        let (who, is_expired) = current.ok_or(Fault::Anonymous)?;
        if is_expired {
            self.core.hub.disconnect(sid, EXPIRED);
            return Err(Fault::Denied(EXPIRED));
        }
        Ok(Sender { sid, who })
    }

    /// From a token to a session: verified, known, not revoked. A socket never changes its user. While the directory can't
    /// tell, it is tried again until the socket leaves.
    ///
    /// # Errors
    /// Why the socket stays what it was.
    pub async fn sign_in(&'static self, sid: Sid, token: &str) -> Result<Rc<Identity>, Fault> {
        let core = self.core;
        let who = match self.identify(sid, token).await {
            Err(Fault::Unavailable(why)) => {
                self.retry_later(sid, token);
                return Err(Fault::Unavailable(why));
            }
            Err(Fault::Full(limit)) => {
                metrics::refused(limit);
                core.send_error(
                    sid,
                    &format!("The token is longer than {MAX_TOKEN_BYTES} bytes"),
                );
                return Err(Fault::Full(limit));
            }
            answer => answer?,
        };
        if !core.hub.is_connected(sid) {
            return Err(Fault::Gone);
        }
        if let Some(known) = core.pools.sessions.who(sid)
            && known.user.id != who.user.id
        {
            return Err(Fault::Denied("another user's token"));
        }
        let room = rooms::of_user(&who.user.id);
        let who = self.admit(sid, who);
        match core.peers.enter(sid, &room).await {
            true => Ok(who),
            false => Err(Fault::Gone),
        }
    }

    /// A socket that was gone is in the pool again.
    pub fn admit_again(&'static self, sid: Sid, returned: &Returned) {
        self.admit(sid, returned.who.clone());
        let sessions = &self.core.pools.sessions;
        sessions.set_expiry(sid, returned.expires);
    }

    /// The socket is in the pool from now on.
    pub fn admit(&'static self, sid: Sid, who: Rc<Identity>) -> Rc<Identity> {
        let core = self.core;
        let who = core.pools.sessions.sign_in(sid, who, Moment::now());
        core.hub.signed_in(sid);
        self.keep_checking();
        // CONNECT could not be charged before it was known whose it is.
        core.pay(sid, 1.0);
        who
    }

    /// Whom the token is of. While another process is asked, the socket is in the pool by the user's id alone: whoever
    /// changes the user's rights meanwhile finds it there, and disconnects it.
    async fn identify(&self, sid: Sid, token: &str) -> Result<Rc<Identity>, Fault> {
        let core = self.core;
        let sessions = &core.pools.sessions;
        let shown = identity::verify(core, token, sid);
        let shown = shown.map_err(|error| identity::refused(core, sid, error))?;
        let arrives = core.directory.emits_itself() && sessions.arrive(sid, shown.user_id());
        let who = identity::identify(core, token, &shown).await;
        if arrives && who.is_err() {
            core.pools.sessions.turn_away(sid);
        }
        who
    }

    fn retry_later(&'static self, sid: Sid, token: &str) {
        if !self.core.hub.is_connected(sid) || self.waiting.borrow().len() >= MOST_WAITING {
            return;
        }
        let first = self.waiting.borrow_mut().insert(sid, token.into());
        if first.is_none() {
            let why = "Signing in is not possible at the moment; it is tried again";
            self.core.send_error(sid, why);
        }
        let retry = || async move {
            while !self.waiting.borrow().is_empty() {
                smol::Timer::after(RETRY).await;
                self.retry_all().await;
            }
        };
        self.retrying
            .start(&self.tasks, "retries to sign in", retry);
    }

    /// Tries those who wait, until one shows that the directory still can't tell.
    async fn retry_all(&'static self) {
        let waiting: Vec<_> = self.waiting.borrow().clone().into_iter().collect();
        for (sid, token) in waiting {
            if !self.waiting.borrow().contains_key(&sid) {
                continue;
            }
            match self.sign_in(sid, &token).await {
                Err(Fault::Unavailable(_)) => return,
                Err(fault) => log::debug!("{sid} stays anonymous: {fault:?}"),
                Ok(who) => self.enter_channels_soon(Sender { sid, who }),
            }
            self.waiting.borrow_mut().remove(&sid);
        }
    }

    /// Enters the rooms of all channels of the session's user. While the directory can't tell, of those that it told a while
    /// ago; then of the others when it can. How many of them are new.
    ///
    /// # Errors
    /// Nothing is known, or the session has left.
    pub async fn enter_channels(&'static self, from: &Sender) -> Result<usize, Fault> {
        match self.core.directory.channels(&from.who).await? {
            ChannelIds::Now(ids) => self.enter_all(from, ids).await,
            ChannelIds::Before(ids) => {
                let new = self.enter_all(from, ids).await?;
                if !self.joins.waits(from.sid, ALL_CHANNELS) {
                    self.enter_channels_soon(from.clone());
                }
                Ok(new)
            }
        }
    }

    /// The same, however long it takes until the directory can tell.
    pub fn enter_channels_soon(&'static self, from: Sender) {
        let sid = from.sid;
        let enter = move |_| -> Trial<usize> {
            let from = from.clone();
            Box::pin(async move {
                match self.core.directory.channels(&from.who).await? {
                    ChannelIds::Now(ids) => self.enter_all(&from, ids).await,
                    ChannelIds::Before(_) => Err(Fault::Unavailable("channels are not told now")),
                }
            })
        };
        let entered = move |entered: Result<usize, Fault>| {
            if let Err(fault) = entered {
                log::debug!("{sid} enters no channels: {fault:?}");
            }
        };
        let begun = self.joins.start(sid, ALL_CHANNELS.into(), enter, entered);
        drop(begun);
    }

    async fn enter_all(&self, from: &Sender, ids: Vec<String>) -> Result<usize, Fault> {
        let Sender { sid, who } = from;
        let core = self.core;
        let mut new = 0;
        for id in ids {
            if core.pools.sessions.who(*sid).is_none() {
                return Err(Fault::Gone);
            }
            let room = rooms::of_channel(&id);
            new += usize::from(!core.hub.is_in(*sid, &room));
            match core.enter(*sid, &room).await {
                // The session itself is fine: it hears of as many channels as it may.
                Err(Fault::Full(limit)) => {
                    metrics::refused(limit);
                    log::warn!("{sid} can't enter all channels of {}: {limit}", who.user.id);
                    break;
                }
                entered => entered?,
            }
        }
        Ok(new)
    }

    /// The session and its user are alive.
    pub fn seen(&self, from: &Sender) {
        let now = Moment::now();
        self.core.pools.sessions.seen(from.sid, now);
        self.core.directory.seen(&from.who, now.told);
    }

    /// What these users may do has changed: who is away does not come back, who reads is judged anew.
    fn give_up(&self, user_ids: &[&str]) {
        recovery::give_up(self.core, user_ids);
        self.readers.end_users(user_ids);
    }

    /// Somebody disconnected the socket: its user's rights may have changed, and nothing that is known of them holds.
    pub fn rights_changed(&self, sid: Sid) {
        if let Some(user_id) = self.core.pools.sessions.user_id(sid) {
            self.core.directory.forget_user(&user_id);
            self.give_up(&[&user_id]);
            self.core.peers.user_changed(&user_id);
        }
    }

    /// Runs as long as the server does: other instances say whose rights have changed.
    pub async fn follow_changes(&self) {
        loop {
            for user_id in self.core.peers.changed_users().await {
                self.core.directory.forget_user(&user_id);
                self.give_up(&[&user_id]);
            }
        }
    }

    /// Runs as long as the server does: when the directory's process was restarted or became another, all sockets are told to
    /// connect anew, in a random order over a few seconds, and never while it is away. That is when their pages look for what
    /// they missed.
    pub async fn follow_restarts(&self) {
        let mut restarts = 0;
        loop {
            restarts = self.core.directory.restarted(restarts).await;
            // Random as they are, so is their order.
            let mut sids = self.core.hub.sids();
            sids.sort_unstable();
            log::info!("{} sockets connect anew", sids.len());
            for some in sids.chunks(sids.len().div_ceil(RENEWALS).max(1)) {
                self.core.directory.here().await;
                some.iter().for_each(|sid| self.core.hub.renew(*sid));
                smol::Timer::after(SPREAD / RENEWALS as u32).await;
            }
        }
    }

    /// A socket has left a room, or is not to enter it, perhaps since its user may not be there any more: what is known of that
    /// does not hold.
    pub fn left(&self, sid: Sid, room: &str) {
        let Some(who) = self.core.pools.sessions.who(sid) else {
            return;
        };
        let (directory, user_id) = (&self.core.directory, &who.user.id);
        if let Some(id) = rooms::note(room) {
            directory.forget_access(user_id, "note", id);
        } else if let Some(id) = rooms::chat(room) {
            directory.forget_access(user_id, "chat", id);
        } else if rooms::channel(room).is_some() {
            directory.forget_channels(user_id);
        }
    }

    /// The socket is gone: it leaves the pools, and those who had a chat open with it see that.
    pub fn forget(&self, sid: Sid) {
        self.waiting.borrow_mut().remove(&sid);
        self.core.limits.forget(sid);
        self.core.pools.usage.forget(sid);
        self.core.pools.sessions.turn_away(sid);
        for chat_id in self.core.pools.sessions.remove(sid).into_iter().flatten() {
            self.chats.publish_presence(&chat_id);
        }
    }
}

/// Sessions of users, on any instance.
impl Sessions {
    /// The user behind a sid of any instance; `None` when it is not signed in anywhere.
    pub async fn owner(&self, sid: &str) -> Option<String> {
        let here = Sid::parse(sid).and_then(|sid| self.core.pools.sessions.who(sid));
        match here {
            Some(who) => Some(who.user.id.clone()),
            None => self.core.peers.owner(sid).await,
        }
    }

    /// Every session of these users.
    pub async fn of_users(&self, user_ids: &[&str]) -> Vec<String> {
        let rooms = user_ids.iter().map(|id| rooms::of_user(id));
        let here = rooms.flat_map(|room| self.core.hub.members(&room));
        let here = here.map(|sid| sid.as_str().to_owned());
        let mut sids: BTreeSet<String> = here.collect();
        sids.extend(self.core.peers.sessions_of(user_ids).await);
        sids.into_iter().collect()
    }

    /// All sessions of these users enter a room.
    pub async fn enter_for_users(&self, room: &str, user_ids: &[String]) {
        let user_ids: Vec<&str> = user_ids.iter().map(String::as_str).collect();
        self.give_up(&user_ids);
        for sid in self.of_users(&user_ids).await {
            self.core.peers.enter_anywhere(&sid, room).await;
        }
    }

    /// All sessions of these users leave a room.
    pub async fn leave_for_users(&self, room: &str, user_ids: &[String]) {
        let user_ids: Vec<&str> = user_ids.iter().map(String::as_str).collect();
        self.give_up(&user_ids);
        for sid in self.of_users(&user_ids).await {
            self.core.peers.leave_anywhere(&sid, room);
        }
    }

    /// Tells every session of a user that their access changed, and disconnects it. Returns how many there were.
    pub async fn disconnect_user(&self, user_id: &str) -> usize {
        self.give_up(&[user_id]);
        let sids = self.of_users(&[user_id]).await;
        for sid in &sids {
            let args = Args::one(&json!({}));
            let target = Target::room(sid);
            self.core.peers.emit(&target, "access:updated", &args);
            self.core
                .peers
                .disconnect(sid, "the user's rights have changed");
        }
        sids.len()
    }
}

/// Checking.
impl Sessions {
    /// Checks every session each 30 s until there is none.
    fn keep_checking(&'static self) {
        let check = || async move {
            loop {
                smol::Timer::after(RECHECK).await;
                self.reap();
                self.end_expired();
                self.check_all().await;
                if self.core.pools.sessions.is_empty() {
                    return;
                }
            }
        };
        self.checking.start(&self.tasks, "checks sessions", check);
    }

    /// Sessions that were not heard of for four heartbeats leave the pool.
    fn reap(&self) {
        let timeout = self.core.config.session_timeout();
        let mut left = BTreeSet::new();
        for (sid, chats) in self.core.pools.sessions.reap(Instant::now(), timeout) {
            log::info!("{sid} sent no heartbeat and leaves the session pool");
            for chat_id in chats {
                self.core.peers.leave(sid, &rooms::of_chat(&chat_id));
                left.insert(chat_id);
            }
        }
        // Once a chat, however many leave it: a proxy that is cut off takes all of them.
        for chat_id in left {
            self.chats.publish_presence(&chat_id);
        }
    }

    /// Sessions whose token has expired are disconnected.
    fn end_expired(&self) {
        let pool = &self.core.pools.sessions;
        for sid in pool.sids() {
            if pool.is_expired(sid) {
                log::info!("{sid} is disconnected: {EXPIRED}");
                self.core.hub.disconnect(sid, EXPIRED);
            }
        }
    }

    /// Runs as long as the server does: sessions of other instances, which this one took out of the pool for all, leave what
    /// they had open.
    pub async fn follow_reaped(&self) {
        while let Some(Reaped { sessions }) = self.core.peers.reaped().await {
            for (sid, chats) in &sessions {
                for chat_id in chats {
                    let room = rooms::of_chat(chat_id);
                    self.core.peers.leave_anywhere(sid, &room);
                }
            }
            let chats: BTreeSet<&String> = sessions.iter().flat_map(|(_, chats)| chats).collect();
            for chat_id in chats {
                self.chats.publish_presence(chat_id);
            }
            for (sid, _) in &sessions {
                self.core.documents.evict(sid).await;
            }
        }
    }

    /// Checks each identity once, however many sessions carry it, a few at a time.
    async fn check_all(&'static self) {
        let all = self.core.pools.sessions.by_identity();
        for many in all.chunks(LOOKUPS_AT_ONCE) {
            let who: Vec<&Identity> = many.iter().map(|(who, _)| &**who).collect();
            let revoked = self.core.peers.revoked(&who).await;
            let many: Vec<_> = many.iter().zip(revoked).collect();
            for some in many.chunks(CHECKS_AT_ONCE) {
                let check = |((who, sids), revoked): &(&(Rc<Identity>, Vec<Sid>), bool)| {
                    let (who, sids, revoked) = (who.clone(), sids.clone(), *revoked);
                    let check = async move { self.check_one(&who, &sids, revoked).await };
                    self.tasks.run_to_end("checks an identity", check)
                };
                let checks: Vec<_> = some.iter().map(check).collect();
                for check in checks {
                    check.await;
                }
            }
        }
    }

    async fn check_one(&self, who: &Rc<Identity>, sids: &[Sid], revoked: bool) {
        let why = match identity::still_valid(self.core, who, revoked).await {
            Ok(()) => return,
            Err(Refusal::Unavailable(why)) => {
                log::debug!("{} keeps its sessions unchecked: {why}", who.user.id);
                return;
            }
            Err(Refusal::Denied(why)) => why,
        };
        for sid in sids {
            // It may have signed in with a fresh token meanwhile.
            let same = |now: Rc<Identity>| Rc::ptr_eq(&now, who);
            if self.core.pools.sessions.who(*sid).is_some_and(same) {
                log::info!("{sid} is disconnected: {why}");
                self.core.hub.disconnect(*sid, why);
            }
        }
    }
}

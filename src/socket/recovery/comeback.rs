//! Going away, and coming back.

use super::away::Away;
use super::kept::{Recovery, Settings, now};
use super::place::{Place, Why};
use crate::engine::{Closed, Session, Step};
use crate::ground::tasks::Executor;
use crate::metrics;
use crate::socket::hub::{Socket, State};
use crate::socket::{Args, Frame, Hub, Memo, Sid, encode, trace};
use serde::Deserialize;
use std::rc::Rc;
use std::time::Instant;

/// What a client asks of recovery in its CONNECT.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    pid: Option<String>,
    offset: Option<String>,
    recover: Option<bool>,
}

/// What is kept.
impl Hub {
    /// Sockets can come back from now on.
    pub fn recover(&self, executor: Executor, settings: Settings) {
        let _ = self.recovery.set(Recovery::new(executor, settings));
    }

    /// Whether the room of this name, or the socket of this sid, is one of somebody who may come back; or the room of who reads
    /// over HTTP.
    pub fn is_awaited(&self, room: &str) -> bool {
        let recovery = self.recovery.get();
        self.watched.borrow().members("/", room).is_some()
            || recovery.is_some_and(|recovery| recovery.away.borrow().is_in(room))
    }

    /// The rooms of those who may come back, their own among them.
    pub fn awaited(&self) -> Vec<Rc<str>> {
        let away = self.recovery.get().map(|recovery| recovery.away.borrow());
        away.map_or_else(Vec::new, |away| away.awaited())
    }

    /// Whether nobody is away.
    pub fn is_nobody_away(&self) -> bool {
        let recovery = self.recovery.get();
        recovery.is_none_or(|recovery| recovery.away.borrow().is_empty())
    }

    /// The number of the last event; any, where nobody asks.
    pub(in crate::socket) fn last_number(&self) -> u64 {
        self.recovery.get().map_or(0, Recovery::last)
    }

    /// Gives up who is away for too long, or is one too many, and lets old events go. Whether something is left.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let Some(recovery) = self.recovery.get() else {
            return false;
        };
        while let Some(sid) = recovery.oldest(now) {
            self.give_up(sid);
        }
        !recovery.trim(now)
    }

    /// The same from time to time, as long as something is kept.
    pub(in crate::socket) fn sweep_later(&self, recovery: &Recovery) {
        let (hub, pause) = (self.me(), recovery.pause());
        let sweep = move || async move {
            loop {
                smol::Timer::after(pause).await;
                match hub.upgrade() {
                    Some(hub) if hub.sweep(Instant::now()) => {}
                    _ => return,
                }
            }
        };
        let what = "forgets what is too old";
        recovery.sweeping.start(&recovery.tasks, what, sweep);
    }
}

/// Going.
impl Hub {
    /// Whether a session that ended so may come back: its connection was lost. What it said last, or what ended it by
    /// somebody's word, stands. (An Engine.IO close without a DISCONNECT before it is a client that gives up a connection.)
    pub(in crate::socket) fn was_lost(&self, why: Closed) -> bool {
        match why {
            Closed::ByClient(_) | Closed::Transport | Closed::PingTimeout => true,
            Closed::Overflow | Closed::Late | Closed::Crowded => true,
            Closed::ByServer(_) | Closed::Renewed | Closed::Protocol(_) => false,
            Closed::Shutdown => self.recovery.get().is_some_and(|kept| kept.goes_on.get()),
        }
    }

    /// What the application keeps of a socket that can come back.
    pub(super) fn memo(&self, sid: Sid) -> Option<Memo> {
        let state = self.state.borrow();
        state.socket(sid).filter(|socket| socket.place.is_some())?;
        drop(state);
        self.handler().remember(sid)
    }

    /// The same, if it was lost.
    pub(in crate::socket) fn memo_of_lost(&self, sid: Sid, lost: bool) -> Option<Memo> {
        lost.then(|| self.memo(sid)).flatten()
    }

    /// A socket that is gone may come back.
    pub(in crate::socket) fn keep_away(&self, socket: &mut Socket, memo: Memo) {
        let (Some(recovery), Some(mut place)) = (self.recovery.get(), socket.place.take()) else {
            return;
        };
        let last = recovery.last();
        let mut rooms = socket.rooms.clone();
        while let Some(at) = rooms
            .iter()
            .position(|room| !self.handler().returns_to(room))
        {
            place.leave(at, rooms.swap_remove(at), last);
        }
        let mut away = recovery.away.borrow_mut();
        away.add(Away {
            sid: socket.sid,
            place,
            rooms,
            last,
            memo,
            since: now(),
        });
        drop(away);
        self.sweep(now());
        self.sweep_later(recovery);
    }

    /// It does not come back any more.
    pub(super) fn give_up(&self, sid: Sid) {
        if let Some(recovery) = self.recovery.get() {
            let away = recovery.away.borrow_mut().take(sid);
            away.into_iter().for_each(|away| self.gave_up(&away));
        }
    }

    /// What was kept for it goes, too.
    pub(super) fn gave_up(&self, away: &Away) {
        for room in &away.rooms {
            let here = self.state.borrow().rooms.members("/", room).is_some();
            if !here && !self.is_awaited(room) {
                self.handler().room_changed("/", room, false);
            }
        }
        self.end_questions(away.sid);
        if !self.is_connected(away.sid) {
            self.handler().given_up(away.sid);
        }
    }

    /// Those who are away and whom this concerns do not come back.
    pub fn give_up_those(&self, concerns: impl Fn(&Memo) -> bool) {
        self.give_up_all(|away| concerns(&away.memo));
    }

    /// Nobody who was in a room comes back: whether they still may be in it would have to be asked.
    pub fn give_up_in(&self, room: &str) {
        if self.is_awaited(room) {
            self.give_up_all(|away| away.rooms.iter().any(|name| **name == *room));
        }
    }

    fn give_up_all(&self, concerns: impl Fn(&Away) -> bool) {
        let Some(recovery) = self.recovery.get() else {
            return;
        };
        let those = recovery.away.borrow().those(concerns);
        those.into_iter().for_each(|sid| self.give_up(sid));
    }
}

/// Coming.
impl Hub {
    /// A CONNECT to `/`, where it has to do with recovery: goes on when it is known who comes. Else its socket's place, if it
    /// can come back.
    pub(in crate::socket) fn comes(
        &self,
        session: &Rc<Session>,
        auth: &Args<'_>,
    ) -> Result<Step, Option<Box<Place>>> {
        let recovery = self.recovery.get().ok_or(None)?;
        let Asked {
            pid,
            offset,
            recover,
        } = auth.object().unwrap_or_default();
        let may = recover.unwrap_or(recovery.settings.browsers && session.peer.browser);
        let place = || may.then(|| Place::new(recovery.last(), now()));
        let Some(pid) = pid else {
            return Err(place());
        };
        let asked = Place::read(&pid).filter(|_| may);
        let known = asked.filter(|(sid, secret)| self.has_secret(*sid, *secret));
        let Some((sid, secret)) = known else {
            if asked.is_some()
                && let Some(find) = self.handler().find(&pid, offset.as_deref(), auth)
            {
                let auth = auth.clone().into_owned();
                return Ok(self.comes_from_elsewhere(session, auth, pid, find));
            }
            refused("unknown");
            return Err(place());
        };
        let memo = self.away_memo(sid).or_else(|| self.memo(sid));
        let Some(comes) = memo.and_then(|memo| self.handler().comes_back(memo, auth)) else {
            refused("user");
            return Err(place());
        };
        let (hub, session, auth) = (self.me(), session.clone(), auth.clone().into_owned());
        Ok(Some(Box::pin(async move {
            let who = comes.await;
            let Some(hub) = hub.upgrade().filter(|_| session.ended().is_none()) else {
                return;
            };
            let step = match who {
                Some(who) => hub.take_up(&session, (sid, secret), offset.as_deref(), who),
                None => Err("user"),
            };
            let step = step.unwrap_or_else(|why| hub.comes_afresh(&session, auth, why));
            if let Some(step) = step {
                step.await;
            }
        })))
    }

    /// Not taken up: a session of its own.
    pub(super) fn comes_afresh(&self, session: &Rc<Session>, auth: Args<'_>, why: Why) -> Step {
        refused(why);
        let place = Place::new(self.last_number(), now());
        self.welcome(session, "/", auth, Some(place))
    }

    pub(super) fn away_memo(&self, sid: Sid) -> Option<Memo> {
        let away = self.recovery.get()?.away.borrow();
        Some(away.get(sid)?.memo.clone())
    }

    fn has_secret(&self, sid: Sid, secret: Sid) -> bool {
        let is_its = |place: &Place| place.has_secret(secret);
        let state = self.state.borrow();
        let here = state.socket(sid).and_then(|socket| socket.place.as_ref());
        let away = self.recovery.get().map(|recovery| recovery.away.borrow());
        let away = away.as_ref().and_then(|away| away.get(sid));
        here.or(away.map(|away| &away.place))
            .is_some_and(|place| is_its(place))
    }

    /// Takes a session up, and sends what it missed.
    fn take_up(
        &self,
        session: &Rc<Session>,
        (sid, secret): (Sid, Sid),
        offset: Option<&str>,
        who: Memo,
    ) -> Result<Step, Why> {
        if !self.has_secret(sid, secret) {
            return Err("unknown");
        }
        let (mut away, missed) = self.missed(sid, offset)?;
        away.place
            .replay(missed.last().map(|(number, _)| *number), now());
        let missed: Vec<Frame> = missed.into_iter().map(|(_, frame)| frame).collect();
        Ok(self.take_in(session, sid, away.place, away.rooms, &missed, who))
    }

    /// Takes a session out of those who are away, with all that its client missed.
    ///
    /// # Errors
    /// Why it can't be taken up.
    pub(super) fn missed(
        &self,
        sid: Sid,
        offset: Option<&str>,
    ) -> Result<(Away, Vec<(u64, Frame)>), Why> {
        let recovery = self.recovery.get().ok_or("unknown")?;
        // Its old connection is dead, and nobody has noticed.
        let old = self
            .state
            .borrow()
            .socket(sid)
            .map(|socket| socket.session.clone());
        old.inspect(|old| old.close(Closed::Transport));
        let away = recovery.away.borrow_mut().take(sid).ok_or("unknown")?;
        let got = away.place.got(offset, away.last);
        let ring = recovery.ring.borrow();
        if let Err(why) = away.place.check(got, ring.floor(), away.last) {
            drop(ring);
            self.gave_up(&away);
            return Err(why);
        }
        let missed = ring.after(got, sid.as_str(), &away.rooms, &away.place);
        Ok((away, missed))
    }

    /// A session goes on with this connection, which is sent what it missed.
    pub(super) fn take_in(
        &self,
        session: &Rc<Session>,
        sid: Sid,
        place: Box<Place>,
        rooms: Vec<Rc<str>>,
        missed: &[Frame],
        who: Memo,
    ) -> Step {
        let pid = place.pid(sid);
        self.add(sid, "/", session, Some(place));
        self.enter_again(sid, rooms);
        metrics::add(metrics::Counter::Recovered, 1);
        for frame in missed {
            session.send(frame);
        }
        trace::sent(sid, "/", "CONNECT", 0);
        session.send(&encode::connect("/", sid.as_str(), Some(&pid)));
        self.ask_again(sid);
        self.handler().came_back(sid, who)
    }

    /// It is in its rooms again, and was all the time for whoever asks for them elsewhere.
    fn enter_again(&self, sid: Sid, names: Vec<Rc<str>>) {
        let mut state = self.state.borrow_mut();
        let Some(key) = state.by_sid.get(&sid).copied() else {
            return;
        };
        let State { sockets, rooms, .. } = &mut *state;
        let socket = &mut sockets[key as usize];
        for room in names {
            let (room, first) = rooms.enter(&socket.nsp, &room, key);
            socket.rooms.push(room);
            metrics::shift(metrics::Gauge::Rooms, first.into());
        }
    }
}

fn refused(why: Why) {
    metrics::not_recovered(why);
    log::debug!("a session is not taken up: {why}");
}

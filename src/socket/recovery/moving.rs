//! A session moves from one instance to another: what it is told of there, and how it goes on here.
//!
//! The instance that had it tells of its rooms and its user. The other one keeps what follows for it as for anybody who is
//! away, before it asks for the session itself: what it missed there. All that it missed has one number here, which no event has.

use super::away::Away;
use super::kept::now;
use super::place::{Offset, Place, Why};
use crate::engine::{Session, Step, frame};
use crate::ground::written::{Reader, Writer};
use crate::socket::question::Question;
use crate::socket::{Args, Fetched, Find, Frame, Hub, Memo, Sid};
use std::rc::{Rc, Weak};
use std::time::Instant;

/// What leaves with a session.
pub struct Handed {
    /// Its rooms and all that it missed.
    pub written: Vec<u8>,
    /// What it was asked and has not answered.
    pub questions: Vec<Question>,
}

impl Handed {
    /// With the questions, each under the number that its answer is told by.
    pub fn with_questions(&self, numbers: &[u64]) -> Vec<u8> {
        let mut out = Writer(self.written.clone());
        out.count(numbers.len());
        for (question, number) in self.questions.iter().zip(numbers) {
            out.number(question.id);
            out.number(*number);
            out.bytes(&question.frame);
        }
        out.0
    }
}

/// From here.
impl Hub {
    /// The private id of a session that is here or may come back.
    pub fn pid(&self, sid: Sid) -> Option<String> {
        let state = self.state.borrow();
        let here = state.socket(sid).and_then(|socket| socket.place.as_ref());
        let away = self.recovery.get()?.away.borrow();
        let place = here.or(away.get(sid).map(|away| &away.place));
        Some(place?.pid(sid))
    }

    /// What another instance is told of a session: its rooms and its user.
    pub fn offer(&self, sid: Sid) -> Option<Vec<u8>> {
        let memo = self.away_memo(sid).or_else(|| self.memo(sid))?;
        let mut rooms = self.rooms(sid);
        if rooms.is_empty()
            && let Some(away) = self.recovery.get()?.away.borrow().get(sid)
        {
            rooms.clone_from(&away.rooms);
        }
        rooms.retain(|room| self.handler().returns_to(room));
        let mut out = Writer::default();
        write_rooms(&mut out, &rooms);
        out.bytes(&self.handler().write_memo(&memo));
        Some(out.0)
    }

    /// Hands a session out, whose client has got the event `offset`: from now on it is none of this instance's.
    ///
    /// # Errors
    /// Why it can't be taken up.
    pub fn hand_out(&self, sid: Sid, offset: Option<&str>) -> Result<Handed, Why> {
        let (away, missed) = self.missed(sid, offset)?;
        let mut out = Writer::default();
        write_rooms(&mut out, &away.rooms);
        out.count(missed.len());
        missed.iter().for_each(|(_, frame)| out.bytes(frame));
        let questions = self.take_held(Some(sid));
        self.gave_up(&away);
        Ok(Handed {
            written: out.0,
            questions,
        })
    }
}

/// A session that is about to come; given up unless it does.
struct Expected {
    hub: Weak<Hub>,
    sid: Sid,
}

impl Drop for Expected {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.give_up(self.sid);
        }
    }
}

/// To here.
impl Hub {
    /// A CONNECT whose session may be another instance's.
    pub(super) fn comes_from_elsewhere(
        &self,
        session: &Rc<Session>,
        auth: Args<'static>,
        pid: String,
        find: Find,
    ) -> Step {
        let (hub, session) = (self.me(), session.clone());
        Some(Box::pin(async move {
            let step = moves(&hub, &session, &auth, &pid, find).await;
            let Some(hub) = hub.upgrade().filter(|_| session.ended().is_none()) else {
                return;
            };
            let step = step.unwrap_or_else(|why| hub.comes_afresh(&session, auth, why));
            if let Some(step) = step {
                step.await;
            }
        }))
    }

    /// Keeps from now on what is for a session that is in these rooms elsewhere.
    fn expect(&self, sid: Sid, rooms: Vec<Rc<str>>, memo: Memo) -> Result<Expected, Why> {
        let kept = self.recovery.get().ok_or("unknown")?;
        if self.is_connected(sid) || kept.away.borrow().get(sid).is_some() {
            return Err("unknown");
        }
        let own: Rc<str> = sid.as_str().into();
        for room in rooms.iter().chain([&own]) {
            let here = self.state.borrow().rooms.members("/", room).is_some();
            if !here && !self.is_awaited(room) {
                self.handler().room_changed("/", room, true);
            }
        }
        let last = kept.last();
        kept.away.borrow_mut().add(Away {
            sid,
            // It has a secret that nobody knows, so that nobody takes it up before it is here.
            place: Place::moved(Sid::random(), last + 1, rooms.len(), now()),
            rooms,
            last,
            memo,
            since: now(),
        });
        self.sweep_later(kept);
        Ok(Expected {
            hub: self.me(),
            sid,
        })
    }

    /// The number after which all that is for an expected session is its; `None` when it was given up.
    pub fn begins_to_move(&self, sid: Sid) -> Option<u64> {
        let kept = self.recovery.get()?;
        kept.away.borrow().get(sid)?;
        Some(kept.last())
    }

    /// The session is here.
    fn arrives(
        &self,
        session: &Rc<Session>,
        mut expected: Expected,
        secret: Sid,
        fetched: &Fetched,
        who: Memo,
    ) -> Result<Step, Why> {
        let (kept, sid, from) = (
            self.recovery.get().ok_or("unknown")?,
            expected.sid,
            fetched.from,
        );
        let mut handed = Reader::new(&fetched.handed, now());
        let rooms = read_rooms(&mut handed).ok_or("unknown")?;
        let frames = handed.all(|from| Some(from.bytes()?.to_vec()));
        let frames = frames.ok_or("unknown")?;
        let question = |from: &mut Reader<'_>| self.question(fetched, from);
        let questions = handed.all(question).ok_or("unknown")?;
        let is_same = |away: &Away| same_rooms(&away.rooms, &rooms);
        if !kept.away.borrow().get(sid).is_some_and(is_same) || kept.ring.borrow().floor() > from {
            return Err("gap");
        }
        let its = Place::moved(secret, from, rooms.len(), now());
        let here = kept.ring.borrow().after(from, sid.as_str(), &rooms, &its);
        let here = here
            .iter()
            .filter(|(number, _)| fetched.left_out.binary_search(number).is_err());
        // What was left out has numbers, too: the session goes on after them.
        let at = kept.ring.borrow_mut().skip();
        let offset = Offset::of(at);
        let missed = frames.iter().chain(here.map(|(_, frame)| &**frame));
        let missed: Option<Vec<Frame>> = missed.map(|event| renumbered(event, &offset)).collect();
        let missed = missed.ok_or("unknown")?;
        expected.hub = Weak::new();
        let away = kept.away.borrow_mut().take(sid).ok_or("gap")?;
        let mut place = Place::moved(secret, at, away.rooms.len(), now());
        place.replay((!missed.is_empty()).then_some(at), now());
        for question in questions {
            self.hold_or_end(sid, question);
        }
        Ok(self.take_in(session, sid, place, away.rooms, &missed, who))
    }

    /// What it was asked there; it is asked again under the same ack id.
    fn question(&self, fetched: &Fetched, from: &mut Reader<'_>) -> Option<Question> {
        let (id, number, bytes) = (from.number()?, from.number()?, from.bytes()?);
        frame::is_whole(bytes).then(|| Question {
            id,
            frame: bytes.to_vec().into(),
            waits: true,
            done: (fetched.answers)(number),
        })
    }
}

async fn moves(
    hub: &Weak<Hub>,
    session: &Rc<Session>,
    auth: &Args<'static>,
    pid: &str,
    find: Find,
) -> Result<Step, Why> {
    let found = find.await?;
    let here = || hub.upgrade().filter(|_| session.ended().is_none());
    let (sid, secret) = Place::read(pid).ok_or("unknown")?;
    let mut offer = Reader::new(&found.offer, Instant::now());
    let rooms = read_rooms(&mut offer).ok_or("unknown")?;
    let handler = here().ok_or("unknown")?.handler();
    let memo = offer.bytes().and_then(|memo| handler.read_memo(memo));
    let memo = memo.ok_or("unknown")?;
    let comes = handler.comes_back(memo.clone(), auth).ok_or("user")?;
    let who = comes.await.ok_or("user")?;
    let expected = here().ok_or("unknown")?.expect(sid, rooms, memo)?;
    let fetched = (found.fetch)().await?;
    // Nothing may come between what was counted and this.
    let hub = here().ok_or("unknown")?;
    hub.arrives(session, expected, secret, &fetched, who)
}

fn write_rooms(out: &mut Writer, rooms: &[Rc<str>]) {
    out.count(rooms.len());
    rooms.iter().for_each(|room| out.bytes(room.as_bytes()));
}

fn read_rooms(from: &mut Reader<'_>) -> Option<Vec<Rc<str>>> {
    from.all(|from| Some(from.text()?.into()))
}

fn same_rooms(some: &[Rc<str>], others: &[Rc<str>]) -> bool {
    some.len() == others.len() && some.iter().all(|room| others.contains(room))
}

/// An event with another number.
fn renumbered(event: &[u8], offset: &Offset) -> Option<Frame> {
    const AROUND: [&[u8]; 2] = [b",\"", b"\"]"];
    let end = frame::text_end(event)?.checked_sub(AROUND[1].len())?;
    let start = end.checked_sub(offset.as_str().len())?;
    let fits = event.get(..start)?.ends_with(AROUND[0])
        && event.get(end..)?.starts_with(AROUND[1])
        && frame::is_whole(event);
    let mut bytes = event.to_vec();
    bytes[start..end].copy_from_slice(offset.as_str().as_bytes());
    fits.then(|| bytes.into())
}

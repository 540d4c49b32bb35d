//! Sessions that lost their connection here and come back at another instance, or the other way round.
//!
//! 1. `Ask`, to all of ours: who has the session?
//! 2. `No`, or `Offer`: its rooms and its user. The asker judges the token, and listens to the rooms.
//! 3. `Take`, to all: from the moment at which it is emitted the asker counts what it emits itself.
//! 4. `Mark`: the session is the asker's.
//! 5. `Handed`: all that it missed, which may take its time.
//!
//! Redis has one order for all that is published. What other instances emit before `Take` the one that had the session has got;
//! what they emit after it the asker gets. What that one emits itself before `Mark` is handed over; after it, the asker gets it.
//! So nothing is missing, and nothing comes twice. A Cluster has no such order: there nobody asks.
//!
//! Each message is signed with the secret of all instances and the private id, which itself is never published; an offer can be
//! taken once, by what only it says.

mod coming;
mod said;

use super::Backplane;
use super::wire::{self, ReplyTo};
use crate::ground::tasks::{LARGE, aside, within};
use crate::socket::{Done, Fetch, Fetched, Find, Found, Sid, Step};
pub use coming::Moves;
use coming::{Coming, Stage, Waiting, Why};
use said::{Kind, Nonce, Said, Signed};
use std::rc::Rc;
use std::time::Duration;

/// Where all who can hand sessions over are asked; below the backplane's channel, so that an ACL for that one covers it.
pub const CHANNEL: &str = "socketio#moves";

/// How long an answer is waited for: then a session is not taken up.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long what was missed may take to come.
const TRANSFER: Duration = Duration::from_secs(5);
/// Bytes that may be handed over.
const MOST_BYTES: usize = 1 << 20;
/// Questions that move with a session.
const MOST_QUESTIONS: usize = 64;

/// To here.
impl Backplane {
    /// Listens to who asks, and to who answers.
    pub(super) fn follow_moves(self: &Rc<Self>) {
        if self.hub.number_of_last().is_none() {
            return;
        }
        let (asked, answered) = (self.clone(), self.clone());
        let subscriber = self.redis.subscriber();
        subscriber.listen(CHANNEL, move |message| {
            if message.len() <= LARGE
                && let Some(signed) = Signed::read(message)
            {
                asked.is_asked(signed);
            }
            None
        });
        let ours = answers_of(self.redis.host_id());
        subscriber.listen(&ours, move |message| answered.is_answered(message));
    }

    /// Looks for a session at the others. `None`: there is nobody to ask, or too much is asked already.
    pub fn find(self: &Rc<Self>, pid: &str, offset: Option<&str>) -> Option<Find> {
        if self.redis.is_cluster() || !self.redis.is_whole() || self.degraded().is_some() {
            return None;
        }
        let waiting = self.moves.open(pid)?;
        let (this, offset) = (self.clone(), offset.unwrap_or_default().to_owned());
        Some(Box::pin(async move {
            // An instance that is alone need not wait.
            let channels = [CHANNEL.to_owned()];
            let listeners = within(PATIENCE, this.redis.listeners(&channels)).await;
            let listeners = listeners.and_then(Result::ok).ok_or("silent")?;
            let others = listeners.first().map_or(0, |count| count.saturating_sub(1));
            if others == 0 {
                return Err("unknown");
            }
            this.moves.with(waiting.id, |coming| coming.others = others);
            this.ask(waiting.id, Kind::Ask, Vec::new())
                .ok_or("unknown")?;
            let answer = within(PATIENCE, waiting.answer.recv()).await;
            let offer = answer.and_then(Result::ok).ok_or("silent")??;
            let fetch = move || Box::pin(this.fetch(waiting, offset)) as Fetch;
            Ok(Found {
                offer,
                fetch: Box::new(fetch),
            })
        }))
    }

    async fn fetch(self: Rc<Self>, waiting: Waiting, offset: String) -> Result<Fetched, Why> {
        self.subscribed().await;
        // What is emitted from now on is emitted after the question.
        let from = self.hub.begins_to_move(waiting.sid).ok_or("gap")?;
        self.moves
            .with(waiting.id, |coming| coming.stage = Stage::Asking);
        self.ask(waiting.id, Kind::Take, offset.into_bytes())
            .ok_or("unknown")?;
        let marked = within(PATIENCE, waiting.answer.recv()).await;
        marked.and_then(Result::ok).ok_or("silent")??;
        let handed = within(TRANSFER, waiting.answer.recv()).await;
        let handed = handed.and_then(Result::ok).ok_or("silent")??;
        let coming = self.moves.end(waiting.id).ok_or("unknown")?;
        let (host, sid) = (coming.host, coming.sid);
        Ok(Fetched {
            from,
            left_out: coming.left_out,
            handed,
            answers: Box::new(move |id| self.answers(&host, sid, id)),
        })
    }

    /// Says something about a session that is to come.
    fn ask(&self, id: u64, kind: Kind, body: Vec<u8>) -> Option<()> {
        let message = self.moves.with(id, |coming| {
            let said = Said {
                kind,
                from: self.redis.host_id().to_owned(),
                to: coming.host.clone(),
                id,
                sid: coming.sid,
                nonce: coming.nonce,
                body,
            };
            said.signed(&self.moves.key, &coming.pid)
        });
        self.publisher.publish(CHANNEL.into(), message??);
        Some(())
    }

    fn is_answered(self: &Rc<Self>, message: &[u8]) -> Step {
        if message.len() <= LARGE {
            let said = Signed::read(message).and_then(|signed| {
                let pid = self.pid_of_coming(&signed.said)?;
                signed.verified(&self.moves.key, &pid)
            });
            said.into_iter().for_each(|said| self.learn(said));
            return None;
        }
        let (this, message) = (self.clone(), message.to_vec());
        Some(Box::pin(async move {
            let Some(signed) = aside(move || Signed::read(&message)).await else {
                return;
            };
            if let Some(pid) = this.pid_of_coming(&signed.said) {
                let key = this.moves.key.clone();
                let said = aside(move || signed.verified(&key, &pid)).await;
                said.into_iter().for_each(|said| this.learn(said));
            }
        }))
    }

    fn pid_of_coming(&self, said: &Said) -> Option<String> {
        if said.to != self.redis.host_id() {
            return None;
        }
        let pid = |coming: &mut Coming| (coming.sid == said.sid).then(|| said.pid(&coming.pid));
        self.moves.with(said.id, pid)?
    }

    /// The instance that has a session says something.
    fn learn(&self, said: Said) {
        let holds = self.echoes.holds();
        self.moves.with(said.id, |coming| {
            let is_its = said.from == coming.host && said.nonce == coming.nonce;
            let answer = match (said.kind, coming.stage) {
                (Kind::No, Stage::Asked) => {
                    coming.others = coming.others.saturating_sub(1);
                    match coming.others {
                        0 => Err("unknown"),
                        _ => return,
                    }
                }
                (Kind::Offer, Stage::Asked) => {
                    coming.stage = Stage::Offered;
                    coming.host = said.from;
                    coming.nonce = said.nonce;
                    Ok(said.body)
                }
                (Kind::Mark, Stage::Taken) if is_its => {
                    coming.stage = Stage::Marked;
                    match &*said.body {
                        // What is held may be what it has got there.
                        b"" if !holds => Ok(Vec::new()),
                        b"torn" => Err("torn"),
                        b"unknown" => Err("unknown"),
                        _ => Err("gap"),
                    }
                }
                (Kind::Handed, Stage::Marked) if is_its => Ok(said.body),
                _ => return,
            };
            let _ = coming.answer.try_send(answer);
        });
    }

    /// Who is told the answer to a question that another instance asked a session which is here now.
    fn answers(self: &Rc<Self>, host: &str, sid: Sid, id: u64) -> Done {
        let to = ReplyTo {
            host: host.to_owned().into(),
            room: sid.as_str().to_owned().into(),
            nsp: "/".into(),
            id,
            waits: true,
        };
        self.publish(wire::here_message(&to, self.redis.host_id()));
        self.replies_to(to)
    }
}

/// From here.
impl Backplane {
    fn is_asked(self: &Rc<Self>, signed: Signed) {
        let Said {
            kind,
            id,
            ref from,
            ref to,
            sid,
            ..
        } = signed.said;
        let me = self.redis.host_id();
        if *from == me {
            // What others emitted before has come.
            if kind == Kind::Take {
                self.is_taken(id);
            }
            return;
        }
        if kind == Kind::Take && to != me {
            return;
        }
        let pid = self.hub.pid(sid).unwrap_or_default();
        let asked = signed.said.clone();
        let known = signed.verified(&self.moves.key, &pid);
        match (kind, known.filter(|_| !pid.is_empty())) {
            (Kind::Ask, Some(ask)) if self.offer(&ask, &pid) => {}
            (Kind::Ask, _) => {
                let no = self.answer(&asked, Kind::No, Nonce::default(), Vec::new());
                self.reply(&asked, no.signed(&self.moves.key, &no.pid(&pid)));
            }
            (Kind::Take, Some(take)) => self.give(&take, &pid),
            _ => {}
        }
    }

    fn is_taken(&self, id: u64) {
        let holds = self.echoes.holds();
        self.moves.with(id, |coming| {
            if coming.stage == Stage::Asking {
                coming.stage = Stage::Taken;
            }
            // It would be emitted later, and nobody could tell whether it was before.
            if holds {
                let _ = coming.answer.try_send(Err("gap"));
            }
        });
    }

    /// Offers a session, if there is something to offer.
    fn offer(&self, ask: &Said, pid: &str) -> bool {
        let body = self.hub.offer(ask.sid).filter(|body| body.len() <= LARGE);
        let offered = body.map(|body| {
            let nonce = self.moves.offers(ask.sid);
            let offer = self.answer(ask, Kind::Offer, nonce, body);
            self.reply(ask, offer.signed(&self.moves.key, pid));
        });
        offered.is_some()
    }

    fn give(self: &Rc<Self>, take: &Said, pid: &str) {
        if !self.moves.was_offered(take.sid, take.nonce) {
            return;
        }
        let key = &self.moves.key;
        let offset = std::str::from_utf8(&take.body).ok();
        let handed = match self.echoes.holds() {
            true => Err("gap"),
            false => self.hub.hand_out(take.sid, offset),
        };
        let why = match &handed {
            Err(why) => *why,
            Ok(handed) if handed.written.len() > MOST_BYTES => "size",
            Ok(_) => "",
        };
        let mark = self.answer(take, Kind::Mark, take.nonce, why.into());
        self.reply(take, mark.signed(key, pid));
        self.moves.given.ring();
        let Ok(mut handed) = handed else { return };
        (self.moves.gone)(take.sid);
        let most = if why.is_empty() { MOST_QUESTIONS } else { 0 };
        for question in handed.questions.split_off(most.min(handed.questions.len())) {
            (question.done)(None);
        }
        if !why.is_empty() {
            return;
        }
        let waiting: Vec<_> = handed
            .questions
            .iter()
            .map(|_| self.calls.open(take.sid.as_str()))
            .collect();
        let numbers: Vec<u64> = waiting.iter().map(|waiting| waiting.id).collect();
        let body = handed.with_questions(&numbers);
        for (question, waiting) in handed.questions.into_iter().zip(waiting) {
            let answer = async move {
                let answer = waiting.answer.recv().await;
                (question.done)(answer.ok().flatten());
            };
            self.tasks.spawn("passes an answer on", answer);
        }
        if !numbers.is_empty() {
            self.look_after_calls();
        }
        let handed = self.answer(take, Kind::Handed, take.nonce, body);
        let (this, take, key, pid) = (self.clone(), take.clone(), key.clone(), pid.to_owned());
        if handed.body.len() <= LARGE {
            return self.reply(&take, handed.signed(&key, &pid));
        }
        let send = async move {
            let message = aside(move || handed.signed(&key, &pid)).await;
            this.reply(&take, message);
        };
        self.tasks.spawn("hands a session over", send);
    }

    fn answer(&self, to: &Said, kind: Kind, nonce: Nonce, body: Vec<u8>) -> Said {
        Said {
            kind,
            from: self.redis.host_id().to_owned(),
            to: to.from.clone(),
            nonce,
            body,
            id: to.id,
            sid: to.sid,
        }
    }

    fn reply(&self, to: &Said, message: Option<String>) {
        if let Some(message) = message {
            self.publisher.publish(answers_of(&to.from).into(), message);
        }
    }
}

/// Where an instance hears answers.
pub fn answers_of(host: &str) -> String {
    format!("{CHANNEL}#{host}")
}

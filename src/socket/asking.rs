//! Events that ask one socket for an ack.
//!
//! What a socket was asked when it lost its connection it is asked again, under the same ack id, when its client takes it up:
//! an answer that the client still gives to the first time counts, too. Until then the question is held.

use super::question::{Done, Question};
use super::{Args, CallError, Hub, Sid, Target, encode, trace};
use crate::ground::tasks::within;
use crate::metrics::{self, Counter};
use smol::channel;
use std::time::Duration;

/// Questions that are held for all who are away, and bytes of them.
const MOST_HELD: usize = 1024;
const MOST_BYTES: usize = 4 << 20;

impl Hub {
    /// Sends an event to one socket and calls `done` once: with its ack, or `None` when it went before answering. One that is
    /// away gets it when it comes back, if it `waits` for that. Returns the ack id for `forget`; `None` (and no call) when
    /// the socket is not here.
    pub fn emit_with_ack(
        &self,
        sid: Sid,
        event: &str,
        args: &Args<'_>,
        waits: bool,
        done: Done,
    ) -> Option<u64> {
        let id = self.last_ack.get() + 1;
        let mut state = self.state.borrow_mut();
        let socket = state.socket_mut(sid);
        let nsp = socket.as_ref().map_or("/", |socket| &*socket.nsp);
        let frame = encode::event(nsp, Some(id), event, args, None);
        let question = Question {
            id,
            frame,
            waits,
            done,
        };
        match socket {
            Some(socket) if socket.session.send(&question.frame) => socket.questions.push(question),
            Some(_) => return None,
            None => {
                drop(state);
                let held = waits && self.is_awaited(sid.as_str());
                if !held || self.hold(sid, question).is_err() {
                    return None;
                }
            }
        }
        self.last_ack.set(id);
        trace::emitted(&Target::sid(sid), event, args, 1);
        Some(id)
    }

    /// Stops waiting for an ack.
    pub fn forget(&self, sid: Sid, ack: u64) {
        let done = self.take_ack(sid, ack);
        drop(done);
    }

    /// Sends an event to one socket and waits for its ack, also of one that comes back meanwhile, if it `waits`.
    ///
    /// # Errors
    /// No ack in time, or the socket went (or was not here).
    pub async fn call(
        &self,
        sid: Sid,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
        waits: bool,
    ) -> Result<Args<'static>, CallError> {
        let (answer, answered) = channel::bounded(1);
        let done = Box::new(move |args| drop(answer.try_send(args)));
        let id = self
            .emit_with_ack(sid, event, args, waits, done)
            .ok_or(CallError::Gone)?;
        let _forget = ForgetOnDrop { hub: self, sid, id };
        let Some(answer) = within(timeout, answered.recv()).await else {
            metrics::add(Counter::AckTimeouts, 1);
            return Err(CallError::Timeout);
        };
        answer.ok().flatten().ok_or(CallError::Gone)
    }

    /// Who waits for an ack.
    pub(super) fn take_ack(&self, sid: Sid, ack: u64) -> Option<Done> {
        if let Some(socket) = self.state.borrow_mut().socket_mut(sid) {
            let questions = &mut socket.questions;
            let at = questions.iter().position(|question| question.id == ack)?;
            return Some(questions.swap_remove(at).done);
        }
        let mut held = self.held.borrow_mut();
        let at = held
            .iter()
            .position(|(of, question)| *of == sid && question.id == ack)?;
        Some(held.swap_remove(at).1.done)
    }
}

/// Questions of who is away.
impl Hub {
    /// A socket went that was asked this; `away`: it may come back.
    pub(super) fn lost_questions(&self, sid: Sid, questions: Vec<Question>, away: bool) {
        for question in questions {
            match away && question.waits {
                true => self.hold_or_end(sid, question),
                false => (question.done)(None),
            }
        }
    }

    /// Keeps a question until its socket comes back, or nobody answers it.
    pub(super) fn hold_or_end(&self, sid: Sid, question: Question) {
        if let Err(question) = self.hold(sid, question) {
            (question.done)(None);
        }
    }

    /// Keeps a question until its socket comes back; not if too many are kept.
    fn hold(&self, sid: Sid, question: Question) -> Result<(), Question> {
        let mut held = self.held.borrow_mut();
        let bytes: usize = held.iter().map(|(_, question)| question.frame.len()).sum();
        if held.len() >= MOST_HELD || bytes + question.frame.len() > MOST_BYTES {
            return Err(question);
        }
        held.push((sid, question));
        Ok(())
    }

    /// A socket is here again: it is asked in the same order.
    pub(super) fn ask_again(&self, sid: Sid) {
        let questions = self.take_held(Some(sid));
        if let Some(socket) = self.state.borrow_mut().socket_mut(sid) {
            for question in &questions {
                socket.session.send(&question.frame);
            }
            socket.questions.extend(questions);
        }
    }

    /// A socket answers nothing any more.
    pub(super) fn end_questions(&self, sid: Sid) {
        let mut questions = self.take_held(Some(sid));
        if let Some(socket) = self.state.borrow_mut().socket_mut(sid) {
            questions.append(&mut socket.questions);
        }
        self.lost_questions(sid, questions, false);
    }

    /// Nobody who is away will come back: for a server that goes down.
    pub fn end_held(&self) {
        for question in self.take_held(None) {
            (question.done)(None);
        }
    }

    /// What is held of one who is away, or of all.
    pub(super) fn take_held(&self, of: Option<Sid>) -> Vec<Question> {
        let mut held = self.held.borrow_mut();
        let its = held.extract_if(.., |(sid, _)| of.is_none_or(|of| *sid == of));
        its.map(|(_, question)| question).collect()
    }
}

/// Whoever stops waiting for an ack leaves nothing behind.
struct ForgetOnDrop<'a> {
    hub: &'a Hub,
    sid: Sid,
    id: u64,
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        self.hub.forget(self.sid, self.id);
    }
}

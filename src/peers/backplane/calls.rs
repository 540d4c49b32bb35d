//! Calls to sockets of other instances: who waits for which ack, and whether there is still somebody to answer.
//!
//! An instance of ours says at once that it has the socket, and when the socket goes. One that dies says nothing:
//! so while calls wait, each second, Redis is asked whether the host that has the socket is still subscribed (its
//! connection ends with it). Of a host that did not speak up, which is not one of ours, only the socket can be asked
//! after: by its own channel with room channels, else by its entry in the session pool.

use crate::ground::tasks::{Single, Tasks};
use crate::redis::{CommandError, Redis, own_channel};
use crate::socket::Args;
use smol::channel::{Receiver, Sender, bounded};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A socket that was missed this often is gone: its subscription or its entry may have been on the way.
const MISSES: u8 = 2;

/// The calls that wait.
#[derive(Default)]
pub struct Calls {
    last: Cell<u64>,
    open: RefCell<HashMap<u64, Call>>,
    looking: Single,
}

struct Call {
    answer: Sender<Option<Args<'static>>>,
    sid: String,
    /// The instance that has the socket, once it spoke up.
    host: Option<String>,
    misses: u8,
}

/// A call until it is over. Whoever drops it waits no more.
pub struct Waiting {
    pub id: u64,
    pub answer: Receiver<Option<Args<'static>>>,
    calls: Rc<Calls>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.calls.open.borrow_mut().remove(&self.id);
    }
}

impl Calls {
    /// Starts to wait for a socket's ack.
    pub fn open(self: &Rc<Self>, sid: &str) -> Waiting {
        let id = self.last.get() + 1;
        self.last.set(id);
        let (sender, answer) = bounded(1);
        let call = Call {
            answer: sender,
            sid: sid.to_owned(),
            host: None,
            misses: 0,
        };
        self.open.borrow_mut().insert(id, call);
        Waiting {
            id,
            answer,
            calls: self.clone(),
        }
    }

    /// The ack came, or (`None`) the socket went. What nobody waits for is dropped.
    pub fn finish(&self, id: u64, args: Option<Args<'static>>) {
        if let Some(call) = self.open.borrow_mut().remove(&id) {
            let _ = call.answer.try_send(args);
        }
    }

    /// An instance has the socket.
    pub fn found(&self, id: u64, host: &str) {
        if let Some(call) = self.open.borrow_mut().get_mut(&id) {
            call.host = Some(host.to_owned());
            call.misses = 0;
        }
    }

    /// Looks after those who should answer, until nobody waits. `channel` names a socket's own channel, if it has one.
    pub fn keep_looking(
        self: &Rc<Self>,
        tasks: &Tasks,
        redis: &Redis,
        channel: impl Fn(&str) -> Option<String> + 'static,
    ) {
        let (calls, redis) = (self.clone(), redis.clone());
        let look = || async move {
            while !calls.open.borrow().is_empty() {
                smol::Timer::after(LOOK).await;
                if let Err(fault) = calls.look_once(&redis, &channel).await {
                    log::debug!("who should answer can't be looked after: {fault}");
                }
            }
        };
        self.looking.start(tasks, "looks after calls", look);
    }

    async fn look_once(
        &self,
        redis: &Redis,
        channel: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), CommandError> {
        let (mut by_channel, mut by_entry) = (Vec::new(), Vec::new());
        for (id, call) in &*self.open.borrow() {
            let host = call.host.as_deref().map(own_channel);
            match host.or_else(|| channel(&call.sid)) {
                Some(channel) => by_channel.push((*id, channel)),
                None => by_entry.push((*id, call.sid.clone())),
            }
        }
        if !by_channel.is_empty() {
            let (ids, channels): (Vec<u64>, Vec<String>) = by_channel.into_iter().unzip();
            let counts = redis.listeners(&channels).await?;
            ids.iter()
                .zip(counts)
                .for_each(|(id, count)| self.judge(*id, count > 0));
        }
        if !by_entry.is_empty() {
            let (ids, sids): (Vec<u64>, Vec<String>) = by_entry.into_iter().unzip();
            let mut command = redis::cmd("HMGET");
            command.arg(redis.key("session_pool")).arg(&sids);
            let entries: Vec<Option<Vec<u8>>> = redis.query(command).await?;
            ids.iter()
                .zip(entries)
                .for_each(|(id, entry)| self.judge(*id, entry.is_some()));
        }
        Ok(())
    }

    fn judge(&self, id: u64, lives: bool) {
        let mut open = self.open.borrow_mut();
        let Some(call) = open.get_mut(&id) else {
            return;
        };
        call.misses = if lives { 0 } else { call.misses + 1 };
        let gone = call.misses >= MISSES || !lives && call.host.is_some();
        drop(open);
        if gone {
            self.finish(id, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_with_its_ack_or_with_its_host() {
        let calls = Rc::new(Calls::default());
        let (a, b, c) = (calls.open("a"), calls.open("b"), calls.open("c"));
        calls.finish(a.id, Some(Args::from_json("1")));
        calls.finish(a.id, None);
        assert_eq!(a.answer.try_recv().unwrap().unwrap().json(), "1");
        calls.judge(b.id, false);
        assert!(b.answer.try_recv().is_err());
        calls.judge(b.id, false);
        assert_eq!(b.answer.try_recv(), Ok(None));
        calls.found(c.id, "host");
        calls.judge(c.id, true);
        assert!(c.answer.try_recv().is_err());
        calls.judge(c.id, false);
        assert_eq!(c.answer.try_recv(), Ok(None));
        let d = calls.open("d");
        assert_eq!(calls.open.borrow().len(), 1);
        drop(d);
        assert!(calls.open.borrow().is_empty());
    }
}

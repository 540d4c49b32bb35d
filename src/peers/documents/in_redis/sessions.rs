//! Who has a document open.

use super::InRedis;
use super::kept::Before;
use crate::ground::names::note_of_document;
use crate::peers::documents::open::Entered;
use crate::peers::documents::{Away, Left};
use crate::peers::shared::first_refusal;
use crate::peers::shared::lease::Lease;
use crate::redis::CommandError;
use crate::socket::Sid;
use redis::Cmd;

/// Closed documents that are remembered while Redis is away; what is over it, is left to whoever reaps the sessions.
const MOST_OWED: usize = 10_000;

impl InRedis {
    pub async fn join(&self, id: &str, sid: Sid) -> Result<bool, Away> {
        let entered = self.open.enter(id, sid);
        if let Entered::Full = entered {
            return Ok(false);
        }
        let key = self.locks.of_document(id);
        let add = async |_: &Lease| {
            let mut add: Vec<Cmd> = self.membership("SADD", id, sid.as_str()).into();
            if note_of_document(id).is_some() {
                add.extend(self.ask_before(id));
            }
            let added = self.redis.pipeline(add).await?;
            let before = added.get(2).map(Before::read);
            first_refusal(added)?;
            Ok(before.unwrap_or_default())
        };
        match self.locks.with(&key, add).await {
            Ok(before) => {
                self.away.set(false);
                if let Entered::Now(id) = entered {
                    self.known.borrow_mut().entry(id).or_default();
                }
                self.with_known(id, |known| known.before = before);
                self.owed.borrow_mut().remove(&(id.into(), Some(sid)));
                Ok(true)
            }
            Err(fault) => {
                if let Entered::Now(_) = entered {
                    self.leave(id, sid, Left::Done).await;
                }
                Err(self.fault(id, &fault))
            }
        }
    }

    pub async fn leave(&self, id: &str, sid: Sid, how: Left) {
        self.open.leave(id, sid);
        if self.open.sessions(id).is_empty() {
            self.known.borrow_mut().remove(id);
            self.merged.borrow_mut().retain(|merged| *merged.id != *id);
        }
        let mut remove: Vec<Cmd> = self.membership("SREM", id, sid.as_str()).into();
        if how != Left::Done {
            remove.extend(self.cut_off(id).into_iter().flatten());
        }
        let removed = self.redis.pipeline(remove).await;
        if let Err(fault) = removed.and_then(first_refusal) {
            self.owe(id, Some(sid), &fault);
        }
    }

    /// The sessions of this instance that have it open.
    pub fn here(&self, id: &str) -> Vec<Sid> {
        self.open.sessions(id)
    }

    /// Those of this instance only while Redis can't tell.
    pub async fn users(&self, id: &str) -> Vec<Sid> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(self.key(id, "users"));
        match self.redis.query::<Vec<String>>(members).await {
            Ok(sids) => sids.iter().filter_map(|sid| Sid::parse(sid)).collect(),
            Err(_) => self.open.sessions(id),
        }
    }

    pub async fn evict(&self, sid: &str) {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(
            self.redis
                .key(&format!("ydoc:documents:session:{sid}:documents")),
        );
        let ids: Vec<String> = self.redis.query(members).await.unwrap_or_default();
        for id in ids {
            let mut remove: Vec<Cmd> = self.membership("SREM", &id, sid).into();
            remove.extend(self.cut_off(&id).into_iter().flatten());
            let _ = self.redis.pipeline(remove).await;
            self.clear_unused(&id).await;
        }
    }

    /// Adds or removes a session, on both sides.
    fn membership(&self, command: &str, id: &str, sid: &str) -> [Cmd; 2] {
        let mut users = redis::cmd(command);
        users.arg(self.key(id, "users")).arg(sid);
        let mut documents = redis::cmd(command);
        let key = format!("ydoc:documents:session:{sid}:documents");
        documents.arg(self.redis.key(&key)).arg(id);
        [users, documents]
    }

    /// Redis could not be told that somebody left: it is told when it is back.
    pub(super) fn owe(&self, id: &str, sid: Option<Sid>, fault: &CommandError) {
        log::debug!("document {id:?} is not left yet: {fault}");
        let mut owed = self.owed.borrow_mut();
        if owed.len() < MOST_OWED {
            owed.insert((id.into(), sid));
        }
    }

    /// After each reconnect: who left has left, who is here is in, also when Redis forgot everything.
    pub(super) async fn keep_reconciling(&self) {
        let mut connections = 0;
        loop {
            connections = self.redis.connected(connections).await;
            let here = self.open.all().into_iter();
            let enter = here.flat_map(|(id, sid)| self.membership("SADD", &id, sid.as_str()));
            if let Err(fault) = self.redis.pipeline(enter.collect()).await {
                log::debug!("open documents are not known in Redis: {fault}");
                continue;
            }
            for (id, sid) in self.owed.take() {
                match sid {
                    Some(sid) if self.open.is_open(&id, sid) => {}
                    Some(sid) => {
                        self.leave(&id, sid, Left::Gone).await;
                        self.clear_unused(&id).await;
                    }
                    None => drop(self.clear_unused(&id).await),
                }
            }
        }
    }
}

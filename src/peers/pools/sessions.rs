//! The session pool: who is connected here, when last heard of, with which chats open.
//!
//! One entry a signed-in socket, about 100 bytes; sessions with the same token share one identity.
//! An entry that was not heard of in time is reaped: out of the pool, its chats closed. Its socket stays, and the next
//! heartbeat brings the entry back.

use super::changes::Changes;
use crate::directory::{Identity, User};
use crate::ground::clock::{Moment, has_come, instant_of, now};
use crate::socket::{BySid, Sid};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// One signed-in socket.
struct Session {
    who: Rc<Identity>,
    /// CONNECT, `user-join` or the last heartbeat.
    last_seen: Moment,
    /// When its token expires: the token was valid at `user-join`, and is for so long, however the time of day is set.
    expires: Option<Instant>,
    /// Whether it counts as present. Reaped ones don't.
    pooled: bool,
    /// Saved chats that it has open. Most have none, and each socket has an entry.
    #[expect(clippy::box_collection)]
    chats: Option<Box<Vec<Rc<str>>>>,
}

impl Session {
    fn chats(&self) -> &[Rc<str>] {
        self.chats.as_ref().map_or(&[], |chats| &chats[..])
    }

    fn has_open(&self, chat_id: &str) -> bool {
        self.chats().iter().any(|id| &**id == chat_id)
    }

    fn take_chats(&mut self) -> Vec<Rc<str>> {
        self.chats.take().map_or_else(Vec::new, |chats| *chats)
    }
}

/// Sessions that were taken out of the pool of all instances because nobody heard of them.
pub struct Reaped {
    /// Each sid with the chats that it had open.
    pub sessions: Vec<(String, Vec<String>)>,
}

/// All signed-in sockets of this instance.
#[derive(Default)]
pub struct SessionPool {
    entries: RefCell<BySid<Session>>,
    /// Sockets that show a token of this user, of whom nothing else is known yet.
    arriving: RefCell<BySid<String>>,
    /// By token, so that sessions share what they have in common.
    identities: RefCell<HashMap<Rc<str>, Weak<Identity>>>,
    /// For whoever copies the pool elsewhere.
    pub changes: Changes<Sid>,
}

impl SessionPool {
    /// A socket shows a token of this user. `false` when it is signed in or arriving already.
    pub fn arrive(&self, sid: Sid, user_id: &str) -> bool {
        if self.entries.borrow().contains_key(&sid) {
            return false;
        }
        let mut arriving = self.arriving.borrow_mut();
        let first = arriving.insert(sid, user_id.to_owned()).is_none();
        drop(arriving);
        self.changes.note_urgent(sid);
        first
    }

    /// It is not let in.
    pub fn turn_away(&self, sid: Sid) {
        if self.arriving.borrow_mut().remove(&sid).is_some() {
            self.changes.note_urgent(sid);
        }
    }

    /// The user of a socket that is signed in or arriving.
    pub fn user_id(&self, sid: Sid) -> Option<String> {
        let who = self.who(sid).map(|who| who.user.id.clone());
        who.or_else(|| self.arriving.borrow().get(&sid).cloned())
    }

    /// Signs a socket in, or again with a fresh identity; what it had open stays open.
    pub fn sign_in(&self, sid: Sid, who: Rc<Identity>, now: Moment) -> Rc<Identity> {
        let again = self.who(sid).is_some_and(|known| Rc::ptr_eq(&known, &who));
        let who = if again { who } else { self.share(who) };
        self.arriving.borrow_mut().remove(&sid);
        let expires = || who.claims.exp.and_then(instant_of);
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(sid).or_insert_with(|| Session {
            who: who.clone(),
            last_seen: now,
            expires: expires(),
            pooled: true,
            chats: None,
        });
        // With the same token it lasts as long as it did: the time of day may have been set since.
        if !Rc::ptr_eq(&entry.who, &who) && entry.who.token != who.token {
            entry.expires = expires();
        }
        entry.who = who.clone();
        entry.last_seen = now;
        entry.pooled = true;
        drop(entries);
        self.changes.note_urgent(sid);
        who
    }

    /// The socket is gone. Returns the chats that it had open.
    pub fn remove(&self, sid: Sid) -> Option<Vec<Rc<str>>> {
        let mut session = self.entries.borrow_mut().remove(&sid)?;
        if Rc::strong_count(&session.who) == 1 {
            self.identities.borrow_mut().remove(&session.who.token);
        }
        self.changes.note_urgent(sid);
        Some(session.take_chats())
    }

    /// Who this socket is; `None` for an anonymous one.
    pub fn who(&self, sid: Sid) -> Option<Rc<Identity>> {
        Some(self.entries.borrow().get(&sid)?.who.clone())
    }

    /// The same, and whether the token that it signed in with has expired.
    pub fn current(&self, sid: Sid) -> Option<(Rc<Identity>, bool)> {
        let entries = self.entries.borrow();
        let session = entries.get(&sid)?;
        Some((session.who.clone(), has_come(session.expires)))
    }

    /// When the token that it signed in with expires.
    pub fn expiry(&self, sid: Sid) -> Option<Instant> {
        self.entries.borrow().get(&sid)?.expires
    }

    /// The token that it signed in with expires then.
    pub fn set_expiry(&self, sid: Sid, expires: Option<Instant>) {
        if let Some(session) = self.entries.borrow_mut().get_mut(&sid) {
            session.expires = expires;
        }
    }

    /// Whether that has come.
    pub fn is_expired(&self, sid: Sid) -> bool {
        has_come(self.expiry(sid))
    }

    /// Heard of it. `false` for an anonymous socket.
    pub fn seen(&self, sid: Sid, now: Moment) -> bool {
        let mut entries = self.entries.borrow_mut();
        let Some(session) = entries.get_mut(&sid) else {
            return false;
        };
        session.last_seen = now;
        let back = !std::mem::replace(&mut session.pooled, true);
        drop(entries);
        match back {
            true => self.changes.note_urgent(sid),
            false => self.changes.note(sid),
        }
        true
    }

    /// Notes that a chat is open. `false` when the session is not in the pool.
    pub fn open_chat(&self, sid: Sid, chat_id: &str) -> bool {
        let mut entries = self.entries.borrow_mut();
        let Some(session) = entries.get_mut(&sid).filter(|s| s.pooled) else {
            return false;
        };
        if !session.has_open(chat_id) {
            session.chats.get_or_insert_default().push(chat_id.into());
        }
        drop(entries);
        self.changes.note_urgent(sid);
        true
    }

    /// Notes that a chat is closed. `false` when it was not open.
    pub fn close_chat(&self, sid: Sid, chat_id: &str) -> bool {
        let mut entries = self.entries.borrow_mut();
        let Some(session) = entries.get_mut(&sid) else {
            return false;
        };
        let closed = session.has_open(chat_id);
        if let Some(chats) = session.chats.as_mut() {
            chats.retain(|id| &**id != chat_id);
        }
        session.chats.take_if(|chats| chats.is_empty());
        drop(entries);
        if closed {
            self.changes.note_urgent(sid);
        }
        closed
    }

    /// Id and name, by id, of everybody who has the chat open, among these sockets: those in its room.
    pub fn viewers(&self, chat_id: &str, sids: &[Sid]) -> BTreeMap<String, String> {
        let entries = self.entries.borrow();
        let open = |s: &&Session| s.pooled && s.has_open(chat_id);
        let person = |s: &Session| (s.who.user.id.clone(), s.who.user.name.clone());
        let sessions = sids.iter().filter_map(|sid| entries.get(sid));
        sessions.filter(open).map(person).collect()
    }

    /// A session of this user that has the chat open, other than `but`.
    pub fn with_chat_open(&self, user_id: &str, chat_id: &str, but: &str) -> Option<Sid> {
        let entries = self.entries.borrow();
        let fits = |(sid, s): &(&Sid, &Session)| {
            s.pooled && s.who.user.id == user_id && sid.as_str() != but && s.has_open(chat_id)
        };
        entries.iter().find(fits).map(|(sid, _)| *sid)
    }

    /// Takes entries out of the pool that were not heard of for longer than `timeout`; returns them with their chats.
    pub fn reap(&self, now: Instant, timeout: Duration) -> Vec<(Sid, Vec<Rc<str>>)> {
        let mut entries = self.entries.borrow_mut();
        let late =
            |s: &Session| s.pooled && now.saturating_duration_since(s.last_seen.at) > timeout;
        let mut reaped = Vec::new();
        for (sid, session) in entries.iter_mut().filter(|(_, s)| late(s)) {
            session.pooled = false;
            reaped.push((*sid, session.take_chats()));
        }
        drop(entries);
        for (sid, _) in &reaped {
            self.changes.note_urgent(*sid);
        }
        reaped
    }

    /// The entry as the pool shows it: the public record, `last_seen_at`, `chat_ids`; of one that is arriving the user's id
    /// alone. `None` when it is not in the pool.
    pub fn entry(&self, sid: Sid) -> Option<Map<String, Value>> {
        if let Some(user_id) = self.arriving.borrow().get(&sid) {
            let mut entry = Map::new();
            entry.insert("id".into(), user_id.as_str().into());
            entry.insert("last_seen_at".into(), now().into());
            return Some(entry);
        }
        let entries = self.entries.borrow();
        let session = entries.get(&sid).filter(|s| s.pooled)?;
        let mut entry: Map<String, Value> = serde_json::from_str(&session.who.user.record).ok()?;
        entry.insert("last_seen_at".into(), session.last_seen.told.into());
        let chats = session
            .chats()
            .iter()
            .map(|id| Value::from(&**id))
            .collect();
        entry.insert("chat_ids".into(), Value::Array(chats));
        Some(entry)
    }

    /// Every signed-in socket, reaped ones too.
    pub fn sids(&self) -> Vec<Sid> {
        self.entries.borrow().keys().copied().collect()
    }

    /// Every socket that has an entry, and reaped ones.
    pub fn all(&self) -> Vec<Sid> {
        let mut all = self.sids();
        all.extend(self.arriving.borrow().keys());
        all
    }

    /// The user of each of these sockets, once each, by id.
    pub fn users_of(&self, sids: &[Sid]) -> BTreeMap<String, User> {
        let entries = self.entries.borrow();
        let users = sids.iter().filter_map(|sid| entries.get(sid));
        users
            .map(|s| (s.who.user.id.clone(), s.who.user.clone()))
            .collect()
    }

    /// Each identity here with the sockets that carry it.
    pub fn by_identity(&self) -> Vec<(Rc<Identity>, Vec<Sid>)> {
        let mut groups: HashMap<*const Identity, (Rc<Identity>, Vec<Sid>)> = HashMap::new();
        for (sid, session) in self.entries.borrow().iter() {
            let group = groups.entry(Rc::as_ptr(&session.who));
            let (_, sids) = group.or_insert_with(|| (session.who.clone(), Vec::new()));
            sids.push(*sid);
        }
        groups.into_values().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// The identity that others with this token carry, if it still says the same.
    fn share(&self, who: Rc<Identity>) -> Rc<Identity> {
        let mut identities = self.identities.borrow_mut();
        if let Some(known) = identities.get(&who.token).and_then(Weak::upgrade)
            && (Rc::ptr_eq(&known, &who) || known.user == who.user)
        {
            known.as_of.set(who.as_of.get());
            return known;
        }
        identities.insert(who.token.clone(), Rc::downgrade(&who));
        if identities.len() > 2 * self.entries.borrow().len() + 16 {
            identities.retain(|_, known| known.strong_count() > 0);
        }
        who
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Claims;
    use std::cell::Cell;

    fn identity(id: &str, token: &str) -> Rc<Identity> {
        Rc::new(Identity {
            user: User {
                id: id.into(),
                name: id.to_uppercase(),
                role: "user".into(),
                record: format!(r#"{{"id":"{id}"}}"#).into(),
            },
            token: token.into(),
            claims: Claims::default(),
            as_of: Cell::default(),
        })
    }

    #[test]
    fn sessions_of_one_token_share_their_identity() {
        let pool = SessionPool::default();
        let (a, b) = (Sid::random(), Sid::random());
        let one = pool.sign_in(a, identity("u", "t"), Moment::now());
        let two = pool.sign_in(b, identity("u", "t"), Moment::now());
        assert!(Rc::ptr_eq(&one, &two));
        assert_eq!(pool.by_identity().len(), 1);
        drop((one, two));
        pool.remove(a);
        pool.remove(b);
        assert!(pool.identities.borrow().is_empty());
    }

    #[test]
    fn a_reaped_session_is_absent_until_its_next_heartbeat() {
        let pool = SessionPool::default();
        let sid = Sid::random();
        let now = Moment::now();
        let timeout = Duration::from_secs(120);
        let late = now.at + timeout + Duration::from_secs(1);
        pool.sign_in(sid, identity("u", "t"), now);
        assert!(pool.open_chat(sid, "c"));
        assert_eq!(pool.viewers("c", &[sid]).len(), 1);
        assert!(pool.reap(now.at + timeout, timeout).is_empty());
        let reaped = pool.reap(late, timeout);
        assert_eq!(reaped, vec![(sid, vec![Rc::from("c")])]);
        assert!(pool.reap(late, timeout).is_empty());
        assert!(pool.entry(sid).is_none() && pool.viewers("c", &[sid]).is_empty());
        assert!(!pool.open_chat(sid, "c"));
        let again = Moment {
            told: 200,
            at: late,
        };
        assert!(pool.seen(sid, again) && pool.open_chat(sid, "c"));
        let entry = Value::Object(pool.entry(sid).unwrap());
        let expected = serde_json::json!({"id": "u", "last_seen_at": 200, "chat_ids": ["c"]});
        assert_eq!(entry, expected);
    }

    #[test]
    fn a_chat_is_found_open_on_another_session_of_that_user_only() {
        let pool = SessionPool::default();
        let (a, b, c) = (Sid::random(), Sid::random(), Sid::random());
        pool.sign_in(a, identity("u", "t"), Moment::now());
        pool.sign_in(b, identity("u", "t2"), Moment::now());
        pool.sign_in(c, identity("v", "t3"), Moment::now());
        pool.open_chat(a, "x");
        pool.open_chat(c, "x");
        assert_eq!(pool.with_chat_open("u", "x", a.as_str()), None);
        pool.open_chat(b, "x");
        assert_eq!(pool.with_chat_open("u", "x", a.as_str()), Some(b));
        assert!(pool.close_chat(b, "x") && !pool.close_chat(b, "x"));
    }

    #[test]
    fn a_session_lasts_as_its_token_however_the_clock_is_set() {
        const MONTH: i64 = 30 * 86_400;
        let (pool, sid) = (SessionPool::default(), Sid::random());
        let now = Moment::now();
        for (exp, expired) in [(now.told + 60, false), (now.told - 60, true)] {
            let mut who = identity("u", &exp.to_string());
            Rc::make_mut(&mut who).claims.exp = Some(exp);
            pool.sign_in(sid, who, now);
            // Only the time of day changes.
            for step in [-MONTH, 0, MONTH] {
                let told = now.told + step;
                pool.seen(sid, Moment { told, ..now });
                let again = pool.who(sid).unwrap();
                pool.sign_in(sid, again, Moment { told, ..now });
                assert_eq!(pool.is_expired(sid), expired);
                assert!(pool.reap(now.at, Duration::from_secs(120)).is_empty());
            }
        }
    }
}

//! Saved chats: opened, typed in, read, closed; everybody who has one open sees who else has.

use super::core::{Core, Fault, Sender};
use super::readers::Readers;
use crate::directory::Access;
use crate::ground::rooms;
use crate::ground::tasks::{Bell, Tasks};
use crate::socket::{Args, Sid, Target};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// The chats that sessions of this instance have open.
pub struct Chats {
    core: &'static Core,
    readers: &'static Readers,
    tasks: Tasks,
    /// Chats whose presence is being published; `true`: once more.
    publishing: RefCell<HashMap<Rc<str>, bool>>,
    /// Rung when a session opens a chat.
    opened: Bell,
}

impl Chats {
    pub fn new(core: &'static Core, readers: &'static Readers) -> Self {
        Self {
            core,
            readers,
            tasks: Tasks::new(core.executor),
            publishing: RefCell::default(),
            opened: Bell::default(),
        }
    }

    /// Opens the chat for a reader. Whether it is open.
    ///
    /// # Errors
    /// The directory can't tell, or the session is in as many rooms as it may.
    pub async fn open(&'static self, from: &Sender, chat_id: &str) -> Result<bool, Fault> {
        let Sender { sid, who } = from;
        let core = self.core;
        if core.directory.chat_access(who, chat_id).await? < Access::Read {
            return Ok(false);
        }
        let room = rooms::of_chat(chat_id);
        core.enter(*sid, &room).await?;
        // Reaped, gone or made to leave while we waited: nobody may be in the room who is not in the pool.
        if !core.hub.is_in(*sid, &room) || !core.pools.sessions.open_chat(*sid, chat_id) {
            core.peers.leave(*sid, &room);
            return Ok(false);
        }
        self.opened.ring();
        self.publish_presence(chat_id);
        Ok(true)
    }

    /// A session is taken up: the chats are open whose rooms it is in.
    pub fn open_again(&'static self, sid: Sid) {
        let core = self.core;
        for room in core.hub.rooms(sid) {
            if let Some(chat_id) = rooms::chat(&room)
                && core.pools.sessions.open_chat(sid, chat_id)
            {
                self.publish_presence(chat_id);
            }
        }
        self.opened.ring();
    }

    /// Closes the chat for a session.
    pub fn close(&self, sid: Sid, chat_id: &str) {
        self.core.peers.leave(sid, &rooms::of_chat(chat_id));
    }

    /// A socket has left a room, by its own word, a backend's or another instance's: with its room a chat is closed.
    pub fn left(&'static self, sid: Sid, room: &str) {
        if let Some(chat_id) = rooms::chat(room)
            && self.core.pools.sessions.close_chat(sid, chat_id)
        {
            self.publish_presence(chat_id);
        }
    }

    /// Tells the others in the chat that somebody types who may write there. Whether it did.
    ///
    /// # Errors
    /// The directory can't tell.
    pub async fn type_in(&self, from: &Sender, chat_id: &str, typing: bool) -> Result<bool, Fault> {
        let Sender { sid, who } = from;
        let core = self.core;
        let room = rooms::of_chat(chat_id);
        let in_room = || core.hub.is_in(*sid, &room);
        if !in_room()
            || core.directory.chat_access(who, chat_id).await? < Access::Write
            || !in_room()
        {
            return Ok(false);
        }
        let user = &who.user;
        let event = json!({
            "chat_id": chat_id,
            "user_id": user.id,
            "user": { "id": user.id, "name": user.name },
            "shared": true,
            "data": { "type": "typing", "data": { "typing": typing } },
        });
        let except = [sid.as_str()];
        let others = Target::room(&room).but(&except);
        core.emit_news(from, &others, "events", &Args::one(&event));
        Ok(true)
    }

    /// The user has read the chat up to now: stored, and all sessions of the user learn it.
    ///
    /// # Errors
    /// The directory refuses, or can't tell.
    pub async fn mark_read(&self, from: &Sender, chat_id: &str) -> Result<(), Fault> {
        let who = &from.who;
        let Some(at) = self.core.directory.mark_chat_read(who, chat_id).await? else {
            return Ok(());
        };
        let data = json!({ "chat_id": chat_id, "last_read_at": at });
        let event = json!({ "chat_id": chat_id, "data": { "type": "chat:list", "data": data } });
        let room = rooms::of_user(&who.user.id);
        let args = Args::one(&event);
        self.core.peers.emit(&Target::room(&room), "events", &args);
        Ok(())
    }

    /// Somebody shared the chat with others, or it is gone: it closes for those of this instance who may no longer read
    /// it, and all who had it open learn that their access may have changed.
    pub async fn access_changed(&'static self, chat_id: &str) {
        let core = self.core;
        let room = rooms::of_chat(chat_id);
        let event = json!({
            "chat_id": chat_id,
            "shared": true,
            "data": { "type": "chat:access", "data": {} },
        });
        let mut closed = false;
        core.hub.give_up_in(&room);
        for sid in core.hub.members(&room) {
            let Some(who) = core.pools.sessions.who(sid) else {
                continue;
            };
            if core.directory.chat_access(&who, chat_id).await == Ok(Access::None) {
                closed |= core.pools.sessions.close_chat(sid, chat_id);
                core.peers.leave(sid, &room);
            }
            let args = Args::one(&event);
            core.hub.emit(&Target::sid(sid), "events", &args);
        }
        self.readers.check_chat(chat_id).await;
        if closed {
            self.publish_presence(chat_id);
        }
    }

    /// Another session of the user, on any instance, that has the chat open.
    pub async fn open_elsewhere(&self, user_id: &str, chat_id: &str, but: &str) -> Option<String> {
        let core = self.core;
        match self.open_here(user_id, chat_id, but) {
            Some(sid) => Some(sid.as_str().to_owned()),
            None => core.peers.with_chat_open(user_id, chat_id, but).await,
        }
    }
}

impl Chats {
    /// Waits until another session of the user, of this instance, has the chat open, or the lost one is back or given up. The caller limits the time.
    pub async fn wait_for_open(&self, user_id: &str, chat_id: &str, lost: &str) {
        let hub = &self.core.hub;
        let awaited = hub.is_awaited(lost);
        let look = || {
            let open = self.open_here(user_id, chat_id, lost).is_some();
            (open || awaited && !hub.is_awaited(lost)).then_some(())
        };
        self.opened.until(look).await;
    }

    /// A session that was lost does not come back: whoever waits for it looks again.
    pub fn given_up(&self) {
        self.opened.ring();
    }

    /// Another session here that has the chat open, or the one that was lost, if it has come back.
    fn open_here(&self, user_id: &str, chat_id: &str, lost: &str) -> Option<Sid> {
        let pool = &self.core.pools.sessions;
        pool.with_chat_open(user_id, chat_id, lost).or_else(|| {
            let who = Sid::parse(lost).filter(|sid| self.core.hub.takes(*sid));
            who.filter(|sid| pool.who(*sid).is_some_and(|who| who.user.id == user_id))
        })
    }
}

/// Presence.
impl Chats {
    /// Tells everybody who has the chat open who has it open.
    ///
    /// Alone this happens before it returns. With other instances their sessions are asked for first, one question a chat
    /// at a time over all instances, so that an old answer never follows a newer one.
    pub fn publish_presence(&'static self, chat_id: &str) {
        let (room, news) = (rooms::of_chat(chat_id), &self.core.news);
        if !news.may_send(&room) {
            let chat_id = chat_id.to_owned();
            return news.hold(&room, "", move || self.publish_presence(&chat_id));
        }
        if self.core.peers.is_alone() {
            return self.emit_presence(chat_id, &self.viewers_here(chat_id));
        }
        let mut publishing = self.publishing.borrow_mut();
        if let Some(again) = publishing.get_mut(chat_id) {
            *again = true;
            return;
        }
        let chat_id: Rc<str> = chat_id.into();
        publishing.insert(chat_id.clone(), false);
        drop(publishing);
        self.tasks.spawn("publishes presence", async move {
            loop {
                self.publishing.borrow_mut().insert(chat_id.clone(), false);
                let present = async || {
                    let mut viewers = self.core.peers.viewers(&chat_id).await;
                    viewers.extend(self.viewers_here(&chat_id));
                    self.emit_presence(&chat_id, &viewers);
                };
                self.core.peers.one_at_a_time(&chat_id, present).await;
                let mut publishing = self.publishing.borrow_mut();
                if publishing.get(&chat_id) != Some(&true) {
                    publishing.remove(&chat_id);
                    return;
                }
            }
        });
    }

    /// What tells who has which chat open.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Id and name, by id, of everybody of this instance who has the chat open.
    fn viewers_here(&self, chat_id: &str) -> BTreeMap<String, String> {
        let members = self.core.hub.members(&rooms::of_chat(chat_id));
        self.core.pools.sessions.viewers(chat_id, &members)
    }

    fn emit_presence(&self, chat_id: &str, viewers: &BTreeMap<String, String>) {
        let person = |(id, name): (&String, &String)| json!({ "id": id, "name": name });
        let users: Vec<Value> = viewers.iter().map(person).collect();
        let event = json!({
            "chat_id": chat_id,
            "shared": true,
            "data": { "type": "chat:presence", "data": { "users": users } },
        });
        let room = rooms::of_chat(chat_id);
        let args = Args::one(&event);
        self.core.news.pay(&room, args.json().len());
        self.core.peers.emit(&Target::room(&room), "events", &args);
    }
}

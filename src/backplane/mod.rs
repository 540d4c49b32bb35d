//! How instances reach each other's sockets: the one way to emit, to enter and to leave rooms.
//!
//! Whatever the application does to sockets goes through here: the local hub first, then whatever links
//! this instance to the others. Alone, the hub is all there is.

#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::socket::{Args, CallError, Hub, Sid, Target};
use std::rc::Rc;
use std::time::Duration;

/// The hub of this instance and its link to the others.
pub struct Backplane {
    hub: Rc<Hub>,
    link: Link,
}

/// How the others are reached.
enum Link {
    /// There are no others.
    Alone,
    /// Over Redis.
    #[cfg(feature = "redis")]
    Redis(Redis),
}

impl Backplane {
    /// An instance that is alone.
    pub fn alone(hub: Rc<Hub>) -> Self {
        Self {
            hub,
            link: Link::Alone,
        }
    }

    /// An instance that shares a Redis with others.
    #[cfg(feature = "redis")]
    pub fn shared(hub: Rc<Hub>, redis: Redis) -> Self {
        Self {
            hub,
            link: Link::Redis(redis),
        }
    }

    /// What the instances share; `None` when this one is alone.
    #[cfg(feature = "redis")]
    pub fn redis(&self) -> Option<&Redis> {
        match &self.link {
            Link::Alone => None,
            Link::Redis(redis) => Some(redis),
        }
    }

    /// What `/ready` says about it.
    pub fn degraded(&self) -> Option<String> {
        match &self.link {
            Link::Alone => None,
            #[cfg(feature = "redis")]
            Link::Redis(redis) => redis.degraded(),
        }
    }

    /// Whether there are no other instances to reach.
    pub fn is_alone(&self) -> bool {
        matches!(self.link, Link::Alone)
    }

    /// A room got its first member here, or lost its last.
    pub fn room_changed(&self, _nsp: &str, _room: &Rc<str>, _occupied: bool) {
        match &self.link {
            Link::Alone => {}
            #[cfg(feature = "redis")]
            Link::Redis(_) => {}
        }
    }

    /// This instance's own sockets.
    pub fn hub(&self) -> &Rc<Hub> {
        &self.hub
    }

    /// Sends an event to all sockets of the target, wherever they are. Returns how many got it here.
    pub fn emit(&self, target: &Target<'_>, event: &str, args: &Args<'_>) -> usize {
        let here = self.hub.emit(target, event, args);
        match &self.link {
            Link::Alone => here,
            #[cfg(feature = "redis")]
            Link::Redis(_) => here,
        }
    }

    /// Enters a room. Answers when no event to the room can be missed any more; `false` when the socket is not here.
    pub async fn enter(&self, sid: Sid, room: &str) -> bool {
        let entered = self.hub.enter(sid, room);
        match &self.link {
            Link::Alone => entered,
            #[cfg(feature = "redis")]
            Link::Redis(_) => entered,
        }
    }

    /// Leaves a room.
    pub fn leave(&self, sid: Sid, room: &str) {
        self.hub.leave(sid, room);
    }

    /// Sends an event to one socket, which may be another instance's, and waits for its ack.
    pub async fn call(
        &self,
        sid: &str,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
    ) -> Result<Args<'static>, CallError> {
        match Sid::parse(sid) {
            Some(sid) => self.hub.call(sid, event, args, timeout).await,
            None => Err(CallError::Gone),
        }
    }

    /// Disconnects a socket, wherever it is, and ends its transport.
    pub fn disconnect(&self, sid: &str) {
        if let Some(sid) = Sid::parse(sid) {
            self.hub.disconnect(sid, true);
        }
    }

    /// Everybody leaves the room.
    pub fn close_room(&self, room: &str) {
        self.hub.close_room("/", room);
    }

    /// All sessions of these users enter a room.
    pub async fn enter_for_users(&self, room: &str, user_ids: &[&str]) {
        for sid in self.sessions_of(user_ids) {
            self.enter(sid, room).await;
        }
    }

    /// All sessions of these users leave a room.
    pub fn leave_for_users(&self, room: &str, user_ids: &[&str]) {
        for sid in self.sessions_of(user_ids) {
            self.leave(sid, room);
        }
    }

    /// This instance's sessions of these users: the members of their own rooms.
    fn sessions_of(&self, user_ids: &[&str]) -> Vec<Sid> {
        let rooms = user_ids.iter().map(|id| format!("user:{id}"));
        rooms.flat_map(|room| self.hub.members(&room)).collect()
    }
}

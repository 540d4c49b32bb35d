//! Channels: who types and who has read; who is told of a new one enters it; members come and go.
//!
//! - [`newcomers`]: those who were told of a new one

mod newcomers;

use super::core::{Core, Fault, Sender};
use super::sessions::Sessions;
use crate::directory::type_of;
use crate::ground::rooms;
use crate::ground::tasks::LARGE;
use crate::socket::{Args, Sid, Target, To};
use newcomers::Newcomers;
use serde::Serialize;
use serde_json::value::RawValue;

/// The channels.
pub struct Channels {
    core: &'static Core,
    sessions: &'static Sessions,
    newcomers: &'static Newcomers,
}

#[derive(Serialize)]
struct Typing<'a> {
    channel_id: &'a str,
    message_id: Option<&'a str>,
    data: &'a RawValue,
    user: Typist<'a>,
}

#[derive(Serialize)]
struct Typist<'a> {
    id: &'a str,
    name: &'a str,
    role: &'a str,
}

impl Channels {
    pub fn new(core: &'static Core, sessions: &'static Sessions) -> Self {
        Self {
            core,
            sessions,
            newcomers: Newcomers::new(core, sessions),
        }
    }

    /// Is the session in the channel?
    ///
    /// # Errors
    /// It is not.
    pub fn check_member(&self, sid: Sid, channel_id: &str) -> Result<(), Fault> {
        match self.core.hub.is_in(sid, &rooms::of_channel(channel_id)) {
            true => Ok(()),
            false => Err(Fault::Denied("not in this channel")),
        }
    }

    /// Everybody in the channel sees who types, the sender included.
    pub fn type_in(
        &self,
        from: &Sender,
        channel_id: &str,
        message_id: Option<&str>,
        data: &RawValue,
    ) {
        let user = &from.who.user;
        let args = Args::one(&Typing {
            channel_id,
            message_id,
            data,
            user: Typist {
                id: &user.id,
                name: &user.name,
                role: &user.role,
            },
        });
        let room = rooms::of_channel(channel_id);
        let target = Target::room(&room);
        self.core.emit_news(from, &target, "events:channel", &args);
    }

    /// The member has read the channel up to now.
    ///
    /// # Errors
    /// The directory refuses.
    pub async fn mark_read(&self, from: &Sender, channel_id: &str) -> Result<(), Fault> {
        let directory = &self.core.directory;
        Ok(directory.mark_channel_read(&from.who, channel_id).await?)
    }

    /// The sessions of users who came to the channel enter its room, those of users who went leave it, on any instance.
    pub async fn members_changed(&self, channel_id: &str, added: &[String], removed: &[String]) {
        let room = rooms::of_channel(channel_id);
        self.sessions.enter_for_users(&room, added).await;
        self.sessions.leave_for_users(&room, removed).await;
    }

    /// The channel is gone.
    pub fn close(&self, channel_id: &str) {
        self.core.peers.close_room(&rooms::of_channel(channel_id));
    }

    /// A socket is about to enter a room.
    pub fn entering(&self, sid: Sid, room: &str) {
        if let Some(channel_id) = rooms::channel(room) {
            self.newcomers.entering(sid, channel_id);
        }
    }

    /// An event was emitted to sockets here, by whichever instance.
    pub fn emitted(&'static self, target: &Target<'_>, event: &str, args: &Args<'_>) {
        let To::Room(room) = target.to else { return };
        if event != "events:channel" {
            return;
        }
        if rooms::user(room).is_some() {
            // What is new is said in few words; of others all would have to be read.
            if args.json().len() <= LARGE && type_of(args).as_deref() == Some("channel:created") {
                self.newcomers.told(self.core.hub.members(room));
            }
        } else if let Some(channel_id) = rooms::channel(room) {
            self.newcomers.heard(channel_id, args);
        }
    }
}

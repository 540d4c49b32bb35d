//! What siskin does, one noun a part, each with its state, its rules and its tasks.
//!
//! - [`core`]: what all parts stand on
//! - [`identity`]: from a token to an identity
//! - [`sessions`]: signing in, the check every 30 s, being forgotten
//! - [`recovery`]: who takes up a session that lost its connection
//! - [`channels`], [`chats`]: who is in them, who types, who has read
//! - [`gone`]: why sessions ended
//! - [`joins`]: what the directory can't answer now is tried again
//! - [`notes`]: who may write them, and saving what their authors change
//! - [`documents`]: what several edit at once
//! - [`usage`]: which models are in use
//! - [`relay`]: what siskin does not know goes to Open WebUI
//! - [`limit`]: how much a user's sessions may send
//! - [`news`]: how much of what is soon old may be sent
//! - [`streams`]: what clients stream to a backend
//! - [`readers`]: who reads an answer over HTTP
//! - [`emitter`]: a backend streams into a chat
//! - [`calls`]: a backend asks one browser and waits

pub mod calls;
pub mod channels;
pub mod chats;
pub mod core;
pub mod documents;
pub mod emitter;
pub mod gone;
pub mod identity;
pub mod joins;
pub mod limit;
pub mod news;
pub mod notes;
pub mod readers;
pub mod recovery;
pub mod relay;
pub mod sessions;
pub mod streams;
pub mod usage;

use crate::ground::tasks::Tasks;
use crate::socket::Sid;
use calls::Calls;
use channels::Channels;
use chats::Chats;
use core::Core;
use documents::{Documents, Left};
use emitter::Emitters;
use gone::LastGone;
use joins::Joins;
use notes::Notes;
use readers::Readers;
use relay::Relays;
use sessions::Sessions;
use usage::Usage;

/// All parts of the application. Made once by `serve`, never dropped.
pub struct House {
    pub core: &'static Core,
    pub joins: &'static Joins,
    pub sessions: &'static Sessions,
    pub channels: &'static Channels,
    pub chats: &'static Chats,
    pub notes: &'static Notes,
    pub readers: &'static Readers,
    pub documents: &'static Documents,
    pub usage: &'static Usage,
    pub calls: &'static Calls,
    pub emitters: &'static Emitters,
    pub relays: &'static Relays,
    pub gone: LastGone,
    /// Requests of backends that change something: they go on when whoever asked goes.
    pub requests: Tasks,
    /// Events of clients that wait for something, beside others.
    pub events: Tasks,
    /// Runs as long as the server does.
    following: Tasks,
}

impl House {
    pub fn new(core: Core) -> &'static Self {
        let core: &'static Core = leak(core);
        let readers = leak(Readers::new(core));
        let chats = leak(Chats::new(core, readers));
        let joins = leak(Joins::new(core));
        let sessions = leak(Sessions::new(core, chats, joins, readers));
        let notes = leak(Notes::new(core));
        leak(Self {
            core,
            joins,
            sessions,
            channels: leak(Channels::new(core, sessions)),
            chats,
            notes,
            readers,
            documents: leak(Documents::new(core, notes)),
            usage: leak(Usage::new(core)),
            relays: leak(Relays::new(core)),
            calls: leak(Calls::new(core, sessions, chats)),
            emitters: leak(Emitters::new(core)),
            gone: LastGone::default(),
            requests: Tasks::new(core.executor),
            events: Tasks::new(core.executor),
            following: Tasks::new(core.executor),
        })
    }

    /// Follows what other instances do.
    pub fn start(&'static self) {
        self.following.spawn("follows sessions", async {
            self.sessions.follow_reaped().await;
        });
        self.following.spawn("follows users", async {
            self.sessions.follow_changes().await;
        });
        self.following.spawn("follows answers", async {
            loop {
                for answer in self.core.peers.answered_elsewhere().await {
                    if let Some((chat_id, message_id)) = answer.split_once('\n') {
                        self.readers.finished(chat_id, message_id);
                    }
                }
            }
        });
        self.following.spawn("follows the directory", async {
            self.sessions.follow_restarts().await;
        });
        self.documents.follow();
        if self.core.directory.emits_itself() {
            let peers = &self.core.peers;
            peers.set_writer(|note_id| self.documents.writer(note_id));
        }
    }

    /// The socket is gone, and with it what it had open. `lost`: so is its connection, for no reason of its own.
    pub fn forget(&self, sid: Sid, lost: bool) {
        self.joins.forget(sid);
        self.sessions.forget(sid);
        self.relays.forget(sid);
        let how = if lost { Left::Lost } else { Left::Gone };
        self.documents.close_all(sid, how);
    }

    /// Saves what can be saved while sockets still close.
    pub async fn save(&self) {
        self.notes.flush().await;
        self.documents.keep_all().await;
        if let Err(refusal) = self.core.directory.durable().await {
            log::error!("not everything could be saved: {refusal:?}");
        }
    }

    /// The names of the tasks that the end waits for.
    pub fn unfinished(&self) -> Vec<&'static str> {
        let parts = [
            &self.events,
            self.notes.tasks(),
            self.documents.tasks(),
            self.chats.tasks(),
        ];
        parts.into_iter().flat_map(Tasks::list).collect()
    }

    /// Says in the log what is lost with a server that goes down before everything is saved.
    pub fn log_unsaved(&self) {
        for note_id in self.notes.dirty() {
            log::error!("note {note_id:?}: its last changes can't be saved and are lost");
        }
    }

    /// No question waits for another session any more: none will come. Nobody reads on.
    pub fn end_calls(&self) {
        self.calls.end();
        self.readers.end();
    }

    /// The end, when all sockets have gone: waits until everything is saved that can be, and the others know of it. The
    /// caller limits the time.
    pub async fn close(&self) {
        self.events.idle().await;
        self.notes.flush().await;
        self.documents.keep_all().await;
        self.log_unsaved();
        self.documents.tasks().idle().await;
        self.chats.tasks().idle().await;
        self.core.peers.close().await;
    }
}

fn leak<T>(part: T) -> &'static T {
    Box::leak(Box::new(part))
}

//! The handles that events and the API share, and what they ask of whichever instances there are.

use crate::Executor;
use crate::backplane::Backplane;
use crate::config::Config;
use crate::directory::{Directory, Identity};
use crate::socket::{Hub, Sid};
use crate::state::State;
use crate::state::documents::Documents;
use crate::state::editing::Editing;
use crate::state::others::Others;
use crate::state::sessions::Sessions;
use crate::state::streams::{Pushed, Streams};
use crate::state::told::Told;
use crate::state::usage::Usage;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Everything a handler may need. Made once, by `serve`.
pub struct House {
    pub config: Rc<Config>,
    pub executor: Executor,
    /// This instance's sockets; what concerns other instances too goes through `backplane`.
    pub hub: Rc<Hub>,
    pub backplane: Backplane,
    pub directory: Directory,
    /// Signed-in sockets of this instance.
    pub sessions: Rc<Sessions>,
    /// Models in use by sockets of this instance.
    pub usage: Rc<Usage>,
    pub streams: Streams,
    pub documents: Documents,
    /// What other instances know.
    pub others: Others,
    /// Notes that sessions of this instance edit.
    pub editing: Editing,
    pub told: Told,
    /// Sockets whose token the directory could not judge yet.
    pub waiting: RefCell<BTreeMap<Sid, Rc<str>>>,
    /// Chats whose presence is being asked for; `true`: ask again.
    pub asking: RefCell<HashMap<Rc<str>, bool>>,
    /// Documents that sockets left behind when they went, and that are being closed.
    pub closing: Cell<usize>,
    /// Whether the task is running that retries `waiting`, re-checks sessions, sweeps the usage pool.
    pub retrying: Cell<bool>,
    pub checking: Cell<bool>,
    pub sweeping: Cell<bool>,
}

impl House {
    pub fn new(
        config: Rc<Config>,
        executor: Executor,
        backplane: Backplane,
        directory: Directory,
        state: State,
    ) -> Rc<Self> {
        Rc::new(Self {
            config,
            executor,
            hub: backplane.hub().clone(),
            backplane,
            directory,
            sessions: state.sessions,
            usage: state.usage,
            streams: Streams::default(),
            documents: state.documents,
            others: state.others,
            editing: Editing::default(),
            told: Told::default(),
            waiting: RefCell::default(),
            asking: RefCell::default(),
            closing: Cell::new(0),
            retrying: Cell::new(false),
            checking: Cell::new(false),
            sweeping: Cell::new(false),
        })
    }

    /// Has this token been revoked since it was made? Alone, nobody can revoke one.
    pub async fn revoked(&self, who: &Identity) -> bool {
        self.others.revoked(&[who]).await.contains(&true)
    }

    /// Id and name of everybody who has the chat open, on any instance, by id.
    pub async fn viewers(&self, chat_id: &str) -> BTreeMap<String, String> {
        let mut viewers = self.others.viewers(chat_id).await;
        viewers.extend(self.viewers_here(chat_id));
        viewers
    }

    /// The same on this instance.
    pub fn viewers_here(&self, chat_id: &str) -> BTreeMap<String, String> {
        let members = self.hub.members(&format!("chat:{chat_id}"));
        self.sessions.viewers(chat_id, &members)
    }

    /// The user behind a sid of any instance; `None` when it is not signed in anywhere.
    pub async fn owner(&self, sid: &str) -> Option<String> {
        let here = Sid::parse(sid).and_then(|sid| self.sessions.who(sid));
        match here {
            Some(who) => Some(who.user.id.clone()),
            None => self.others.owner(sid).await,
        }
    }

    /// Another session of the user, on any instance, that has the chat open.
    pub async fn with_chat_open(&self, user_id: &str, chat_id: &str, but: &str) -> Option<String> {
        match self.sessions.with_chat_open(user_id, chat_id, but) {
            Some(sid) => Some(sid.as_str().to_owned()),
            None => self.others.with_chat_open(user_id, chat_id, but).await,
        }
    }

    /// The models in use on any instance, sorted.
    pub async fn models_in_use(&self) -> Vec<String> {
        let mut models = self.others.models_in_use().await;
        models.extend(self.usage.models());
        models.into_iter().collect()
    }

    /// Every session of these users, on any instance.
    pub async fn sessions_of(&self, user_ids: &[&str]) -> Vec<String> {
        let rooms = user_ids.iter().map(|id| format!("user:{id}"));
        let here = rooms.flat_map(|room| self.hub.members(&room));
        let here = here.map(|sid| sid.as_str().to_owned());
        let mut sids: BTreeSet<String> = here.collect();
        sids.extend(self.others.sessions_of(user_ids).await);
        sids.into_iter().collect()
    }

    /// All sessions of these users enter a room, on any instance.
    pub async fn enter_for_users(&self, room: &str, user_ids: &[&str]) {
        for sid in self.sessions_of(user_ids).await {
            self.backplane.enter_anywhere(&sid, room).await;
        }
    }

    /// All sessions of these users leave a room, on any instance.
    pub async fn leave_for_users(&self, room: &str, user_ids: &[&str]) {
        for sid in self.sessions_of(user_ids).await {
            self.backplane.leave_anywhere(&sid, room);
        }
    }

    /// Hands an event of a client's stream to whoever listens to it, on any instance. Whether somebody of another
    /// instance does can't be told.
    pub fn publish_stream(&self, name: &str, data: &RawValue) -> Pushed {
        match self.streams.push(name, data) {
            Pushed::Nobody if self.backplane.stream(name, data) => Pushed::Taken,
            pushed => pushed,
        }
    }

    /// Takes what clients of other instances stream to a backend of this one.
    pub fn take_streams(self: &Rc<Self>) {
        let house = Rc::downgrade(self);
        self.backplane.on_stream(move |name, data| {
            if let Some(house) = house.upgrade() {
                house.streams.push(name, data);
            }
        });
    }

    /// Whether traffic may come, and what is not as it should be.
    pub fn readiness(&self) -> Readiness {
        let parts = [self.directory.degraded(), self.backplane.degraded()];
        let reasons: Vec<String> = parts.into_iter().flatten().collect();
        Readiness {
            ready: reasons.is_empty(),
            reasons,
        }
    }

    /// Saves what is pending; called once, when the server goes down.
    pub async fn flush(&self) {
        if let Err(refusal) = self.directory.durable().await {
            log::error!("not everything could be saved: {refusal:?}");
        }
    }
}

/// What `/ready` says.
pub struct Readiness {
    pub ready: bool,
    /// A sentence for each thing that is wrong.
    pub reasons: Vec<String>,
}

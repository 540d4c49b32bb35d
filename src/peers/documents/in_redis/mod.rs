//! Documents that several instances share, in Redis, as the reference application keeps them: a list of updates, a
//! set of sessions, a counter of bytes each, and what every session has open.
//!
//! Every change is a few steps under the document's lock, each a script on one key, since in a Cluster the keys of a document are
//! on different servers. In whatever step we die, no update is lost: bytes are counted before the update is
//! stored (so the counter may be too high until the next squash sets it right), and a squash replaces the older
//! half of the list in one step, and only if that half is still what was read. An update is published in the step that
//! stores it.

mod ended;
mod kept;
mod merged;
mod scripts;
mod sessions;
mod squash;
mod vectors;

use super::bytes::ints;
use super::history::{LIGHT, MAX_BLOCKS, MAX_BYTES, Rejected, SQUASH_AT, check_aside};
use super::open::Open;
use super::update::Contents;
use super::vector::Vector;
use super::{Away, Seed, Tell, Version};
use crate::ground::tasks::{Bell, Executor, Tasks, aside_if};
use crate::metrics::{self, Counter};
use crate::peers::outgoing::Outgoing;
use crate::peers::shared::SharedPools;
use crate::peers::shared::lease::Lease;
use crate::peers::shared::locks::{Locks, Trouble};
use crate::peers::shared::tasks::SaveTasks;
use crate::redis::{CommandError, Redis, Script};
use crate::socket::Sid;
use kept::Before;
use merged::Merged;
use scripts::{PUSH, REMOVE, RESERVE};
use smol::Timer;
use smol::future::zip;
use smol::lock::Mutex as Order;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

/// How long after it was found that another instance has ended a document nobody is about to say so any more.
const UNHEARD: Duration = Duration::from_secs(1);

/// What this instance knows about a document that one of its sessions has open.
#[derive(Default)]
struct Known {
    /// Bytes of its updates, as counted last.
    size: usize,
    /// Blocks of its updates: what was counted when it was merged last, and what came from here since.
    blocks: usize,
    squashing: bool,
    /// Something was deleted since all of it was squashed.
    deleted: bool,
    /// What is stored without a gap, while that is known.
    vector: Option<Vector>,
    /// Stored updates that are none.
    bad: usize,
    /// Held by whoever reads its state: others may then have the same.
    reading: Rc<Order<()>>,
    before: Before,
}

/// The documents.
pub struct InRedis {
    owner: Tasks,
    redis: Redis,
    locks: Rc<Locks>,
    tasks: Rc<SaveTasks>,
    open: Open,
    known: RefCell<HashMap<Rc<str>, Known>>,
    /// What large ones were when they were read last.
    merged: RefCell<Vec<Rc<Merged>>>,
    /// The last version of any of them.
    version: Cell<Version>,
    /// Closed while Redis could not be told, by document and session; without a session, it may have to be cleared.
    owed: RefCell<HashSet<(Rc<str>, Option<Sid>)>>,
    /// Those that sessions here had open when another instance ended them, as was found later.
    outdated: RefCell<BTreeSet<Rc<str>>>,
    found: Bell,
    /// Whether the documents could not be reached last time, which is said once.
    away: Cell<bool>,
    /// The connections of Redis over which updates were sent and heard when it was last looked what was missed.
    heard: Cell<(u64, u64)>,
}

impl InRedis {
    pub fn start(executor: Executor, redis: Redis, shared: &SharedPools) -> Rc<Self> {
        let documents = Rc::new(Self {
            owner: Tasks::new(executor),
            redis,
            locks: shared.locks.clone(),
            tasks: shared.tasks.clone(),
            open: Open::default(),
            known: RefCell::default(),
            merged: RefCell::default(),
            version: Cell::default(),
            owed: RefCell::default(),
            outdated: RefCell::default(),
            found: Bell::default(),
            away: Cell::new(false),
            heard: Cell::default(),
        });
        let reconcile = documents.clone();
        documents.owner.spawn("reconciles documents", async move {
            reconcile.keep_reconciling().await;
        });
        documents
    }

    pub fn is_open(&self, id: &str, sid: Sid) -> bool {
        self.open.is_open(id, sid)
    }

    pub fn of(&self, sid: Sid) -> Vec<Rc<str>> {
        self.open.of(sid)
    }

    pub async fn append(
        self: &Rc<Self>,
        id: &str,
        update: &[u8],
        is_news: bool,
        tell: Tell<'_>,
    ) -> Result<Contents, Rejected> {
        let mut contents = check_aside(update).await?;
        if contents.is_empty() {
            return Ok(contents);
        }
        if self.is_unmended(id, update, is_news).await {
            return Err(Rejected::Unmended);
        }
        self.check_depth(id, update).await?;
        self.make_room(id, contents.weight()).await?;
        let new = New {
            update,
            blocks: contents.weight(),
            first: false,
            outgoing: tell(),
        };
        let stored = match self.store(id, &new).await? {
            Stored::Full if self.squash_whole(id).await? => self.store(id, &new).await?,
            stored => stored,
        };
        match stored {
            Stored::Now => {
                contents.missing = self.take(id, update).await;
                self.with_known(id, |known| known.deleted |= contents.deletions > 0);
                Ok(contents)
            }
            Stored::Ended => Err(Rejected::Away),
            Stored::Full | Stored::NotFirst => Err(Rejected::TooLarge),
        }
    }

    pub async fn seed(
        self: &Rc<Self>,
        id: &str,
        update: &[u8],
        tell: Tell<'_>,
    ) -> Result<Seed, Rejected> {
        let mut contents = match check_aside(update).await {
            // An offer that is none wins nothing, but whoever makes it learns what there is.
            Err(rejected) => {
                let state = self.bytes(id).await?;
                return state.map(Seed::Lost).ok_or(rejected);
            }
            Ok(contents) => contents,
        };
        if !contents.is_empty() {
            self.check_depth(id, update).await?;
            let new = New {
                update,
                blocks: contents.weight(),
                first: true,
                outgoing: tell(),
            };
            match self.store(id, &new).await? {
                Stored::Now => {
                    contents.missing = self.take(id, update).await;
                    return Ok(Seed::Won(contents));
                }
                Stored::Ended => return Err(Rejected::Away),
                Stored::Full => return Err(Rejected::TooLarge),
                Stored::NotFirst => {}
            }
        }
        let state = self.bytes(id).await?;
        Ok(state.map_or(Seed::Won(contents), Seed::Lost))
    }

    /// Under the lock, so that nobody comes in between.
    pub async fn clear_unused(&self, id: &str) -> bool {
        let key = self.locks.of_document(id);
        let clear = async |lease: &Lease| {
            let mut users = redis::cmd("SCARD");
            users.arg(self.key(id, "users"));
            if self.redis.query::<usize>(users).await? > 0 || self.tasks.is_any(id).await? {
                return Ok(false);
            }
            self.keep_updates(lease, id).await?;
            self.step(lease, &REMOVE, id, "updates", &[]).await?;
            self.step(lease, &REMOVE, id, "size", &[]).await?;
            Ok(true)
        };
        match self.locks.with(&key, clear).await {
            Ok(cleared) => cleared,
            Err(fault) => {
                self.owe(id, None, &fault);
                false
            }
        }
    }

    /// See [`super::SharedDocuments::missed`].
    pub async fn missed(&self) -> Vec<Rc<str>> {
        let heard = self.redis.heard_anew(self.heard.get()).await;
        self.heard.set(heard);
        let mut known = self.known.borrow_mut();
        known.values_mut().for_each(|known| known.vector = None);
        drop(known);
        let open: BTreeSet<Rc<str>> = self.open.all().into_iter().map(|(id, _)| id).collect();
        open.into_iter().collect()
    }

    /// See [`super::SharedDocuments::outdated`].
    pub async fn outdated(&self) -> BTreeSet<Rc<str>> {
        let any = || (!self.outdated.borrow().is_empty()).then_some(());
        self.found.until(any).await;
        // The other instance is about to say so.
        Timer::after(UNHEARD).await;
        self.outdated.take()
    }

    pub fn figures(&self) -> (usize, usize) {
        let known = self.known.borrow();
        (known.len(), known.values().map(|known| known.size).sum())
    }

    /// Stores an update, and tells the others of it in the same step.
    async fn store(self: &Rc<Self>, id: &str, new: &New<'_>) -> Result<Stored, Away> {
        let (bytes, most) = (new.update.len().to_string(), MAX_BYTES.to_string());
        let update = new.update.to_vec();
        let json = aside_if(update.len() > LIGHT, move || ints(&update)).await;
        let mut push = vec![json.as_bytes()];
        if let Some(outgoing) = &new.outgoing {
            push.extend([outgoing.channel.as_bytes(), outgoing.message.as_bytes()]);
        }
        let store = async |lease: &Lease| {
            if new.first && self.len(id).await? > 0 {
                return Ok((Stored::NotFirst, 0, 0));
            }
            let args = [bytes.as_bytes(), most.as_bytes()];
            let reserve = self.step(lease, &RESERVE, id, "size", &args);
            let (ended, size) = zip(self.has_ended(id), reserve).await;
            let size = size?;
            if ended? {
                // Where there is something, the counter is too high until the next squash.
                if self.len(id).await? == 0 {
                    self.step(lease, &REMOVE, id, "size", &[]).await?;
                }
                return Ok((Stored::Ended, 0, 0));
            }
            if size < 0 {
                return Ok((Stored::Full, 0, 0));
            }
            let len = self.step(lease, &PUSH, id, "updates", &push).await?;
            Ok((Stored::Now, size, len))
        };
        let stored = self.locks.with(&self.locks.of_document(id), store).await;
        let (stored, size, len) = stored.map_err(|fault| self.fault(id, &fault))?;
        self.away.set(false);
        if let Stored::Ended = stored {
            self.outdated.borrow_mut().insert(id.into());
            self.found.ring();
        }
        if let Stored::Now = stored {
            self.with_known(id, |known| {
                known.size = usize::try_from(size).unwrap_or(0);
                known.blocks += new.blocks;
            });
            if new.outgoing.is_some() {
                metrics::add(Counter::BackplaneOut, 1);
                self.redis.subscriber().published();
            }
            if len >= SQUASH_AT as i64 {
                self.squash_later(id);
            }
        }
        Ok(stored)
    }

    /// Counts the blocks again when what came from here since may have made them too many.
    async fn make_room(&self, id: &str, blocks: usize) -> Result<(), Rejected> {
        let counted = || self.known.borrow().get(id).map_or(0, |known| known.blocks);
        if counted() + blocks > MAX_BLOCKS {
            self.state(id).await?;
        }
        match counted() + blocks > MAX_BLOCKS {
            true => Err(Rejected::TooLarge),
            false => Ok(()),
        }
    }

    fn len(&self, id: &str) -> impl Future<Output = Result<usize, CommandError>> {
        let mut len = redis::cmd("LLEN");
        len.arg(self.key(id, "updates"));
        self.redis.query(len)
    }

    /// The updates up to this one, as they are stored.
    fn read(
        &self,
        id: &str,
        last: isize,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, CommandError>> {
        let mut range = redis::cmd("LRANGE");
        range.arg(self.key(id, "updates")).arg(0).arg(last);
        self.redis.query(range)
    }

    async fn step(
        &self,
        lease: &Lease,
        script: &Script,
        id: &str,
        what: &str,
        args: &[&[u8]],
    ) -> Result<i64, Trouble> {
        self.locks
            .step(lease, script, &self.key(id, what), args)
            .await
    }

    fn key(&self, id: &str, what: &str) -> String {
        self.redis.key(&format!("ydoc:documents:{id}:{what}"))
    }

    fn with_known(&self, id: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.borrow_mut().get_mut(id) {
            change(known);
        }
    }

    fn fault(&self, id: &str, fault: &CommandError) -> Away {
        if !self.away.replace(true) {
            log::warn!("document {id:?} and maybe others can't be reached: {fault}");
        }
        Away
    }
}

/// A checked update that is to be stored.
struct New<'a> {
    update: &'a [u8],
    blocks: usize,
    /// Only into an empty document.
    first: bool,
    /// What others are told of it.
    outgoing: Option<Outgoing>,
}

/// What became of it.
enum Stored {
    Now,
    /// There is no room.
    Full,
    /// There is something already.
    NotFirst,
    /// It is for a document that another instance has ended.
    Ended,
}

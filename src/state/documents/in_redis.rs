//! Documents that several instances share, in Redis, as the reference application keeps them: a list of updates, a
//! set of sessions, a counter of bytes each, and what every session has open.
//!
//! Every change is a few steps under the document's lock, each a script on one key, since in a Cluster the keys of a document are
//! on different servers. In whatever step we die, no update is lost: bytes are counted before the update is
//! stored (so the counter may be too high until the next squash sets it right), and a squash replaces the older
//! half of the list in one step, and only if that half is still what was read. An update is published in the step that
//! stores it.

use super::bytes::{ints, read_ints};
use super::compact::Compacted;
use super::history::{MAX_BLOCKS, MAX_BYTES, Rejected, SQUASH_AT, check, merge};
use super::open::{Entered, Open};
use super::update::Contents;
use super::{Away, Seed, Tell};
use crate::Executor;
use crate::backplane::Outgoing;
use crate::metrics::{self, Counter};
use crate::redis::{Fault, Redis, Script};
use crate::socket::Sid;
use crate::state::shared::lease::Lease;
use crate::state::shared::locks::{Locks, Trouble, fenced};
use crate::state::shared::tasks::Tasks;
use crate::state::shared::{Shared, first_refusal};
use data_encoding::HEXLOWER;
use redis::Cmd;
use sha1::{Digest as _, Sha1};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// A full document is squashed whole to make room when it has more updates than this, so that whoever keeps writing into a
/// full one does not cost a merge each time.
const WORTH_SQUASHING: usize = 16;
/// Closed documents that are remembered while Redis is away; what is over it, is left to whoever reaps the sessions.
const MOST_OWED: usize = 10_000;

/// Counts an update's bytes. `ARGV`: its bytes, the most in all. Returns the bytes in all; -2 if those were too many.
static RESERVE: Script = Script::new(fenced!(
    r"
local size = (tonumber(redis.call('GET', KEYS[1]) or 0) or 0) + ARGV[2]
if size > tonumber(ARGV[3]) then return -2 end
redis.call('SET', KEYS[1], string.format('%d', size))
return size
"
));

/// Stores an update and publishes it. `ARGV`: the update, and if others are told, the channel and what they are told.
/// Returns how many there are.
static PUSH: Script = Script::new(fenced!(
    r"
local count = redis.call('RPUSH', KEYS[1], ARGV[2])
if ARGV[3] then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end
return count
"
));

/// Sets a value.
static SET: Script = Script::new(fenced!("redis.call('SET', KEYS[1], ARGV[2]) return 1"));

/// Removes a key.
static REMOVE: Script = Script::new(fenced!("return redis.call('DEL', KEYS[1])"));

/// Replaces the first updates. `ARGV`: how many, the hash of what they were, and the update that replaces them.
/// Returns the bytes of all updates after them; -2 if they are not what they were.
static REPLACE: Script = Script::new(fenced!(
    r"
local count = tonumber(ARGV[2])
local all = redis.call('LRANGE', KEYS[1], 0, -1)
if #all < count then return -2 end
local old = table.concat(all, '\n', 1, count)
if redis.sha1hex(old) ~= ARGV[3] then return -2 end
redis.call('LTRIM', KEYS[1], count, -1)
redis.call('LPUSH', KEYS[1], ARGV[4])
local bytes = 0
for i = count + 1, #all do
  local _, commas = string.gsub(all[i], ',', '')
  bytes = bytes + commas + 1
end
return bytes
"
));

/// What this instance knows about a document that one of its sessions has open.
#[derive(Default)]
struct Known {
    /// Bytes of its updates, as counted last.
    size: usize,
    /// Blocks of its updates: what was counted when it was merged last, and what came from here since.
    blocks: usize,
    squashing: bool,
}

/// The documents.
pub struct InRedis {
    executor: Executor,
    redis: Redis,
    locks: Rc<Locks>,
    tasks: Rc<Tasks>,
    open: Open,
    known: RefCell<HashMap<Rc<str>, Known>>,
    /// Closed while Redis could not be told, by document and session; without a session, it may have to be cleared.
    owed: RefCell<BTreeSet<(Rc<str>, Option<Sid>)>>,
    /// Whether the documents could not be reached last time, which is said once.
    away: Cell<bool>,
    /// The connections of Redis over which updates were sent and heard when it was last looked what was missed.
    heard: Cell<(u64, u64)>,
}

impl InRedis {
    pub fn start(executor: Executor, redis: Redis, shared: &Shared) -> Rc<Self> {
        let documents = Rc::new(Self {
            executor,
            redis,
            locks: shared.locks.clone(),
            tasks: shared.tasks.clone(),
            open: Open::default(),
            known: RefCell::default(),
            owed: RefCell::default(),
            away: Cell::new(false),
            heard: Cell::default(),
        });
        let reconcile = documents.clone();
        executor
            .spawn(async move { reconcile.keep_reconciling().await })
            .detach();
        documents
    }

    pub async fn join(&self, id: &str, sid: Sid) -> Result<bool, Away> {
        let entered = self.open.enter(id, sid);
        if let Entered::Full = entered {
            return Ok(false);
        }
        let key = self.locks.of_document(id);
        let add = async |_: &Lease| {
            let added = self
                .redis
                .pipeline(self.membership("SADD", id, sid.as_str()).into())
                .await?;
            Ok(first_refusal(added)?)
        };
        match self.locks.with(&key, add).await {
            Ok(()) => {
                self.away.set(false);
                if let Entered::Now(id) = entered {
                    self.known.borrow_mut().entry(id).or_default();
                }
                self.owed.borrow_mut().remove(&(id.into(), Some(sid)));
                Ok(true)
            }
            Err(fault) => {
                if let Entered::Now(_) = entered {
                    self.leave(id, sid).await;
                }
                Err(self.fault(id, &fault))
            }
        }
    }

    pub async fn leave(&self, id: &str, sid: Sid) {
        self.open.leave(id, sid);
        if self.open.sessions(id).is_empty() {
            self.known.borrow_mut().remove(id);
        }
        let removed = self
            .redis
            .pipeline(self.membership("SREM", id, sid.as_str()).into())
            .await;
        if let Err(fault) = removed.and_then(first_refusal) {
            self.owe(id, Some(sid), &fault);
        }
    }

    pub fn is_open(&self, id: &str, sid: Sid) -> bool {
        self.open.is_open(id, sid)
    }

    pub fn of(&self, sid: Sid) -> Vec<Rc<str>> {
        self.open.of(sid)
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

    pub async fn append(
        self: &Rc<Self>,
        id: &str,
        update: &[u8],
        tell: Tell<'_>,
    ) -> Result<Contents, Rejected> {
        let contents = check(update)?;
        if contents.is_empty() {
            return Ok(contents);
        }
        self.make_room(id, contents.blocks).await?;
        let new = New {
            update,
            blocks: contents.blocks,
            first: false,
            outgoing: tell(),
        };
        let stored = match self.store(id, &new).await? {
            Stored::Full if self.squash_whole(id).await? => self.store(id, &new).await?,
            stored => stored,
        };
        match stored {
            Stored::Now => Ok(contents),
            Stored::Full | Stored::NotFirst => Err(Rejected::TooLarge),
        }
    }

    pub async fn seed(
        self: &Rc<Self>,
        id: &str,
        update: &[u8],
        tell: Tell<'_>,
    ) -> Result<Seed, Rejected> {
        let contents = match check(update) {
            // An offer that is none wins nothing, but whoever makes it learns what there is.
            Err(rejected) => {
                let state = self.state(id).await?;
                return state.map(Seed::Lost).ok_or(rejected);
            }
            Ok(contents) => contents,
        };
        if !contents.is_empty() {
            let new = New {
                update,
                blocks: contents.blocks,
                first: true,
                outgoing: tell(),
            };
            match self.store(id, &new).await? {
                Stored::Now => return Ok(Seed::Won(contents)),
                Stored::Full => return Err(Rejected::TooLarge),
                Stored::NotFirst => {}
            }
        }
        let state = self.state(id).await?;
        Ok(state.map_or(Seed::Won(contents), Seed::Lost))
    }

    pub async fn state(&self, id: &str) -> Result<Option<Vec<u8>>, Away> {
        let read = match self.locks.must_lock_to_read() {
            true => {
                let key = self.locks.of_document(id);
                let read = async |_: &Lease| Ok(self.read(id, -1).await?);
                self.locks.with(&key, read).await
            }
            false => self.read(id, -1).await,
        };
        let updates = read.map_err(|fault| self.fault(id, &fault))?;
        self.away.set(false);
        if updates.is_empty() {
            return Ok(None);
        }
        let Some(merged) = merge_all(&updates).or_else(|| merge_good(id, &updates)) else {
            return Ok(None);
        };
        self.with_known(id, |known| known.blocks = merged.blocks);
        Ok(Some(merged.bytes))
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

    pub async fn evict(&self, sid: &str) {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(
            self.redis
                .key(&format!("ydoc:documents:session:{sid}:documents")),
        );
        let ids: Vec<String> = self.redis.query(members).await.unwrap_or_default();
        for id in ids {
            let _ = self
                .redis
                .pipeline(self.membership("SREM", &id, sid).into())
                .await;
            self.clear_unused(&id).await;
        }
    }

    /// See [`super::Documents::missed`].
    pub async fn missed(&self) -> Vec<Rc<str>> {
        let heard = self.redis.heard_anew(self.heard.get()).await;
        self.heard.set(heard);
        let open: BTreeSet<Rc<str>> = self.open.all().into_iter().map(|(id, _)| id).collect();
        open.into_iter().collect()
    }

    pub fn figures(&self) -> (usize, usize) {
        let known = self.known.borrow();
        (known.len(), known.values().map(|known| known.size).sum())
    }

    /// Stores an update, and tells the others of it in the same step.
    async fn store(self: &Rc<Self>, id: &str, new: &New<'_>) -> Result<Stored, Away> {
        let (bytes, most, json) = (
            new.update.len().to_string(),
            MAX_BYTES.to_string(),
            ints(new.update),
        );
        let mut push = vec![json.as_bytes()];
        if let Some(outgoing) = &new.outgoing {
            push.extend([outgoing.channel.as_bytes(), outgoing.message.as_bytes()]);
        }
        let store = async |lease: &Lease| {
            if new.first && self.len(id).await? > 0 {
                return Ok((Stored::NotFirst, 0, 0));
            }
            let args = [bytes.as_bytes(), most.as_bytes()];
            let size = self.step(lease, &RESERVE, id, "size", &args).await?;
            if size < 0 {
                return Ok((Stored::Full, 0, 0));
            }
            let len = self.step(lease, &PUSH, id, "updates", &push).await?;
            Ok((Stored::Now, size, len))
        };
        let stored = self.locks.with(&self.locks.of_document(id), store).await;
        let (stored, size, len) = stored.map_err(|fault| self.fault(id, &fault))?;
        self.away.set(false);
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

    /// Squashes the older half after the update that made it necessary has been passed on.
    fn squash_later(self: &Rc<Self>, id: &str) {
        let mut start = false;
        self.with_known(id, |known| {
            start = !std::mem::replace(&mut known.squashing, true)
        });
        if !start {
            return;
        }
        let (this, id) = (self.clone(), id.to_owned());
        let squash = async move {
            if let Err(fault) = this.squash(&id, SQUASH_AT / 2).await {
                log::debug!("{id:?} is not squashed: {fault}");
            }
            this.with_known(&id, |known| known.squashing = false);
        };
        self.executor.spawn(squash).detach();
    }

    /// Squashes all of it, if that is worth it. Whether it was.
    async fn squash_whole(&self, id: &str) -> Result<bool, Away> {
        let squash = async {
            let len = self.len(id).await?;
            Ok(len > WORTH_SQUASHING && self.squash(id, len).await?)
        };
        squash.await.map_err(|fault| self.fault(id, &fault))
    }

    /// Makes one update of the first ones. `false` when somebody else did meanwhile, or they can't be merged.
    async fn squash(&self, id: &str, count: usize) -> Result<bool, Fault> {
        let old = self.read(id, count as isize - 1).await?;
        let updates: Vec<&[u8]> = old.iter().map(Vec::as_slice).collect();
        let hash = HEXLOWER.encode(&Sha1::digest(updates.join(&b'\n')));
        let Some(merged) = merge_all(&old) else {
            log::error!(
                "the first {} updates of {id:?} can't be squashed",
                old.len()
            );
            return Ok(false);
        };
        let (count, json) = (old.len().to_string(), ints(&merged.bytes));
        let replace = async |lease: &Lease| {
            let args = [count.as_bytes(), hash.as_bytes(), json.as_bytes()];
            let rest = self.step(lease, &REPLACE, id, "updates", &args).await?;
            let Ok(rest) = usize::try_from(rest) else {
                return Ok(false);
            };
            let size = rest + merged.bytes.len();
            self.step(lease, &SET, id, "size", &[size.to_string().as_bytes()])
                .await?;
            self.with_known(id, |known| known.size = size);
            Ok(true)
        };
        self.locks.with(&self.locks.of_document(id), replace).await
    }

    async fn len(&self, id: &str) -> Result<usize, Fault> {
        let mut len = redis::cmd("LLEN");
        len.arg(self.key(id, "updates"));
        self.redis.query(len).await
    }

    /// The updates up to this one, as they are stored.
    async fn read(&self, id: &str, last: isize) -> Result<Vec<Vec<u8>>, Fault> {
        let mut range = redis::cmd("LRANGE");
        range.arg(self.key(id, "updates")).arg(0).arg(last);
        self.redis.query(range).await
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

    /// Adds or removes a session, on both sides.
    fn membership(&self, command: &str, id: &str, sid: &str) -> [Cmd; 2] {
        let mut users = redis::cmd(command);
        users.arg(self.key(id, "users")).arg(sid);
        let mut documents = redis::cmd(command);
        let key = format!("ydoc:documents:session:{sid}:documents");
        documents.arg(self.redis.key(&key)).arg(id);
        [users, documents]
    }

    fn key(&self, id: &str, what: &str) -> String {
        self.redis.key(&format!("ydoc:documents:{id}:{what}"))
    }

    fn with_known(&self, id: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.borrow_mut().get_mut(id) {
            change(known);
        }
    }

    fn fault(&self, id: &str, fault: &Fault) -> Away {
        if !self.away.replace(true) {
            log::warn!("document {id:?} and maybe others can't be reached: {fault}");
        }
        Away
    }

    /// Redis could not be told that somebody left: it is told when it is back.
    fn owe(&self, id: &str, sid: Option<Sid>, fault: &Fault) {
        log::debug!("document {id:?} is not left yet: {fault}");
        let mut owed = self.owed.borrow_mut();
        if owed.len() < MOST_OWED {
            owed.insert((id.into(), sid));
        }
    }

    /// After each reconnect: who left has left, who is here is in, also when Redis forgot everything.
    async fn keep_reconciling(&self) {
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
                        self.leave(&id, sid).await;
                        self.clear_unused(&id).await;
                    }
                    None => drop(self.clear_unused(&id).await),
                }
            }
        }
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
}

impl From<Away> for Rejected {
    fn from(_: Away) -> Self {
        Self::Away
    }
}

/// One update of all; `None` when one of them is none.
fn merge_all(stored: &[Vec<u8>]) -> Option<Compacted> {
    let updates: Option<Vec<Vec<u8>>> = stored.iter().map(|json| read_ints(json)).collect();
    merge(updates?.iter().map(Vec::as_slice).collect())
}

/// One update of those that are one, which is what another process may have stored.
fn merge_good(id: &str, stored: &[Vec<u8>]) -> Option<Compacted> {
    let mut updates: Vec<Vec<u8>> = stored.iter().filter_map(|json| read_ints(json)).collect();
    updates.retain(|update| check(update).is_ok());
    let (bad, all) = (stored.len() - updates.len(), stored.len());
    log::error!("{bad} of {all} stored updates of {id:?} are none");
    merge(updates.iter().map(Vec::as_slice).collect())
}

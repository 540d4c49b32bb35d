//! What is kept of a note's document that everybody has left, while somebody who was cut off may come back with it: whoever opens
//! the note next goes on with it, so that its text is not there twice.
//!
//! A hash of siskin's own beside the reference's keys: what the note says that the document belongs to, whether somebody was cut
//! off, and the updates once nobody has it open. Does the note say something else when it is opened, somebody else wrote it, and
//! that wins: the document has ended. Then it says which clocks that one had, by which whoever comes back with it is known,
//! and what is left of it, with which the next one begins; and it has another epoch, the time when a document was begun. The
//! same when the note is removed.

use super::scripts::{KEEP, REMOVE, RENEW, RESTORE, SET};
use super::squash::{is_large, merge_stored};
use super::{InRedis, Known};
use crate::ground::names::note_of_document;
use crate::ground::tasks::{LARGE, aside, aside_if};
use crate::peers::documents::bury::bury;
use crate::peers::documents::history::MOST_BURIED;
use crate::peers::documents::update::Id;
use crate::peers::documents::vector::Vector;
use crate::peers::shared::lease::Lease;
use crate::peers::shared::locks::Trouble;
use crate::peers::shared::print;
use crate::redis::CommandError;
use redis::{Cmd, Value};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long it is kept after its last change, in seconds.
const LIFETIME: &str = "86400";

const KEPT: &str = "kept";
const CONTENT: &str = "content";
const CUT_OFF: &str = "cut_off";
const UPDATES: &str = "updates";
const ENDED: &str = "ended";
const EPOCH: &str = "epoch";
const REMAINS: &str = "remains";
const GOES_ON: &str = "goes_on";

/// What is known of the documents that a note had before this one.
#[derive(Clone, Default)]
pub(super) struct Before {
    /// What somebody may have of them.
    pub ended: Vector,
    /// Which one this is; `None`: it was not begun here.
    pub epoch: Option<u64>,
    /// What is left of them, which the next one begins with; not there once that has begun.
    pub remains: Option<Vec<u8>>,
    pub goes_on: GoesOn,
}

/// Whether the one that had ended goes on, with what somebody else wrote in it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum GoesOn {
    #[default]
    No,
    /// That is not in it yet.
    Unwritten,
    /// Whoever has this has that.
    From(Id),
}

impl GoesOn {
    fn read(text: &str) -> Self {
        let id = text.split_once(':').and_then(|(client, clock)| {
            let (client, clock) = (client.parse().ok()?, clock.parse().ok()?);
            Some(Id { client, clock })
        });
        id.map_or(Self::Unwritten, Self::From)
    }

    fn text(self) -> Option<String> {
        match self {
            Self::No => None,
            Self::Unwritten => Some(String::new()),
            Self::From(Id { client, clock }) => Some(format!("{client}:{clock}")),
        }
    }
}

/// All that is kept of a document.
struct Kept {
    content: Option<Vec<u8>>,
    cut_off: bool,
    updates: Option<Vec<u8>>,
    before: Before,
}

impl Kept {
    /// The fields that are asked for, in their order.
    const FIELDS: [&str; 7] = [CONTENT, CUT_OFF, UPDATES, ENDED, EPOCH, REMAINS, GOES_ON];

    fn of((content, cut_off, updates, ended, epoch, remains, goes_on): Fields) -> Self {
        Self {
            content,
            cut_off: cut_off.is_some(),
            updates,
            before: Before {
                remains: remains.filter(|_| ended.is_some()),
                ..Before::of(ended, epoch, goes_on)
            },
        }
    }
}

type Field = Option<Vec<u8>>;
type Fields = (
    Field,
    Field,
    Field,
    Field,
    Option<u64>,
    Field,
    Option<String>,
);

impl Before {
    fn of(ended: Field, epoch: Option<u64>, goes_on: Option<String>) -> Self {
        let ended = ended.and_then(|ended| Vector::decode(&ended).ok());
        Self {
            ended: ended.unwrap_or_default(),
            epoch,
            remains: None,
            goes_on: goes_on.map_or(GoesOn::No, |text| GoesOn::read(&text)),
        }
    }

    /// Reads the answer to [`InRedis::ask_before`].
    pub fn read(answer: &Value) -> Self {
        let (ended, epoch, goes_on) = redis::from_redis_value_ref(answer).unwrap_or_default();
        Self::of(ended, epoch, goes_on)
    }

    /// The one that is stored in these lines has ended, too.
    async fn end(&mut self, lines: Vec<u8>) {
        let lines: Vec<Vec<u8>> = lines.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let (large, remains) = (is_large(&lines), self.remains.take());
        let end = move || {
            let remains = remains.map(|left| (Vector::of(&left), left));
            let before = remains.as_ref().map(|(vector, left)| (&left[..], vector));
            let merged = merge_stored(before, &lines).0?.bytes;
            let remains = bury(&merged).ok().filter(|left| left.len() <= MOST_BURIED);
            Some((Vector::ends_of(&merged), remains))
        };
        if let Some((ended, remains)) = aside_if(large, end).await {
            self.ended.join(&ended);
            self.remains = remains;
        }
        self.next();
    }

    /// Another one begins.
    fn next(&mut self) {
        self.goes_on = GoesOn::No;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_millis() as u64);
        self.epoch = Some(now.max(self.epoch.unwrap_or(0) + 1));
    }
}

impl InRedis {
    /// The note says this, and its document, too.
    pub async fn saved(&self, id: &str, content: &str) {
        let Some(print) = print_of(content).await else {
            return;
        };
        let keep = self.keep(id, CONTENT, &print);
        if let Err(fault) = self.redis.pipeline(keep.into()).await {
            log::debug!("what the note of {id:?} says is not known in Redis: {fault}");
        }
    }

    /// Notes that somebody who had it open was cut off.
    pub(super) fn cut_off(&self, id: &str) -> Option<[Cmd; 2]> {
        note_of_document(id).map(|_| self.keep(id, CUT_OFF, "1"))
    }

    fn keep(&self, id: &str, field: &str, value: &str) -> [Cmd; 2] {
        let (mut set, mut expire) = (redis::cmd("HSET"), redis::cmd("EXPIRE"));
        set.arg(self.key(id, KEPT)).arg(field).arg(value);
        expire.arg(self.key(id, KEPT)).arg(LIFETIME);
        [set, expire]
    }

    fn kept(
        &self,
        id: &str,
        field: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, CommandError>> {
        let mut get = redis::cmd("HGET");
        get.arg(self.key(id, KEPT)).arg(field);
        self.redis.query(get)
    }

    /// Asks for what is known of the documents before this one, and for it to be known for longer.
    pub(super) fn ask_before(&self, id: &str) -> [Cmd; 2] {
        let (mut get, mut expire) = (redis::cmd("HMGET"), redis::cmd("EXPIRE"));
        let key = self.key(id, KEPT);
        get.arg(key).arg(ENDED).arg(EPOCH).arg(GOES_ON);
        expire.arg(self.key(id, KEPT)).arg(LIFETIME);
        [get, expire]
    }

    /// All of it, and how many updates are stored.
    async fn all_kept(&self, id: &str) -> Result<(Kept, usize), CommandError> {
        let (mut get, mut len) = (redis::cmd("HMGET"), redis::cmd("LLEN"));
        get.arg(self.key(id, KEPT)).arg(&Kept::FIELDS);
        len.arg(self.key(id, "updates"));
        let answers = self.redis.pipeline(vec![get, len]).await?;
        let read: Result<(Fields, usize), _> = redis::from_redis_value(Value::Array(answers));
        let (fields, len) = read.map_err(|e| CommandError::Refused(e.to_string()))?;
        Ok((Kept::of(fields), len))
    }

    async fn before(&self, id: &str) -> Result<Before, CommandError> {
        let [get, _] = self.ask_before(id);
        let mut before = Before::read(&self.redis.query(get).await?);
        if !before.ended.is_empty() {
            before.remains = self.kept(id, REMAINS).await?;
        }
        Ok(before)
    }

    /// Nothing is kept but this.
    async fn renew(
        &self,
        lease: &Lease,
        id: &str,
        content: Option<&str>,
        before: &Before,
    ) -> Result<(), Trouble> {
        let (ended, epoch) = (before.ended.encode(), before.epoch.map(|n| n.to_string()));
        let goes_on = before.goes_on.text();
        let fields = [
            (CONTENT, content.map(str::as_bytes)),
            (EPOCH, epoch.as_deref().map(str::as_bytes)),
            (ENDED, (!before.ended.is_empty()).then_some(&ended[..])),
            (REMAINS, before.remains.as_deref()),
            (GOES_ON, goes_on.as_deref().map(str::as_bytes)),
        ];
        let mut args = vec![LIFETIME.as_bytes()];
        for (field, value) in fields {
            if let Some(value) = value {
                args.extend([field.as_bytes(), value]);
            }
        }
        self.step(lease, &RENEW, id, KEPT, &args).await?;
        Ok(())
    }

    /// It is about to be cleared.
    pub(super) async fn keep_updates(&self, lease: &Lease, id: &str) -> Result<(), Trouble> {
        if note_of_document(id).is_none() {
            return Ok(());
        }
        if self.kept(id, CUT_OFF).await?.is_none() {
            let before = Before {
                goes_on: GoesOn::No,
                ..self.before(id).await?
            };
            if before.ended.is_empty() {
                self.step(lease, &REMOVE, id, KEPT, &[]).await?;
                return Ok(());
            }
            return self.renew(lease, id, None, &before).await;
        }
        // Somebody else may have cleared it just now.
        let updates = self.read(id, -1).await?.join(&b'\n');
        if !updates.is_empty() {
            let args = [UPDATES.as_bytes(), &updates, LIFETIME.as_bytes()];
            self.step(lease, &KEEP, id, KEPT, &args).await?;
        }
        Ok(())
    }

    /// Whoever opens a note with this content has found no document: the one that was kept is there again if it belongs to that.
    /// Returns whether it is. If it does not, it has ended.
    pub async fn restore(&self, id: &str, content: &str) -> bool {
        let Some(print) = print_of(content).await else {
            return false;
        };
        let restore = async |lease: &Lease| {
            let (kept, len) = self.all_kept(id).await?;
            let Kept {
                content,
                updates,
                mut before,
                ..
            } = kept;
            let same = content.as_deref() == Some(print.as_bytes());
            if len > 0 {
                before.remains = None;
                return Ok((same, before));
            }
            if same && let Some(updates) = updates {
                let numbers = updates.iter().filter(|byte| matches!(byte, b',' | b'\n'));
                let size = (numbers.count() + 1).to_string();
                self.step(lease, &SET, id, "size", &[size.as_bytes()])
                    .await?;
                self.step(lease, &RESTORE, id, "updates", &[&updates])
                    .await?;
                before.remains = None;
                return Ok((true, before));
            }
            match updates {
                Some(updates) => before.end(updates).await,
                // Somebody may have begun with it, and come back before anything was stored.
                None if before.epoch.is_some() => before.goes_on = GoesOn::No,
                None => before.next(),
            }
            self.renew(lease, id, Some(&print), &before).await?;
            Ok((false, before))
        };
        let restored = self.locks.with(&self.locks.of_document(id), restore).await;
        self.is_kept(id, restored)
    }

    /// Its note is gone: it ends, and whoever comes back with it is known. Returns the next one's epoch; `None` when Redis
    /// can't be told.
    pub async fn end(&self, id: &str) -> Option<u64> {
        let end = async |lease: &Lease| {
            let (kept, len) = self.all_kept(id).await?;
            let (mut before, mut updates) = (kept.before, kept.updates);
            if len > 0 {
                updates = Some(self.read(id, -1).await?.join(&b'\n'));
            }
            let mut users = redis::cmd("SCARD");
            users.arg(self.key(id, "users"));
            let is_open = self.redis.query::<usize>(users).await? > 0;
            let is_known = is_open || kept.cut_off || !before.ended.is_empty();
            match updates {
                Some(updates) => before.end(updates).await,
                None => before.next(),
            }
            match is_known || len > 0 {
                true => self.renew(lease, id, None, &before).await?,
                // Nobody has anything of it.
                false => {
                    self.step(lease, &REMOVE, id, KEPT, &[]).await?;
                }
            }
            self.step(lease, &REMOVE, id, "updates", &[]).await?;
            self.step(lease, &REMOVE, id, "size", &[]).await?;
            Ok(before)
        };
        match self.locks.with(&self.locks.of_document(id), end).await {
            Ok(before) => {
                let next = before.epoch;
                self.merged.borrow_mut().retain(|merged| *merged.id != *id);
                self.with_known(id, |known| {
                    *known = Known {
                        before,
                        ..Known::default()
                    };
                });
                next
            }
            Err(fault) => {
                self.fault(id, &fault);
                None
            }
        }
    }

    /// Whether another instance has ended it since it was opened here. The caller has its lock.
    pub(super) async fn has_ended(&self, id: &str) -> Result<bool, CommandError> {
        let Some(ours) = self.epoch(id) else {
            return Ok(false);
        };
        let mut get = redis::cmd("HGET");
        get.arg(self.key(id, KEPT)).arg(EPOCH);
        let now: Option<u64> = self.redis.query(get).await?;
        Ok(now.is_some_and(|now| now != ours))
    }

    /// Nothing is stored: the one that has ended goes on, as soon as what was written is in it. Whether that is to be done.
    pub async fn revive(&self, id: &str) -> bool {
        let revive = async |lease: &Lease| {
            let mut before = self.before(id).await?;
            let begins = self.len(id).await? == 0;
            if begins {
                before.goes_on = GoesOn::Unwritten;
                self.renew(lease, id, None, &before).await?;
            }
            before.remains = None;
            Ok((begins || before.goes_on == GoesOn::Unwritten, before))
        };
        let revived = self.locks.with(&self.locks.of_document(id), revive).await;
        self.is_kept(id, revived)
    }

    /// Whether the one that has ended goes on: another instance may have begun that.
    pub(super) async fn goes_on(&self, id: &str) -> bool {
        let before = self.before(id).await;
        before.is_ok_and(|before| before.goes_on != GoesOn::No)
    }

    /// What was written is in it from here on; nowhere, if it said that already.
    pub async fn goes_on_from(&self, id: &str, begins: Option<Id>) {
        let set = async |lease: &Lease| {
            let mut before = self.before(id).await?;
            if let Some(begins) = begins {
                before.goes_on = GoesOn::From(begins);
                let text = before.goes_on.text().unwrap_or_default();
                let args = [GOES_ON.as_bytes(), text.as_bytes(), LIFETIME.as_bytes()];
                self.step(lease, &KEEP, id, KEPT, &args).await?;
            } else {
                let epoch = before.epoch;
                before = Before {
                    epoch,
                    ..Before::default()
                };
                self.renew(lease, id, None, &before).await?;
            }
            before.remains = None;
            Ok((true, before))
        };
        let set = self.locks.with(&self.locks.of_document(id), set).await;
        self.is_kept(id, set);
    }

    fn is_kept(&self, id: &str, kept: Result<(bool, Before), CommandError>) -> bool {
        match kept {
            Ok((kept, before)) => {
                self.with_known(id, |known| known.before = before);
                kept
            }
            Err(fault) => {
                log::debug!("what was kept of {id:?} is not known: {fault}");
                false
            }
        }
    }
}

/// What the content says as one number, that of a large one from beside our thread.
async fn print_of(content: &str) -> Option<String> {
    let found = match content.len() > LARGE {
        true => {
            let content = content.to_owned();
            aside(move || print(&content)).await
        }
        false => print(content),
    };
    found.map(|print| print.to_string())
}

//! The updates of one document: an append-only list with a running size, squashed when it gets long.
//!
//! Shape: all updates in one buffer, and where each of them ends: 4 bytes an update beside its own. No yrs
//! document is kept: appending needs none, and merging updates needs only the updates.

use super::bury::bury;
use super::compact::{Compacted, compact};
use super::depth::{MAX_DEPTH, depth};
use super::lean::lean;
use super::mend::{joined, mended, with_waiting};
use super::update::{Contents, inspect};
use super::vector::{Vector, deletes_more};
#[cfg(feature = "redis")]
use crate::ground::tasks::{Aside, aside};
use yrs::updates::decoder::Decode as _;
use yrs::{Update, merge_updates_v1};

/// The largest document, in bytes of its updates (contract, limits).
pub const MAX_BYTES: usize = 2 << 20;

/// The most blocks of a document, and ranges of deletions. A block that takes five bytes here takes 200 in yrs while it merges.
pub const MAX_BLOCKS: usize = 100_000;

/// As many updates as this are squashed.
pub const SQUASH_AT: usize = 500;

/// A full document is squashed to make room only when this much of it came since the last time, so that whoever
/// keeps writing into a full one doesn't cost a merge each time.
const WORTH_SQUASHING: usize = MAX_BYTES / 16;

/// What was deleted is kept in a smaller document: to leave it out takes time.
const FULL: usize = MAX_BYTES / 2;

/// Bytes of what is left of a document that has ended: what is more is forgotten, and so is who comes back with it.
pub const MOST_BURIED: usize = MAX_BYTES / 8;

/// Updates that are merged at a time. The cost of a merge grows with the square of their number.
const MERGE_AT_ONCE: usize = 16;

/// The state of a document in which there is nothing.
pub const EMPTY: [u8; 2] = [0, 0];

/// Bytes that are checked and merged in our turn: a thousand blocks, of which each takes a microsecond or two.
pub const LIGHT: usize = 8 << 10;

/// Why an update is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It is not an update.
    Malformed,
    /// Yjs would throw at it as it is: its news is to be stored.
    Unmended,
    /// The document would be larger than it may be.
    TooLarge,
    /// All documents together would be larger than they may be.
    NoRoom,
    /// The documents can't be reached now.
    Away,
}

/// The list.
#[derive(Default)]
pub struct History {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    blocks: usize,
    /// Bytes that came or were deleted since the list was squashed.
    fresh: usize,
    /// What is there without a gap. What came over a gap is in the list, too, and counts once the gap is closed.
    vector: Vector,
}

impl History {
    /// Stores an update. Returns what it holds; one that changes nothing is not stored.
    pub fn append(&mut self, update: &[u8]) -> Result<Contents, Rejected> {
        let contents = check(update)?;
        self.store(update, contents)
    }

    /// The same of one that others are to get: only if Yjs takes it.
    pub fn append_mended(&mut self, update: &[u8]) -> Result<Contents, Rejected> {
        match self.vector.is_awaited(update) {
            true => check(update).and(Err(Rejected::Unmended)),
            false => self.append_news(update),
        }
    }

    /// The same of all the news of one.
    pub fn append_news(&mut self, update: &[u8]) -> Result<Contents, Rejected> {
        let contents = check(update)?;
        match self.vector.is_unmended(update) {
            true => Err(Rejected::Unmended),
            false => {
                self.check_depth(update)?;
                self.store(update, contents)
            }
        }
    }

    /// The same of the first content.
    pub fn append_first(&mut self, update: &[u8]) -> Result<Contents, Rejected> {
        let contents = check(update)?;
        self.check_depth(update)?;
        self.store(update, contents)
    }

    fn check_depth(&mut self, update: &[u8]) -> Result<(), Rejected> {
        if self.vector.may_be_deep(update) {
            let depth = depth_with(self.state(), update)?;
            self.vector.is_deep(depth);
        }
        Ok(())
    }

    fn store(&mut self, update: &[u8], mut contents: Contents) -> Result<Contents, Rejected> {
        if contents.is_empty() {
            return Ok(contents);
        }
        if !self.has_room(update.len(), contents.weight()) && self.fresh >= WORTH_SQUASHING {
            self.squash_from(0);
        }
        if !self.has_room(update.len(), contents.weight()) {
            return Err(Rejected::TooLarge);
        }
        let before = self.vector.missing().map(|_| self.vector.clone());
        contents.missing = self.vector.take(update);
        match before.and_then(|known| self.joined(&known, update)) {
            Some(all) => self.replace_from(0, &all),
            None => self.push(update, contents.weight()),
        }
        // That is room again once it is squashed.
        self.fresh +=
            usize::try_from(contents.deleted).map_or(WORTH_SQUASHING, |n| n.min(WORTH_SQUASHING));
        if self.vector.is_old() {
            self.vector = Vector::of(self.state());
            contents.missing = contents.missing.filter(|id| !self.vector.has(*id));
        }
        if self.ends.len() >= SQUASH_AT {
            self.squash_from(self.small_ones());
        }
        Ok(contents)
    }

    /// All there is with an update for which something waited, or which is in its place.
    fn joined(&mut self, known: &Vector, update: &[u8]) -> Option<Compacted> {
        if !self.vector.is_old() {
            return None;
        }
        let all = joined(known, self.state(), update)?;
        let is_all = self.ends.len() < 2;
        merge(vec![&all]).filter(|_| is_all)
    }

    /// Everything as one update; the list is that one update afterwards.
    pub fn state(&mut self) -> &[u8] {
        if self.ends.is_empty() {
            return &EMPTY;
        }
        self.squash_from(0);
        // All of it; or its first part, should that not have merged.
        let end = self.ends.first().map_or(0, |end| *end as usize);
        self.bytes.get(..end).unwrap_or(&EMPTY)
    }

    /// All of it has ended: what is left of it, if that is not too much.
    pub fn bury(&mut self) {
        let left = bury(self.state());
        *self = Self::default();
        if let Ok(left) = left
            && left.len() <= MOST_BURIED
            && let Err(rejected) = self.append(&left)
        {
            log::error!("what is left of a document is not kept: {rejected:?}");
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn vector(&self) -> &Vector {
        &self.vector
    }

    /// What of an update is news, if it is one.
    pub fn news_of(&mut self, update: &[u8]) -> Option<Vec<u8>> {
        check(update).ok()?;
        let mut rest = self.vector.rest_of(update).ok()?;
        if self.vector.is_awaited(&rest) {
            let known = self.vector.clone();
            rest = with_waiting(&known, self.state(), &rest)?;
        }
        let rest = mended(&self.vector, rest).ok()?;
        news(rest, || self.state().to_vec())
    }

    /// Whether it takes long to store an update of so many bytes; without one, to tell the state.
    pub fn takes_long(&self, update: usize) -> bool {
        let merges = match update {
            0 => self.ends.len() > 1,
            // Each block has two bytes at least.
            _ => {
                self.ends.len() + 1 >= SQUASH_AT
                    || !self.has_room(update, update / 2)
                    || self.vector.missing().is_some()
            }
        };
        update > LIGHT || (merges && self.size() > LIGHT)
    }

    /// Whether all of a large document is looked at to store an update.
    pub fn may_be_deep(&self, update: &[u8]) -> bool {
        self.size() > LIGHT && self.vector.may_be_deep(update)
    }

    /// Updates in the list.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all updates.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no more room than half of what there may be.
    pub fn is_half_full(&self) -> bool {
        self.bytes.len() > MAX_BYTES / 2 || self.blocks > MAX_BLOCKS / 2
    }

    fn has_room(&self, bytes: usize, blocks: usize) -> bool {
        self.bytes.len() + bytes <= MAX_BYTES && self.blocks + blocks <= MAX_BLOCKS
    }

    fn push(&mut self, update: &[u8], blocks: usize) {
        if self.bytes.capacity() - self.bytes.len() < update.len() {
            // A quarter at a time: a thousand open documents would waste megabytes by doubling.
            let more = update.len().max(self.bytes.len() / 4).max(64);
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(update);
        self.ends.push(self.bytes.len() as u32);
        self.blocks += blocks;
        self.fresh += update.len();
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| {
            self.ends.get(before).map_or(0, |end| *end as usize)
        })
    }

    /// The first update that is no larger than all after it together. Those before it are left alone, so that each byte
    /// is merged a few times only, however long the document is edited.
    fn small_ones(&self) -> usize {
        let total = self.bytes.len();
        let is_large = |(index, end): &(usize, &u32)| {
            let end = **end as usize;
            end - self.start(*index) > total - end
        };
        self.ends.iter().enumerate().take_while(is_large).count()
    }

    /// Makes one update of all from this one on. Should they not merge, which those that were checked do, they stay.
    fn squash_from(&mut self, first: usize) {
        if self.ends.len() <= first + 1 {
            return;
        }
        let updates = (first..self.ends.len()).filter_map(|index| {
            self.bytes
                .get(self.start(index)..self.ends.get(index).map_or(0, |end| *end as usize))
        });
        let Some(merged) = merge(updates.collect()) else {
            log::error!(
                "{} updates of a document can't be merged",
                self.ends.len() - first
            );
            return;
        };
        self.replace_from(first, &merged);
    }

    fn replace_from(&mut self, first: usize, merged: &Compacted) {
        self.bytes.truncate(self.start(first));
        self.bytes.extend_from_slice(&merged.bytes);
        self.bytes.shrink_to_fit();
        self.ends.truncate(first);
        self.ends.push(self.bytes.len() as u32);
        self.ends.shrink_to_fit();
        if first == 0 {
            self.blocks = merged.blocks;
            self.fresh = 0;
        }
    }
}

/// What is news in what remains of an update without the blocks that are there: deletions are often known, too.
pub fn news(rest: Vec<u8>, state: impl FnOnce() -> Vec<u8>) -> Option<Vec<u8>> {
    let deletes_only = rest.first() == Some(&0) && rest != EMPTY;
    match deletes_only && !deletes_more(&rest, &state()).ok()? {
        true => Some(EMPTY.to_vec()),
        false => Some(rest),
    }
}

/// How deep things stand in each other with another update; more than they may is no update.
pub fn depth_with(stored: &[u8], update: &[u8]) -> Result<usize, Rejected> {
    let whole = merge_updates_v1([stored, update]).map_err(|_| Rejected::Malformed)?;
    Some(depth(&whole))
        .filter(|depth| *depth <= MAX_DEPTH)
        .ok_or(Rejected::Malformed)
}

/// What the update holds, if it is one that yrs can be shown.
pub fn look_at(update: &[u8]) -> Result<Contents, Rejected> {
    if update.len() > MAX_BYTES {
        return Err(Rejected::TooLarge);
    }
    let contents = inspect(update).map_err(|_| Rejected::Malformed)?;
    match contents.weight() > MAX_BLOCKS {
        true => Err(Rejected::TooLarge),
        false => Ok(contents),
    }
}

/// What the update holds, if yrs takes it, too.
pub fn check(update: &[u8]) -> Result<Contents, Rejected> {
    let contents = look_at(update)?;
    // Of text and deletions alone nothing is left that it could not take.
    match contents.rich && Update::decode_v1(update).is_err() {
        true => Err(Rejected::Malformed),
        false => Ok(contents),
    }
}

/// The same; beside our thread if it is large.
#[cfg(feature = "redis")]
pub fn check_aside(update: &[u8]) -> Aside<Result<Contents, Rejected>> {
    match update.len() > LIGHT {
        true => {
            let update = update.to_vec();
            aside(move || check(&update))
        }
        false => Aside::done(check(update)),
    }
}

/// One update that says what all of them say. `None` when one of them is not an update.
pub fn merge(updates: Vec<&[u8]>) -> Option<Compacted> {
    let mut merged = Vec::with_capacity(updates.len().div_ceil(MERGE_AT_ONCE));
    for some in updates.chunks(MERGE_AT_ONCE) {
        merged.push(merge_updates_v1(some).ok()?);
    }
    while merged.len() > 1 {
        let some = merged.chunks(MERGE_AT_ONCE);
        merged = some.map(merge_updates_v1).collect::<Result<_, _>>().ok()?;
    }
    let merged = merged.first()?;
    let merged = match merged.len() > FULL {
        true => compact(&lean(merged).ok()?),
        false => compact(merged),
    };
    let Compacted { bytes, blocks } = merged.ok()?;
    let bytes = mended(&Vector::default(), bytes).ok()?;
    Some(Compacted { bytes, blocks })
}

//! What is there of a document without a gap: for each client the clock before which everything has come, with all that it
//! builds on. So an update shows by itself whether something is missing before it.

use super::cut::put_rest;
use super::depth::MAX_DEPTH;
use super::reader::{BadUpdate, Reader, put_number};
use super::update::{Block, Id, Range, deletions, read_block, walk};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The clocks, and what is missing.
#[derive(Clone, Debug, Default)]
pub struct Vector {
    clocks: BTreeMap<u64, u64>,
    /// By client the first thing that something builds on and that has not come.
    missing: BTreeMap<u64, u64>,
    /// Clients of which something is stored and not here.
    waiting: BTreeSet<u64>,
    /// Something of what is missing has come, or something else in place of what waits.
    old: bool,
    /// What is in maps: where it begins, and the clock after it.
    entries: Arc<BTreeMap<(u64, u64), u64>>,
    /// So many things that others stand in may have come since it was looked how deep they stand in each other.
    unlooked: usize,
    /// While an update is taken: entries of it that have several values.
    several: Vec<Range>,
}

/// The blocks of one client that can't be taken yet: the first of them, and how many come after it.
struct Stalled<'a> {
    block: Block<'a>,
    more: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    /// Others wait for it.
    Busy,
    /// All of it is taken, or the rest never will be.
    Over,
}

impl Vector {
    /// The vector of a document that is this one update.
    pub fn of(update: &[u8]) -> Self {
        let mut vector = Self::default();
        vector.take(update);
        vector
    }

    /// Where the blocks of a checked update end, whatever they build on.
    pub fn ends_of(update: &[u8]) -> Self {
        let mut vector = Self::default();
        // It is checked.
        let _ = walk(update, || {}, |block| vector.add(&block));
        vector
    }

    /// Reads a state vector as Yjs writes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadUpdate> {
        let mut reader = Reader::new(bytes);
        let mut vector = Self::default();
        for _ in 0..reader.count(2)? {
            vector.clocks.insert(reader.number()?, reader.number()?);
        }
        Ok(vector)
    }

    /// As Yjs reads it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + 9 * self.clocks.len());
        put_number(&mut bytes, self.clocks.len() as u64);
        for (client, clock) in &self.clocks {
            put_number(&mut bytes, *client);
            put_number(&mut bytes, *clock);
        }
        bytes
    }

    /// Another one was made of everything that is stored.
    #[cfg(feature = "redis")]
    pub fn renew(&mut self, other: Self) {
        self.join(&other);
        self.old = false;
        self.missing = other.missing;
        self.unlooked = self.unlooked.max(other.unlooked);
        self.waiting = other.waiting;
        for (id, end) in other.entries.iter() {
            self.add_entry(*id, *end);
        }
        let known = &self.clocks;
        let there = |client: &u64| known.get(client).copied().unwrap_or(0);
        self.missing.retain(|client, clock| *clock >= there(client));
    }

    /// Clocks of all clients.
    pub fn len(&self) -> u64 {
        self.clocks
            .values()
            .fold(0, |sum, clock| sum.saturating_add(*clock))
    }

    pub fn is_empty(&self) -> bool {
        self.clocks.is_empty()
    }

    /// Has the client written something?
    pub fn knows(&self, client: u64) -> bool {
        self.clocks.contains_key(&client)
    }

    /// The first thing that is missing.
    pub fn missing(&self) -> Option<Id> {
        let (client, clock) = self.missing.first_key_value()?;
        Some(Id {
            client: *client,
            clock: *clock,
        })
    }

    /// Whether what was missing has come, so that all must be looked at again.
    pub fn is_old(&self) -> bool {
        self.old
    }

    /// Takes a checked update: as far as nothing before it is missing. If something is, returns what it was found by: of this
    /// update, whatever others lack.
    pub fn take(&mut self, update: &[u8]) -> Option<Id> {
        let lacked = self.take_all(update);
        self.several = Vec::new();
        lacked
    }

    fn take_all(&mut self, update: &[u8]) -> Option<Id> {
        let mut stalled: Vec<Stalled<'_>> = Vec::new();
        let rest = walk(
            update,
            || {},
            |block| match stalled.last_mut() {
                Some(last) if last.block.id.client == block.id.client => last.more += 1,
                _ if self.lacked_by(&block).is_none() => self.add(&block),
                _ => stalled.push(Stalled {
                    block,
                    more: 0,
                    state: State::Waits,
                }),
            },
        );
        let mut lacked = self.settle(stalled);
        if let Ok(rest) = rest {
            let _ = deletions(rest, |client, clock, len| {
                let last = Id {
                    client,
                    clock: clock + len - 1,
                };
                if !self.has(last) {
                    lacked = lacked.or(Some(last));
                    self.misses(last);
                }
            });
        }
        // The first of what that client's updates lack.
        lacked.map(|id| Id {
            clock: self.missing.get(&id.client).copied().unwrap_or(id.clock),
            ..id
        })
    }

    /// Takes what waits for each other, as far as it can be. Returns something that the rest of it lacks, if there is a rest.
    fn settle(&mut self, mut stalled: Vec<Stalled<'_>>) -> Option<Id> {
        let mut found = None;
        stalled.sort_unstable_by_key(|one| one.block.id.client);
        for root in 0..stalled.len() {
            // Who waits for whom, and up to which clock.
            let mut waiting = vec![(root, u64::MAX)];
            while let Some((index, until)) = waiting.last().copied() {
                let Some(one) = stalled.get_mut(index) else {
                    break;
                };
                let id = one.block.id;
                let enough = self.has(Id { clock: until, ..id });
                if one.state == State::Over || enough {
                    if one.state == State::Busy {
                        one.state = State::Waits;
                    }
                    waiting.pop();
                    continue;
                }
                one.state = State::Busy;
                let Some(lacked) = self.lacked_by(&one.block) else {
                    self.add(&one.block);
                    one.go_on();
                    continue;
                };
                let other = stalled.binary_search_by_key(&lacked.client, |one| one.block.id.client);
                let other = other.ok().filter(|other| {
                    stalled
                        .get(*other)
                        .is_some_and(|other| other.state == State::Waits)
                });
                match other {
                    Some(other) => waiting.push((other, lacked.clock)),
                    None => {
                        found = found.or(Some(lacked));
                        self.misses(lacked);
                        self.waiting.insert(id.client);
                        if let Some(one) = stalled.get_mut(index) {
                            one.state = State::Over;
                        }
                    }
                }
            }
        }
        found
    }

    /// The rest of an update: what is not here yet, with all its deletions. Of a block of which something is here the rest is left, as
    /// Yjs itself writes it.
    pub fn rest_of(&self, update: &[u8]) -> Result<Vec<u8>, BadUpdate> {
        self.rest_within(update, None)
    }

    /// The same, without the blocks that another one does not have.
    pub fn rest_within(&self, update: &[u8], all: Option<&Self>) -> Result<Vec<u8>, BadUpdate> {
        // Of each client's: the first block that is kept, how many there are, and where they end.
        let mut kept: Vec<(Block<'_>, u64, usize)> = Vec::new();
        let deletions = walk(
            update,
            || {},
            |block| {
                let end = block.from.len() - block.bytes.len();
                match kept.last_mut() {
                    _ if all.is_some_and(|all| !all.has(block.id)) => {}
                    Some((first, count, last)) if first.id.client == block.id.client => {
                        (*count, *last) = (*count + 1, end);
                    }
                    _ if block.skip || self.has(block.last()) => {}
                    _ => kept.push((block, 1, end)),
                }
            },
        )?;
        let mut rest = Vec::new();
        put_number(&mut rest, kept.len() as u64);
        for (first, count, end) in kept {
            let id = first.id;
            let clock = self.clocks.get(&id.client).copied().unwrap_or(0);
            put_number(&mut rest, count);
            put_number(&mut rest, id.client);
            put_number(&mut rest, id.clock.max(clock));
            let mut start = 0;
            if clock > id.clock {
                put_rest(&mut rest, &first, clock)?;
                start = first.bytes.len();
            }
            let len = first.from.len() - end;
            rest.extend_from_slice(first.from.get(start..len).ok_or(BadUpdate)?);
        }
        rest.extend_from_slice(deletions);
        Ok(rest)
    }

    /// Something that must come before a checked update, if anything is missing at all.
    pub fn lacked_before(&self, update: &[u8]) -> Option<Id> {
        self.missing()?;
        let mut lacked = None;
        let _ = walk(
            update,
            || {},
            |block| lacked = lacked.or_else(|| self.lacked_by(&block)),
        );
        lacked
    }

    /// What must come before this block.
    fn lacked_by(&self, block: &Block<'_>) -> Option<Id> {
        if self.has(block.last()) {
            return None;
        }
        if block.skip {
            return Some(block.last());
        }
        let before = block
            .id
            .clock
            .checked_sub(1)
            .map(|clock| Id { clock, ..block.id });
        if let Some(before) = before.filter(|before| !self.has(*before)) {
            return Some(before);
        }
        let before = [block.origin, block.right_origin, block.parent];
        before.into_iter().flatten().find(|id| !self.has(*id))
    }

    fn add(&mut self, block: &Block<'_>) {
        self.unlooked += usize::from(block.has_others());
        if !self.has(block.id) && self.is_entry(block) {
            let Id { client, clock } = block.id;
            self.add_entry((client, clock), clock + block.len);
            if block.has_several() {
                self.several.push((client, clock, block.len - 1));
            }
        }
        let clock = self.clocks.entry(block.id.client).or_default();
        *clock = (*clock).max(block.last().clock + 1);
        let awaited = self.missing.get(&block.id.client);
        self.old |= awaited.is_some_and(|awaited| awaited < clock);
        self.old |= self.waiting.contains(&block.id.client);
    }

    /// Whether a block is an entry of a map, by itself or as what stands beside it.
    fn is_entry(&self, block: &Block<'_>) -> bool {
        let beside = block.origin.or(block.right_origin);
        let beside = beside.filter(|_| !self.entries.is_empty());
        let is_one = |id: Id| {
            let mut before = self.entries.range(..=(id.client, id.clock));
            let last = before.next_back();
            last.is_some_and(|((client, _), end)| *client == id.client && id.clock < *end)
        };
        block.entry || beside.is_some_and(is_one)
    }

    fn add_entry(&mut self, (client, start): (u64, u64), end: u64) {
        let entries = Arc::make_mut(&mut self.entries);
        match entries.range_mut(..=(client, start)).next_back() {
            Some(((of, _), last)) if *of == client && start <= *last => *last = end.max(*last),
            _ => drop(entries.insert((client, start), end)),
        }
    }

    /// Whether a checked update is to be mended before Yjs gets it: something of it is here already, or must be deleted.
    pub fn is_unmended(&self, update: &[u8]) -> bool {
        let (mut known, mut entry, mut several) = (false, false, false);
        let _ = walk(
            update,
            || {},
            |block| {
                known |= self.has(block.id);
                entry |= self.is_entry(&block);
                several |= block.has_several();
            },
        );
        known || entry && several && !self.stale_entries(update).is_empty()
    }

    /// Whether things may stand too deep in each other with a checked update.
    pub fn may_be_deep(&self, update: &[u8]) -> bool {
        // Each of them takes a byte at least: most updates needn't be looked at.
        if self.unlooked + update.len() <= MAX_DEPTH {
            return false;
        }
        let mut new = 0;
        let _ = walk(
            update,
            || {},
            |block| new += usize::from(block.has_others()),
        );
        new > 0 && self.unlooked + new > MAX_DEPTH
    }

    /// It was looked how deep things stand in each other.
    pub fn is_deep(&mut self, depth: usize) {
        self.unlooked = depth;
    }

    /// Whether something waits for what a checked update brings.
    pub fn is_awaited(&self, update: &[u8]) -> bool {
        if self.missing.is_empty() {
            return false;
        }
        let mut after = self.clone();
        after.take(update);
        after.old
    }

    /// What of a checked update must be deleted: of each entry of a map that has several values all but the last, where it does not
    /// say so itself.
    pub fn stale_entries(&self, update: &[u8]) -> Vec<Range> {
        let (mut entry, mut several) = (false, false);
        let rest = walk(
            update,
            || {},
            |block| {
                entry |= self.is_entry(&block);
                several |= block.has_several();
            },
        );
        let Ok(rest) = rest else { return Vec::new() };
        if !(entry && several) {
            return Vec::new();
        }
        let mut after = self.clone();
        after.take_all(update);
        let mut stale = after.several;
        let _ = deletions(rest, |client, clock, len| {
            let is_within =
                |of: &Range| of.0 == client && of.1 >= clock && of.1 + of.2 <= clock + len;
            stale.retain(|range| !is_within(range));
        });
        stale
    }

    /// Something builds on this, which is not here.
    fn misses(&mut self, id: Id) {
        let first = self.missing.entry(id.client).or_insert(id.clock);
        *first = (*first).min(id.clock);
    }

    /// Whether another one has all of this.
    pub fn is_within(&self, other: &Self) -> bool {
        let there = |client| other.clocks.get(client).copied().unwrap_or(0);
        let mut clocks = self.clocks.iter();
        clocks.all(|(client, clock)| *clock <= there(client))
    }

    /// All of another one is here, too.
    pub fn join(&mut self, other: &Self) {
        for (client, clock) in &other.clocks {
            let known = self.clocks.entry(*client).or_default();
            *known = (*known).max(*clock);
        }
    }

    /// Whether this is here.
    pub fn has(&self, id: Id) -> bool {
        self.clocks
            .get(&id.client)
            .is_some_and(|clock| id.clock < *clock)
    }
}

impl Stalled<'_> {
    /// Its block is taken: the next one.
    fn go_on(&mut self) {
        let after = self.block.from.get(self.block.bytes.len()..);
        let id = Id {
            clock: self.block.last().clock + 1,
            ..self.block.id
        };
        let next = after.filter(|_| self.more > 0);
        match next.map(|bytes| read_block(&mut Reader::new(bytes), id)) {
            Some(Ok(block)) => {
                self.block = block;
                self.more -= 1;
            }
            _ => self.state = State::Over,
        }
    }
}

/// Whether an update deletes something that the state does not: both checked.
pub fn deletes_more(update: &[u8], state: &[u8]) -> Result<bool, BadUpdate> {
    let mut known = Vec::new();
    let rest = walk(state, || {}, |_| {})?;
    deletions(rest, |client, clock, len| known.push((client, clock, len)))?;
    known.sort_unstable();
    let mut more = false;
    let rest = walk(update, || {}, |_| {})?;
    deletions(rest, |client, clock, len| {
        let first = known.partition_point(|(c, start, len)| (*c, start + len) <= (client, clock));
        let mut covered = clock;
        for (c, start, len) in known.iter().skip(first) {
            if *c != client || *start > covered {
                break;
            }
            covered = start + len;
            if covered >= clock + len {
                break;
            }
        }
        more |= covered < clock + len;
    })?;
    Ok(more)
}

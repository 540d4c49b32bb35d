//! The state of a document in Redis: what is large is read and merged once, and then what has come since.

use super::scripts::REST;
use super::squash::{is_large, merge_stored};
use super::{InRedis, Known};
use crate::ground::tasks::aside_if;
use crate::peers::documents::compact::Compacted;
use crate::peers::documents::history::LIGHT;
use crate::peers::documents::vector::Vector;
use crate::peers::documents::{Away, State, Version};
use crate::peers::shared::lease::Lease;
use crate::redis::CommandError;
use std::rc::Rc;
use std::sync::Arc;

/// Documents whose states are remembered, and bytes of all these.
const REMEMBERED: usize = 16;
const MOST_BYTES: usize = 8 << 20;

/// Bytes of an update's beginning and end that its mark has.
const ENDS: usize = 256;

/// What a document was when it was read last.
pub(super) struct Merged {
    pub id: Rc<str>,
    /// How many stored updates it was made of, and the mark of the last one: if that one still has its place, those before it are
    /// what they were, since a squash takes away as many as there are.
    count: usize,
    mark: Vec<u8>,
    state: Arc<Vec<u8>>,
    blocks: usize,
    vector: Vector,
    version: Version,
}

/// What is stored.
struct Stored {
    /// What the first updates are known to be.
    known: Option<Rc<Merged>>,
    /// The others.
    rest: Vec<Vec<u8>>,
}

impl InRedis {
    pub async fn state(&self, id: &str) -> Result<Option<State>, Away> {
        let reading = |known: &Known| known.reading.clone();
        let reading = self.known.borrow().get(id).map(reading);
        // What somebody else reads now may be all there is.
        let _reading = match &reading {
            Some(reading) => Some(reading.lock().await),
            None => None,
        };
        let read = match self.locks.must_lock_to_read() {
            true => {
                let key = self.locks.of_document(id);
                let read = async |_: &Lease| Ok(self.read_rest(id).await?);
                self.locks.with(&key, read).await
            }
            false => self.read_rest(id).await,
        };
        let stored = read.map_err(|fault| self.fault(id, &fault))?;
        self.away.set(false);
        let merged = match stored.known {
            None if stored.rest.is_empty() => {
                self.with_known(id, |known| known.vector = Some(Vector::default()));
                return Ok(None);
            }
            Some(known) if stored.rest.is_empty() => Some(known),
            known => self.merge(id, known, stored.rest).await,
        };
        Ok(merged.map(|merged| self.take_state(id, &merged)))
    }

    /// The same, as bytes alone.
    pub(super) async fn bytes(&self, id: &str) -> Result<Option<Vec<u8>>, Away> {
        let state = self.state(id).await?;
        Ok(state.map(|state| Arc::unwrap_or_clone(state.bytes)))
    }

    async fn read_rest(&self, id: &str) -> Result<Stored, CommandError> {
        let known = {
            let merged = self.merged.borrow();
            merged.iter().find(|merged| *merged.id == *id).cloned()
        };
        if let Some(known) = known {
            let (key, count) = (self.key(id, "updates"), known.count.to_string());
            let args = [count.as_bytes(), &known.mark];
            let (same, rest): (u8, Vec<Vec<u8>>) = self.redis.script(&REST, &[&key], &args).await?;
            if same == 1 {
                let known = Some(known);
                return Ok(Stored { known, rest });
            }
        }
        let (known, rest) = (None, self.read(id, -1).await?);
        Ok(Stored { known, rest })
    }

    async fn merge(
        &self,
        id: &str,
        known: Option<Rc<Merged>>,
        rest: Vec<Vec<u8>>,
    ) -> Option<Rc<Merged>> {
        let count = known.as_ref().map_or(0, |known| known.count) + rest.len();
        let mark = rest.last().map(|last| mark(last)).unwrap_or_default();
        let before = known.map(|known| (known.state.clone(), known.vector.clone()));
        let large = before.is_some() || is_large(&rest);
        let merge = move || {
            let before = before.as_ref().map(|(state, v)| (state.as_slice(), v));
            let (merged, bad) = merge_stored(before, &rest);
            let merged = merged.map(|Compacted { bytes, blocks }| {
                let vector = Vector::of(&bytes);
                (bytes, blocks, vector)
            });
            (merged, bad)
        };
        let (merged, bad) = aside_if(large, merge).await;
        self.skipped(id, bad, count);
        let (bytes, blocks, vector) = merged?;
        let large = bytes.len() > LIGHT;
        if large {
            self.version.set(self.version.get() + 1);
        }
        let merged = Rc::new(Merged {
            id: id.into(),
            count,
            mark,
            state: bytes.into(),
            blocks,
            vector,
            version: if large { self.version.get() } else { 0 },
        });
        if large && self.known.borrow().contains_key(id) {
            self.remember(merged.clone());
        }
        Some(merged)
    }

    fn take_state(&self, id: &str, merged: &Merged) -> State {
        self.with_known(id, |known| {
            known.blocks = merged.blocks;
            known.size = known.size.max(merged.state.len());
            // What came meanwhile is in the one that was known.
            let known = known.vector.get_or_insert_default();
            known.renew(merged.vector.clone());
        });
        State {
            bytes: merged.state.clone(),
            version: merged.version,
        }
    }

    /// In place of what was known of it; of too many the oldest go.
    fn remember(&self, new: Rc<Merged>) {
        let mut merged = self.merged.borrow_mut();
        merged.retain(|merged| *merged.id != *new.id);
        merged.push(new);
        let bytes = |merged: &[Rc<Merged>]| -> usize {
            merged.iter().map(|merged| merged.state.len()).sum()
        };
        while merged.len() > REMEMBERED || (merged.len() > 1 && bytes(&merged) > MOST_BYTES) {
            merged.remove(0);
        }
    }
}

/// Enough of an update to know it by.
fn mark(update: &[u8]) -> Vec<u8> {
    let (first, last) = (update.len().min(ENDS), update.len().saturating_sub(ENDS));
    let ends = [&update[..first], &update[last..]];
    [format!("{}:", update.len()).as_bytes(), ends[0], ends[1]].concat()
}

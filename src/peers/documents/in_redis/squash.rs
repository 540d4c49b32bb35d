//! Makes one update of many.

use super::InRedis;
use super::scripts::{REPLACE, SET};
use crate::ground::tasks::aside_if;
use crate::metrics;
use crate::peers::documents::Away;
use crate::peers::documents::bytes::{ints, read_ints};
use crate::peers::documents::compact::Compacted;
use crate::peers::documents::history::{LIGHT, SQUASH_AT, check, look_at, merge};
use crate::peers::documents::mend::joined;
use crate::peers::documents::vector::Vector;
use crate::peers::shared::lease::Lease;
use crate::redis::CommandError;
use data_encoding::HEXLOWER;
use sha1::{Digest as _, Sha1};
use std::borrow::Cow;
use std::rc::Rc;

/// How often all before an update is merged, since something that waited may have to give way to it: who closes gap after gap does not cost
/// a merge for each.
const MOST_JOINS: usize = 16;

/// A full document is squashed whole to make room when it has more updates than this, so that whoever keeps writing into a
/// full one does not cost a merge each time.
const WORTH_SQUASHING: usize = 16;

impl InRedis {
    /// Squashes the older half after the update that made it necessary has been passed on.
    pub(super) fn squash_later(self: &Rc<Self>, id: &str) {
        let mut start = false;
        self.with_known(id, |known| {
            start = known.bad == 0 && !std::mem::replace(&mut known.squashing, true)
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
        self.owner.spawn("squashes a document", squash);
    }

    /// Squashes all of it, if that is worth it. Whether it was.
    pub(super) async fn squash_whole(&self, id: &str) -> Result<bool, Away> {
        let squash = async {
            let len = self.len(id).await?;
            let mut deleted = false;
            self.with_known(id, |known| deleted = std::mem::take(&mut known.deleted));
            Ok((deleted || len > WORTH_SQUASHING) && self.squash(id, len).await?)
        };
        squash.await.map_err(|fault| self.fault(id, &fault))
    }

    /// So many of the stored updates are none: said and counted once for a document that is open here.
    pub(super) fn skipped(&self, id: &str, bad: usize, all: usize) {
        let mut new = 0;
        self.with_known(id, |known| {
            new = bad.saturating_sub(known.bad);
            known.bad = known.bad.max(bad);
        });
        if new > 0 {
            metrics::refuse("stored update", new as u64);
            log::error!("{bad} of {all} stored updates of {id:?} are none, and left out");
        }
    }

    /// Makes one update of the first ones. `false` when somebody else did meanwhile, or they can't be merged.
    async fn squash(&self, id: &str, count: usize) -> Result<bool, CommandError> {
        let old = self.read(id, count as isize - 1).await?;
        let (count, large) = (old.len(), is_large(&old));
        let merge = move || {
            let updates: Vec<&[u8]> = old.iter().map(Vec::as_slice).collect();
            let hash = HEXLOWER.encode(&Sha1::digest(updates.join(&b'\n')));
            let (merged, bad) = merge_stored(None, &old);
            // What can't be read stays for whoever can.
            let merged = merged.filter(|_| bad == 0);
            let squashed = merged.map(|merged| (hash, ints(&merged.bytes), merged));
            (squashed, bad)
        };
        let (squashed, bad) = aside_if(large, merge).await;
        self.skipped(id, bad, count);
        let Some((hash, json, merged)) = squashed else {
            return Ok(false);
        };
        let count = count.to_string();
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
}

/// Whether it takes long to merge them.
pub(super) fn is_large(stored: &[Vec<u8>]) -> bool {
    stored.iter().map(Vec::len).sum::<usize>() > LIGHT
}

/// What was made of the first updates, and what of it is there without a gap.
type Before<'a> = (&'a [u8], &'a Vector);

/// One update of those that are one, and of what was made of those before them; and how many are none: another process may
/// have stored anything, so yrs is shown only what it would be shown of a client.
pub(super) fn merge_stored(
    before: Option<Before<'_>>,
    stored: &[Vec<u8>],
) -> (Option<Compacted>, usize) {
    let mut updates: Vec<Vec<u8>> = stored.iter().filter_map(|json| read_ints(json)).collect();
    updates.retain(|update| look_at(update).is_ok());
    let mut merged = merge_in_order(before, &updates);
    if merged.is_none() {
        updates.retain(|update| check(update).is_ok());
        merged = merge_in_order(before, &updates);
    }
    (merged, stored.len() - updates.len())
}

/// Editors have taken them one after another: what waited over a gap gave way to what came in its place.
fn merge_in_order(before: Option<Before<'_>>, updates: &[Vec<u8>]) -> Option<Compacted> {
    let mut parts: Vec<Cow<'_, [u8]>> = Vec::new();
    let mut vector = Vector::default();
    if let Some((before, known)) = before {
        parts.push(before.into());
        vector.clone_from(known);
    }
    let mut joins = 0;
    for update in updates {
        let gap = vector.missing().filter(|_| joins < MOST_JOINS);
        let known = gap.map(|_| vector.clone());
        vector.take(update);
        let came = known.filter(|_| vector.is_old());
        let all = came.and_then(|known| joined(&known, &merge_all(&parts)?.bytes, update));
        match all {
            Some(all) => {
                vector = Vector::of(&all);
                parts = vec![all.into()];
                joins += 1;
            }
            None => parts.push(update.into()),
        }
    }
    merge_all(&parts)
}

fn merge_all(parts: &[Cow<'_, [u8]>]) -> Option<Compacted> {
    merge(parts.iter().map(|part| &**part).collect())
}

//! What an update must bring with it, or Yjs throws in each editor that has it.
//!
//! A map has one value for each of its names. An entry may have several all the same: Yjs writes that when it takes back what was
//! deleted bit by bit. It shows the last one. If something builds on one before it, Yjs throws as soon as the map is deleted, since it
//! deletes the last alone. So those before it are deleted at once.
//!
//! What an editor has got over a gap it puts in its place once the gap is closed, as it came. If something else has come in its place,
//! in part, Yjs throws. So what closes a gap brings along what waited: the editor has all of it before it looks.

use super::bury::put_deletions;
use super::reader::BadUpdate;
use super::update::{Range, deletions, walk};
use super::vector::Vector;
use yrs::merge_updates_v1;

/// A checked update that Yjs takes after what is known.
pub fn mended(known: &Vector, update: Vec<u8>) -> Result<Vec<u8>, BadUpdate> {
    match known.stale_entries(&update) {
        stale if stale.is_empty() => Ok(update),
        stale => delete(&update, stale),
    }
}

/// An update for which something stored waits, with that.
pub fn with_waiting(known: &Vector, stored: &[u8], update: &[u8]) -> Option<Vec<u8>> {
    let whole = joined(known, stored, update)?;
    let all = Vector::of(&whole);
    let mut news = known.rest_within(&whole, Some(&all)).ok()?;
    let deletions = walk(&news, || {}, |_| {}).ok()?.len();
    news.truncate(news.len() - deletions);
    news.push(0);
    merge_updates_v1([news, all.rest_of(update).ok()?]).ok()
}

/// What is stored, together with an update. What waits in the place of something that the update brings gives way, as it does in
/// editors.
pub fn joined(known: &Vector, stored: &[u8], update: &[u8]) -> Option<Vec<u8>> {
    let mut after = known.clone();
    after.take(update);
    let (nothing, part) = (Vector::default(), Vector::rest_within);
    let there = part(&nothing, stored, Some(known)).ok()?;
    let taken = part(&nothing, update, Some(&after)).ok()?;
    let waited = after.rest_of(stored).ok()?;
    let all = merge_updates_v1([&there, &taken, &waited]).ok()?;
    let waits = Vector::of(&all).rest_of(update).ok()?;
    merge_updates_v1([all, waits]).ok()
}

fn delete(update: &[u8], mut ranges: Vec<Range>) -> Result<Vec<u8>, BadUpdate> {
    let rest = walk(update, || {}, |_| {})?;
    deletions(rest, |client, clock, len| ranges.push((client, clock, len)))?;
    let mut out = update[..update.len() - rest.len()].to_vec();
    put_deletions(&mut out, ranges);
    Ok(out)
}

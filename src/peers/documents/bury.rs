//! A document that has ended: nothing of it is to be seen any more, and whoever comes back with it is told so.
//!
//! What is left says that all of it is deleted. It is the beginning of the document that follows it: so that an editor who still
//! has the old one has the new one's text alone once both are merged, whichever program it is.

use super::compact::compact;
use super::lean::lean;
use super::reader::{BadUpdate, put_number};
use super::update::{Range, deletions, walk};
use super::vector::Vector;

/// A checked update with all of it deleted.
pub fn bury(update: &[u8]) -> Result<Vec<u8>, BadUpdate> {
    let update = compact(update)?.bytes;
    let mut ranges: Vec<Range> = Vec::new();
    let rest = walk(
        &update,
        || {},
        |block| {
            if !block.skip {
                ranges.push((block.id.client, block.id.clock, block.len));
            }
        },
    )?;
    deletions(rest, |client, clock, len| ranges.push((client, clock, len)))?;
    let mut buried = update[..update.len() - rest.len()].to_vec();
    put_deletions(&mut buried, ranges);
    lean(&buried)
}

/// Whether something of an update is of a document that has ended, and its sender does not know that: it deletes none of it.
pub fn is_of_ended(update: &[u8], ended: &Vector) -> Result<bool, BadUpdate> {
    let mut gone: Vec<Range> = Vec::new();
    let rest = walk(update, || {}, |_| {})?;
    deletions(rest, |client, clock, len| gone.push((client, clock, len)))?;
    gone.sort_unstable();
    let is_gone = |client, clock| {
        let after = gone.partition_point(|(c, start, _)| (*c, *start) <= (client, clock));
        let range = after.checked_sub(1).and_then(|at| gone.get(at));
        range.is_some_and(|(c, start, len)| *c == client && clock < start + len)
    };
    let mut found = false;
    walk(
        update,
        || {},
        |block| {
            found |=
                block.is_known() && ended.has(block.id) && !is_gone(block.id.client, block.id.clock)
        },
    )?;
    Ok(found)
}

/// Writes ranges as the deletions of an update.
pub(super) fn put_deletions(out: &mut Vec<u8>, mut ranges: Vec<Range>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = next.0 == last.0 && next.1 <= last.1 + last.2;
        if joins {
            last.2 = last.2.max(next.1 + next.2 - last.1);
        }
        joins
    });
    let clients = ranges.chunk_by(|one, other| one.0 == other.0);
    put_number(out, clients.clone().count() as u64);
    for ranges in clients {
        put_number(out, ranges[0].0);
        put_number(out, ranges.len() as u64);
        for (_, clock, len) in ranges {
            put_number(out, *clock);
            put_number(out, *len);
        }
    }
}

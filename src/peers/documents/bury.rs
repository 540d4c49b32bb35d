//! A document that has ended: nothing of it is to be seen any more, and whoever comes back with it is told so.
//!
//! What is left says that all of it is deleted. It is the beginning of the document that follows it: so that an editor who still
//! has the old one has the new one's text alone once both are merged, whichever program it is.

use super::compact::compact;
use super::lean::lean;
use super::reader::{BadUpdate, put_number};
use super::update::{Block, Id, Range, deletions, walk};
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

/// Whether there is such a block in an update.
pub fn holds(update: &[u8], is_such: impl Fn(&Block<'_>) -> bool) -> bool {
    let mut holds = false;
    let walked = walk(
        update,
        || {},
        |block| holds |= !block.skip && is_such(&block),
    );
    holds && walked.is_ok()
}

/// What an update has to do with a document that has ended; what is greater counts for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It stands for itself.
    Nothing,
    /// It builds on something else, which may be of that.
    Builds,
    /// Something in it is of that, and is deleted.
    Knows,
    /// Something in it is of that, and is not deleted: its sender does not know that it has ended.
    OfEnded,
}

pub fn part_of_ended(update: &[u8], ended: &Vector) -> Result<Part, BadUpdate> {
    let mut gone: Vec<Range> = Vec::new();
    let rest = walk(update, || {}, |_| {})?;
    deletions(rest, |client, clock, len| gone.push((client, clock, len)))?;
    gone.sort_unstable();
    let is_gone = |id: Id| {
        let after = gone.partition_point(|(c, start, _)| (*c, *start) <= (id.client, id.clock));
        let range = after.checked_sub(1).and_then(|at| gone.get(at));
        range.is_some_and(|(c, start, len)| *c == id.client && id.clock < start + len)
    };
    let (mut part, mut last) = (Part::Nothing, None);
    walk(
        update,
        || {},
        |block| {
            let Id { client, clock } = block.id;
            let begins = last.replace(client) != Some(client);
            let mut others = [block.origin, block.right_origin, block.parent].into_iter();
            let builds =
                (begins && clock > 0) || others.any(|id| id.is_some_and(|id| id.client != client));
            let is_known = block.is_known() && !is_gone(block.id);
            part = part.max(match ended.has(block.id) {
                true if is_known => Part::OfEnded,
                true => Part::Knows,
                false if builds => Part::Builds,
                false => Part::Nothing,
            });
        },
    )?;
    Ok(part)
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

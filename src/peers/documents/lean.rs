//! An update without the contents that it deletes itself: an editor keeps those, to undo that, and Yjs leaves them out as soon
//! as nobody can. So a paste that was too large is not, once it is undone.

use super::reader::{BadUpdate, put_number};
use super::update::{Block, deletions, walk};

/// What was in a block is deleted, and no longer known.
const DELETED: u8 = 1;

/// Says the same as a checked update.
pub fn lean(update: &[u8]) -> Result<Vec<u8>, BadUpdate> {
    let mut sections: Vec<(u64, Block<'_>)> = Vec::new();
    let rest = walk(
        update,
        || {},
        |block| match sections.last_mut() {
            Some((count, first)) if first.id.client == block.id.client => *count += 1,
            _ => sections.push((1, block)),
        },
    )?;
    let mut deleted = Vec::new();
    deletions(rest, |client, clock, len| {
        deleted.push((client, clock, clock + len));
    })?;
    deleted.sort_unstable();
    let mut out = Vec::with_capacity(update.len().min(64 << 10));
    put_number(&mut out, sections.len() as u64);
    let mut sections = sections.iter();
    let mut client = None;
    walk(
        update,
        || {},
        |block| {
            if client != Some(block.id.client)
                && let Some((count, first)) = sections.next()
            {
                client = Some(block.id.client);
                put_number(&mut out, *count);
                put_number(&mut out, first.id.client);
                put_number(&mut out, first.id.clock);
            }
            put(&mut out, &block, &deleted);
        },
    )?;
    out.extend_from_slice(rest);
    Ok(out)
}

fn put(out: &mut Vec<u8>, block: &Block<'_>, deleted: &[(u64, u64, u64)]) {
    let (start, end) = (block.id.clock, block.id.clock + block.len);
    let before =
        deleted.partition_point(|(client, from, _)| (*client, *from) <= (block.id.client, start));
    let range = before.checked_sub(1).and_then(|last| deleted.get(last));
    let gone = range.is_some_and(|(client, _, to)| *client == block.id.client && *to >= end);
    let (head, contents) = block
        .bytes
        .split_at_checked(block.head)
        .unwrap_or((block.bytes, &[]));
    match head.split_first() {
        Some((info, head)) if gone && block.leaf && contents.len() > 8 => {
            out.push((info & !0x1f) | DELETED);
            out.extend_from_slice(head);
            put_number(out, block.len);
        }
        _ => out.extend_from_slice(block.bytes),
    }
}

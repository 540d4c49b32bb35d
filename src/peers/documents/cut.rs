//! The rest of a block of which the beginning is known, as Yjs itself writes it.
//!
//! Yjs takes whole ones, too. But they say where they stand, and if that is not where the known part of them stands, it throws in
//! each editor.

use super::reader::{BadUpdate, Reader, put_number};
use super::update::{Block, HAS_ORIGIN, KIND, KIND_DELETED, KIND_GC};

/// Writes the rest of a block, from this clock on.
pub fn put_rest(out: &mut Vec<u8>, block: &Block<'_>, clock: u64) -> Result<(), BadUpdate> {
    let known = clock - block.id.clock;
    let (head, contents) = block.bytes.split_at_checked(block.head).ok_or(BadUpdate)?;
    let Some(info) = head.first() else {
        out.push(KIND_GC);
        put_number(out, block.len - known);
        return Ok(());
    };
    out.push(info | HAS_ORIGIN);
    put_number(out, block.id.client);
    put_number(out, clock - 1);
    if let Some(right) = block.right_origin {
        put_number(out, right.client);
        put_number(out, right.clock);
    }
    if let Some(text) = block.text {
        put_text_after(out, text, known);
    } else if info & KIND == KIND_DELETED {
        put_number(out, block.len - known);
    } else {
        let mut values = Reader::new(contents);
        values.number()?;
        for _ in 0..known {
            values.value()?;
        }
        put_number(out, block.len - known);
        out.extend_from_slice(values.rest());
    }
    Ok(())
}

/// Without so many UTF-16 code units. As Yjs does, a replacement character stands for half of a pair.
fn put_text_after(out: &mut Vec<u8>, text: &str, known: u64) {
    let (mut units, mut rest) = (0, text.chars());
    while units < known {
        units += rest.next().map_or(known, |char| char.len_utf16() as u64);
    }
    let half = if units > known { "\u{fffd}" } else { "" };
    let rest = rest.as_str();
    put_number(out, (half.len() + rest.len()) as u64);
    out.extend_from_slice(half.as_bytes());
    out.extend_from_slice(rest.as_bytes());
}

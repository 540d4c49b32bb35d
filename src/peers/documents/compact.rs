//! Joins the blocks of a merged update where somebody typed on: yrs keeps one block for each keystroke.
//!
//! A block of text whose left neighbour is the last character of the block before it, with the same right neighbour,
//! says the same as one block of both texts: it is how an implementation splits that one when somebody
//! writes into it. So nothing is lost, and a typed character takes about one byte instead of fifteen.

use super::reader::{BadUpdate, put_bytes, put_number};
use super::update::{Block, Id, deletions as each_deletion, walk};

/// A block that is to be written: its first bytes up to its text, then the texts joined.
struct Joined<'a> {
    first: Block<'a>,
    /// Clocks of all that was joined.
    len: u64,
    /// The text of `first` and of those joined to it; empty while it is alone.
    text: String,
}

/// What [`compact`] makes.
pub struct Compacted {
    pub bytes: Vec<u8>,
    /// How many blocks and ranges of deletions it has.
    pub blocks: usize,
}

/// The same update with as few blocks as typing allows.
pub fn compact(update: &[u8]) -> Result<Compacted, BadUpdate> {
    let sections = std::cell::RefCell::new(Vec::<Vec<Joined<'_>>>::new());
    let deletions = walk(
        update,
        || sections.borrow_mut().push(Vec::new()),
        |block| {
            if let Some(section) = sections.borrow_mut().last_mut() {
                add(section, block);
            }
        },
    )?;
    let mut out = Vec::with_capacity(update.len());
    let sections = sections.into_inner();
    put_number(&mut out, sections.len() as u64);
    for section in &sections {
        put_section(&mut out, section);
    }
    out.extend_from_slice(deletions);
    let mut blocks = sections.iter().map(Vec::len).sum();
    // What is none counts up to where it is none.
    let _ = each_deletion(deletions, |_, _, _| blocks += 1);
    Ok(Compacted { bytes: out, blocks })
}

fn add<'a>(section: &mut Vec<Joined<'a>>, block: Block<'a>) {
    if let (Some(last), Some(text)) = (section.last_mut(), block.text)
        && let Some(first) = last.first.text
        && follows(last, &block)
    {
        if last.text.is_empty() {
            last.text.push_str(first);
        }
        last.text.push_str(text);
        last.len += block.len;
        return;
    }
    section.push(Joined {
        first: block,
        len: block.len,
        text: String::new(),
    });
}

fn follows(last: &Joined<'_>, block: &Block<'_>) -> bool {
    let end = Id {
        client: last.first.id.client,
        clock: last.first.id.clock + last.len - 1,
    };
    block.origin == Some(end) && block.right_origin == last.first.right_origin
}

fn put_section(out: &mut Vec<u8>, section: &[Joined<'_>]) {
    let Some(Joined { first, .. }) = section.first() else {
        return;
    };
    put_number(out, section.len() as u64);
    put_number(out, first.id.client);
    put_number(out, first.id.clock);
    for joined in section {
        let bytes = joined.first.bytes;
        match joined.first.text {
            Some(text) if !joined.text.is_empty() => {
                // The text is the last thing in the block, after its length.
                let head = bytes.len() - text.len() - length_of(text.len());
                out.extend_from_slice(bytes.get(..head).unwrap_or(bytes));
                put_bytes(out, joined.text.as_bytes());
            }
            _ => out.extend_from_slice(bytes),
        }
    }
}

/// How many bytes a length takes.
fn length_of(len: usize) -> usize {
    let mut bytes = Vec::with_capacity(5);
    put_number(&mut bytes, len as u64);
    bytes.len()
}

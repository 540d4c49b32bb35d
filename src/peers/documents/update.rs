//! Walks through the bytes of a Yjs update, and so finds out whether it is one.
//!
//! It comes before yrs, which takes lengths at their word: five bytes that announce 2^27 clients make it reserve
//! gigabytes, and clocks that overflow make it panic. What gets past here costs yrs no more than its size
//! suggests. Left out of the format is what editors don't produce and yrs reads otherwise than Yjs writes it: JSON content (replaced
//! by values in 2020) and XML hooks, whose name yrs takes for the next block.

use super::reader::{BadUpdate, OBJECT, Reader};
use std::collections::BTreeSet;

/// The last clock of a client. Implementations compute with signed 32 bits.
const MAX_CLOCK: u64 = i32::MAX as u64;

pub(super) const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;
const HAS_PARENT_SUB: u8 = 0x20;
/// The part of a block's first byte that says what is in it.
pub(super) const KIND: u8 = 0x1f;
pub(super) const KIND_GC: u8 = 0;
pub(super) const KIND_DELETED: u8 = 1;
const KIND_TYPE: u8 = 7;
const KIND_SKIP: u8 = 10;

/// Blocks that cost as much as a document inside of a document.
const SUBDOCUMENT: usize = 16;

/// What an update holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Insertions, each of one piece.
    pub blocks: usize,
    /// Ranges of deletions.
    pub deletions: usize,
    /// How much they delete.
    pub deleted: u64,
    /// Whether it inserts something that can be seen: text, an embedded thing.
    pub visible: bool,
    /// There is something else in it than text and deletions.
    pub rich: bool,
    /// What it builds on and the document does not have, once it is stored.
    pub missing: Option<Id>,
}

impl Contents {
    /// What it counts against the limit of blocks.
    pub fn weight(&self) -> usize {
        self.blocks + self.deletions
    }

    /// Does it change nothing at all?
    pub fn is_empty(&self) -> bool {
        self.blocks == 0 && self.deletions == 0
    }
}

/// The place of one inserted character or thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    pub client: u64,
    pub clock: u64,
}

/// A range of clocks of a client: the first, and how many.
pub type Range = (u64, u64, u64);

/// One block of an update.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    pub id: Id,
    /// How many clocks it takes.
    pub len: u64,
    /// All of it.
    pub bytes: &'a [u8],
    /// The update from here on.
    pub from: &'a [u8],
    /// How many bytes come before what is in it.
    pub head: usize,
    /// What is in it is a value: nothing else stands in that.
    pub leaf: bool,
    /// It says itself that it is an entry of a map.
    pub entry: bool,
    /// Nothing: those who wrote it don't have what stands here either.
    pub skip: bool,
    pub origin: Option<Id>,
    pub right_origin: Option<Id>,
    pub parent: Option<Id>,
    /// Its text, if that is what is in it.
    pub text: Option<&'a str>,
    visible: bool,
    /// What it costs while it is merged, in blocks.
    weight: usize,
}

impl Block<'_> {
    /// Whether what is in it is known: it was not deleted long ago.
    pub fn is_known(&self) -> bool {
        let kind = self.bytes.first().map_or(KIND_GC, |info| info & KIND);
        !matches!(kind, KIND_GC | KIND_DELETED | KIND_SKIP)
    }

    /// Whether that is in it.
    pub fn covers(&self, id: Id) -> bool {
        self.id.client == id.client && (self.id.clock..self.id.clock + self.len).contains(&id.clock)
    }

    /// Whether others may stand in it.
    pub fn has_others(&self) -> bool {
        self.bytes
            .first()
            .is_some_and(|info| info & KIND == KIND_TYPE)
    }

    /// Whether there are several values or letters in it.
    pub fn has_several(&self) -> bool {
        self.leaf && self.len > 1
    }

    /// Its last clock.
    pub fn last(&self) -> Id {
        Id {
            clock: self.id.clock + self.len.max(1) - 1,
            ..self.id
        }
    }
}

/// Checks an update from end to end.
///
/// # Errors
/// When it is not one that yrs can be trusted with.
pub fn inspect(bytes: &[u8]) -> Result<Contents, BadUpdate> {
    let mut contents = Contents::default();
    let rest = walk(
        bytes,
        || {},
        |block| {
            contents.blocks += block.weight;
            contents.visible |= block.visible;
            contents.rich |= block.is_known() && block.text.is_none();
        },
    )?;
    deletions(rest, |_, _, len| {
        contents.deletions += 1;
        contents.deleted += len;
    })?;
    Ok(contents)
}

/// Calls `section` for each client and `block` for each of its blocks; returns what follows: the deletions.
pub fn walk<'a>(
    bytes: &'a [u8],
    mut section: impl FnMut(),
    mut block: impl FnMut(Block<'a>),
) -> Result<&'a [u8], BadUpdate> {
    let mut reader = Reader::new(bytes);
    let mut clients = BTreeSet::new();
    let sections = reader.count(3)?;
    for _ in 0..sections {
        let blocks = reader.count(2)?;
        let client = reader.number()?;
        let mut clock = reader.number()?;
        if blocks == 0 || sections > 1 && !clients.insert(client) {
            return Err(BadUpdate);
        }
        section();
        for _ in 0..blocks {
            let next = read_block(&mut reader, Id { client, clock })?;
            clock += next.len;
            if next.len == 0 || clock > MAX_CLOCK {
                return Err(BadUpdate);
            }
            block(next);
        }
    }
    Ok(reader.rest())
}

/// Where what a change inserts begins.
pub fn begins(update: &[u8]) -> Option<Id> {
    let mut first = None;
    walk(
        update,
        || {},
        |block| {
            first.get_or_insert(block.id);
        },
    )
    .ok()?;
    first
}

/// Calls with each range that is deleted: client, clock and length. They are the last thing in an update.
pub fn deletions(bytes: &[u8], mut range: impl FnMut(u64, u64, u64)) -> Result<(), BadUpdate> {
    let mut reader = Reader::new(bytes);
    let mut clients = BTreeSet::new();
    let sections = reader.count(2)?;
    for _ in 0..sections {
        let client = reader.number()?;
        if sections > 1 && !clients.insert(client) {
            return Err(BadUpdate);
        }
        let mut end = 0;
        for _ in 0..reader.count(2)? {
            let (clock, len) = (reader.number()?, reader.number()?);
            if clock < end || len == 0 || clock.max(len) > MAX_CLOCK || clock + len > MAX_CLOCK {
                return Err(BadUpdate);
            }
            end = clock + len;
            range(client, clock, len);
        }
    }
    match reader.rest() {
        [] => Ok(()),
        _ => Err(BadUpdate),
    }
}

/// Reads the block that begins here.
pub fn read_block<'a>(reader: &mut Reader<'a>, id: Id) -> Result<Block<'a>, BadUpdate> {
    let start = reader.rest();
    let info = reader.byte()?;
    let mut block = Block {
        id,
        len: 0,
        bytes: start,
        from: start,
        head: 0,
        leaf: false,
        entry: false,
        skip: info == KIND_SKIP,
        origin: None,
        right_origin: None,
        parent: None,
        text: None,
        visible: false,
        weight: 1,
    };
    match info {
        KIND_GC | KIND_SKIP => block.len = reader.number()?,
        _ => read_item(reader, info, &mut block)?,
    }
    let len = start.len() - reader.rest().len();
    block.bytes = start.get(..len).ok_or(BadUpdate)?;
    Ok(block)
}

fn read_item<'a>(
    reader: &mut Reader<'a>,
    info: u8,
    block: &mut Block<'a>,
) -> Result<(), BadUpdate> {
    if info & HAS_ORIGIN != 0 {
        block.origin = Some(read_earlier(reader, block.id)?);
    }
    if info & HAS_RIGHT_ORIGIN != 0 {
        block.right_origin = Some(read_earlier(reader, block.id)?);
    }
    if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) == 0 {
        match reader.number()? {
            1 => drop(reader.text()?),
            0 => block.parent = Some(read_earlier(reader, block.id)?),
            _ => return Err(BadUpdate),
        }
        if info & HAS_PARENT_SUB != 0 {
            reader.text()?;
            block.entry = true;
        }
    }
    block.head = block.from.len() - reader.rest().len();
    block.leaf = matches!(info & KIND, 3 | 4 | 5 | 8);
    read_content(reader, info & KIND, block)
}

fn read_content<'a>(
    reader: &mut Reader<'a>,
    kind: u8,
    block: &mut Block<'a>,
) -> Result<(), BadUpdate> {
    block.len = 1;
    match kind {
        // No longer known.
        KIND_DELETED => block.len = reader.number()?,
        3 => {
            reader.bytes()?;
            block.visible = true;
        }
        4 => {
            let text = reader.text()?;
            block.len = text.encode_utf16().count() as u64;
            block.visible = true;
            block.text = Some(text);
        }
        // Embedded JSON.
        5 => {
            read_json(reader)?;
            block.visible = true;
        }
        // A format's name and its value.
        6 => {
            reader.text()?;
            read_json(reader)?;
        }
        KIND_TYPE => match reader.byte()? {
            // An XML element and its name.
            3 => drop(reader.text()?),
            // Array, map, text, XML fragment, XML text.
            0 | 1 | 2 | 4 | 6 => {}
            _ => return Err(BadUpdate),
        },
        8 => {
            let values = reader.count(1)?;
            for _ in 0..values {
                reader.value()?;
            }
            block.len = values as u64;
            block.visible = true;
        }
        // A document inside of this one: its name and its options. yrs makes one of it.
        9 => {
            reader.text()?;
            read_options(reader)?;
            block.visible = true;
            block.weight = SUBDOCUMENT;
        }
        _ => return Err(BadUpdate),
    }
    Ok(())
}

/// What a block builds on: of its own client, something before it. Yjs waits for what other clients have not sent; of
/// the block's own it takes for granted that it is there, and throws in each editor if it is not.
fn read_earlier(reader: &mut Reader<'_>, of: Id) -> Result<Id, BadUpdate> {
    let (client, clock) = (reader.number()?, reader.number()?);
    let is_later = client == of.client && clock >= of.clock;
    match clock > MAX_CLOCK || is_later {
        true => Err(BadUpdate),
        false => Ok(Id { client, clock }),
    }
}

/// The options of a document inside of this one: an object, or Yjs throws in each editor. So it does when it takes these two of
/// them, which no editor writes, for the document's name and for a function.
fn read_options(reader: &mut Reader<'_>) -> Result<(), BadUpdate> {
    if reader.byte()? != OBJECT {
        return Err(BadUpdate);
    }
    for _ in 0..reader.count(2)? {
        if matches!(reader.text()?, "guid" | "gcFilter") {
            return Err(BadUpdate);
        }
        reader.value()?;
    }
    Ok(())
}

/// JSON as text; serde_json itself refuses what is nested too deep.
fn read_json(reader: &mut Reader<'_>) -> Result<(), BadUpdate> {
    let json = reader.text()?;
    let read = serde_json::from_str::<serde::de::IgnoredAny>(json);
    read.map(drop).map_err(|_| BadUpdate)
}

//! Mends the end of a file that lost or gained bytes there, before redb looks at it.
//!
//! redb refuses a file whose length is not what its header says. But a file grows in large steps, so its
//! last pages are often free, and what is behind the last page was never part of it: refusing would
//! lose everything for bytes that hold nothing. So a part of a page at the end is cut off, and a
//! file that is too short is filled up with zeros. Where live pages are missing, redb's checksums say
//! so afterwards. (Layout: redb's design document, "Database header".)

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
const HEADER_BYTES: usize = 32;
const PAGE: u64 = 4096;
/// A file grows to at most twice its length at once. A header that says much more is damaged itself.
const LARGEST_GROWTH: u64 = 16 << 20;

/// Makes the file's length one that redb takes, if that is all that is wrong with it.
pub(super) fn mend(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.try_lock().is_err() {
        // In use: opening it will say so.
        return Ok(());
    }
    let Some(wanted) = wanted(&file)? else {
        return Ok(());
    };
    log::warn!(
        "store: {} has {} bytes, made it {wanted}, as its header says",
        path.display(),
        file.metadata()?.len()
    );
    file.set_len(wanted)?;
    file.sync_all()
}

/// The length that redb takes, if it isn't the one that the file has and that is all that is wrong with it.
pub(super) fn wanted(file: &File) -> std::io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let Some(layout) = layout_bytes(file)? else {
        return Ok(None);
    };
    let wanted = (length - length % PAGE).max(layout);
    let right = wanted == length || wanted > length.saturating_mul(2) + LARGEST_GROWTH;
    Ok((!right).then_some(wanted))
}

/// The length that the header says the file has, if there is a header.
fn layout_bytes(file: &File) -> std::io::Result<Option<u64>> {
    let mut header = [0; HEADER_BYTES];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let field = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)))
    };
    let (page, region_header, region_data) = (field(12), field(16), field(20));
    let (full_regions, trailing_data) = (field(24), field(28));
    if !header.starts_with(&MAGIC) || page != PAGE {
        return Ok(None);
    }
    let trailing = match trailing_data {
        0 => 0,
        data => region_header + data,
    };
    let pages = full_regions
        .checked_mul(region_header + region_data)
        .and_then(|pages| pages.checked_add(1 + trailing));
    Ok(pages.and_then(|pages| pages.checked_mul(PAGE)))
}

//! A file looked at as if it could be written to: what redb changes while it repairs it stays in memory.
//!
//! Shape: the file, and the changed pages over it. Cost: 4 KiB a changed page, nothing for the rest.

use super::disk::PAGE;
use redb::StorageBackend;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file under its changes. redb asks for `Sync`, hence a lock; nobody else is there to wait for it.
#[derive(Debug)]
pub(super) struct View {
    file: File,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    /// The length that redb sees.
    len: u64,
    /// Up to here the file counts; behind it are zeros.
    file_len: u64,
    /// By the number of the page.
    pages: HashMap<u64, Box<[u8; PAGE]>>,
}

impl View {
    /// The file as if it had this length: cut, or with zeros at its end.
    pub(super) fn new(file: File, len: u64) -> io::Result<Self> {
        let changes = Changes {
            len,
            file_len: file.metadata()?.len().min(len),
            pages: HashMap::new(),
        };
        let changes = Mutex::new(changes);
        Ok(Self { file, changes })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// A page as it is now.
    fn page(&self, file: &File, number: u64) -> io::Result<Box<[u8; PAGE]>> {
        if let Some(page) = self.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = Box::new([0; PAGE]);
        let start = number * PAGE as u64;
        let there = self.file_len.saturating_sub(start).min(PAGE as u64) as usize;
        if let Some(part) = page.get_mut(..there) {
            file.read_exact_at(part, start)?;
        }
        Ok(page)
    }

    fn check(&self, offset: u64, len: usize) -> io::Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The pieces of `len` bytes from `offset` on, page by page: the page, where in it, how many bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let end = offset + len as u64;
    std::iter::from_fn(move || {
        let (number, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
        let size = (end - at).min((PAGE - start) as u64) as usize;
        at += size as u64;
        (size > 0).then_some((number, start, size))
    })
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        changes.check(offset, out.len())?;
        for (number, start, size) in pieces(offset, out.len()) {
            let page = changes.page(&self.file, number)?;
            let (now, rest) = out.split_at_mut(size);
            now.copy_from_slice(page.get(start..start + size).unwrap_or_default());
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes
            .pages
            .retain(|number, _| number * (PAGE as u64) < len);
        let (last, end) = (len / PAGE as u64, (len % PAGE as u64) as usize);
        if let Some(cut) = changes.pages.get_mut(&last).and_then(|p| p.get_mut(end..)) {
            cut.fill(0);
        }
        changes.file_len = changes.file_len.min(len);
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        changes.check(offset, data.len())?;
        for (number, start, size) in pieces(offset, data.len()) {
            let mut page = changes.page(&self.file, number)?;
            let (now, rest) = data.split_at(size);
            if let Some(part) = page.get_mut(start..start + size) {
                part.copy_from_slice(now);
            }
            changes.pages.insert(number, page);
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(view: &View, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![9; len];
        view.read(offset, &mut out).unwrap();
        out
    }

    #[test]
    fn changes_lie_over_the_file_and_never_reach_it() {
        let random = getrandom::u64().unwrap();
        let path = std::env::temp_dir().join(format!("siskin-view-{random:016x}"));
        std::fs::write(&path, vec![1; 13_000]).unwrap();
        let longer = View::new(File::open(&path).unwrap(), 14_000).unwrap();
        assert_eq!(read(&longer, 12_999, 3), [1, 0, 0]);
        let view = View::new(File::open(&path).unwrap(), 12_288).unwrap();
        view.write(4090, &[2; 4200]).unwrap();
        assert_eq!(read(&view, 4089, 3), [1, 2, 2]);
        assert_eq!(read(&view, 8289, 3), [2, 1, 1]);
        assert!(view.read(12_287, &mut [0; 2]).is_err());
        view.set_len(9_000).unwrap();
        view.set_len(20_000).unwrap();
        assert_eq!(read(&view, 8_999, 3), [1, 0, 0]);
        assert_eq!(read(&view, 19_990, 10), [0; 10]);
        assert_eq!(std::fs::read(&path).unwrap(), vec![1; 13_000]);
        std::fs::remove_file(path).unwrap();
    }
}

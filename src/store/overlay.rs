//! What is written but not yet on disk: readers look here before they look at the disk.
//!
//! Each entry knows the generation that wrote it last. A commit carries every entry there is; when it
//! succeeds, the entries of its generation and older leave, those written meanwhile stay.
//! Cost: the bytes of keys and values, bounded by [`MAX_BYTES`], plus about 100 bytes an entry; a commit
//! carries a copy of them.

use super::table::{Batch, Change, Table};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The most that waits for the disk, in bytes of keys and values. At the bound writes are refused;
/// what was taken before stays.
pub(super) const MAX_BYTES: usize = 16 << 20;

struct Entry {
    /// `None`: deleted.
    value: Option<Vec<u8>>,
    generation: u64,
}

impl Entry {
    fn bytes(&self, key: &str) -> usize {
        key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// The pending writes. Owned by the store; the flusher takes copies.
pub(super) struct Overlay {
    tables: BTreeMap<Table, BTreeMap<Box<str>, Entry>>,
    bytes: usize,
    /// The generation that writes of now belong to.
    generation: u64,
    /// The generation of the newest write; 0 before the first.
    newest: u64,
}

impl Overlay {
    pub(super) fn new() -> Self {
        Self {
            tables: BTreeMap::new(),
            bytes: 0,
            generation: 1,
            newest: 0,
        }
    }

    /// Is there room for `more` bytes?
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.bytes.saturating_add(more) <= MAX_BYTES
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.values().all(BTreeMap::is_empty)
    }

    /// The generation that has to be on disk for everything written so far to be there.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Applies all changes.
    pub(super) fn write(&mut self, batch: Batch) {
        for Change { table, key, value } in batch.0 {
            let entry = Entry {
                value,
                generation: self.generation,
            };
            self.bytes += entry.bytes(&key);
            let entries = self.tables.entry(table).or_default();
            if let Some(old) = entries.insert(key.as_str().into(), entry) {
                self.bytes -= old.bytes(&key);
            }
        }
        self.newest = self.generation;
    }

    /// Appends to a value that waits here already; `false` if none does.
    pub(super) fn append(&mut self, table: Table, key: &str, tail: &[u8]) -> bool {
        let generation = self.generation;
        let Some(entry) = self.tables.get_mut(&table).and_then(|t| t.get_mut(key)) else {
            return false;
        };
        let Some(value) = &mut entry.value else {
            return false;
        };
        value.extend_from_slice(tail);
        entry.generation = generation;
        self.bytes += tail.len();
        self.newest = generation;
        true
    }

    /// The pending value: `None` if nothing is pending, `Some(None)` if a deletion is.
    pub(super) fn get(&self, table: Table, key: &str) -> Option<Option<&[u8]>> {
        let entry = self.tables.get(&table)?.get(key)?;
        Some(entry.value.as_deref())
    }

    /// The pending values of keys after `after` (exclusive) that begin with `prefix`, in order.
    pub(super) fn scan<'a>(
        &'a self,
        table: Table,
        prefix: &'a str,
        after: &str,
    ) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let from = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        let entries = self.tables.get(&table);
        entries
            .map(|entries| entries.range::<str, _>((from, Bound::Unbounded)))
            .into_iter()
            .flatten()
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (&**key, entry.value.as_deref()))
    }

    /// A copy of everything, and the generation it brings to disk. Writes from now on are of the next.
    pub(super) fn seal(&mut self) -> (u64, Vec<Change>) {
        let sealed = self.generation;
        self.generation += 1;
        let changes = self.tables.iter().flat_map(|(table, entries)| {
            entries.iter().map(|(key, entry)| Change {
                table: *table,
                key: String::from(&**key),
                value: entry.value.clone(),
            })
        });
        (sealed, changes.collect())
    }

    /// How often [`Self::seal`] was called.
    #[cfg(test)]
    pub(super) fn sealed(&self) -> u64 {
        self.generation - 1
    }

    /// `generation` is on disk: forgets what it brought there.
    pub(super) fn forget(&mut self, generation: u64) {
        let mut bytes = 0;
        for entries in self.tables.values_mut() {
            entries.retain(|key, entry| {
                let stays = entry.generation > generation;
                if stays {
                    bytes += entry.bytes(key);
                }
                stays
            });
        }
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(overlay: &mut Overlay, key: &str, value: &str) {
        let mut batch = Batch::new();
        batch.put(Table::Users, key, value);
        overlay.write(batch);
    }

    fn seen(overlay: &Overlay, prefix: &str, after: &str) -> Vec<(String, Option<String>)> {
        let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
        let entries = overlay.scan(Table::Users, prefix, after);
        entries.map(|(k, v)| (k.to_owned(), v.map(text))).collect()
    }

    #[test]
    fn a_commit_takes_its_generation_and_leaves_later_writes() {
        let mut overlay = Overlay::new();
        put(&mut overlay, "a", "1");
        put(&mut overlay, "b", "1");
        let (sealed, changes) = overlay.seal();
        assert_eq!((sealed, changes.len(), overlay.newest()), (1, 2, 1));
        put(&mut overlay, "a", "22");
        assert_eq!(overlay.newest(), 2);
        overlay.forget(sealed);
        assert_eq!(overlay.get(Table::Users, "a"), Some(Some(&b"22"[..])));
        assert_eq!(overlay.get(Table::Users, "b"), None);
        assert_eq!(overlay.bytes(), 3);
        let (sealed, _) = overlay.seal();
        overlay.forget(sealed);
        assert!(overlay.is_empty());
        assert_eq!(overlay.bytes(), 0);
    }

    #[test]
    fn what_failed_goes_with_the_next_commit() {
        let mut overlay = Overlay::new();
        put(&mut overlay, "a", "1");
        let (first, _) = overlay.seal();
        put(&mut overlay, "b", "1");
        let (second, changes) = overlay.seal();
        assert!(second > first);
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn appending_needs_a_pending_value_and_counts_its_bytes() {
        let mut overlay = Overlay::new();
        assert!(!overlay.append(Table::Users, "a", b"x"));
        put(&mut overlay, "a", "1");
        let (sealed, _) = overlay.seal();
        assert!(overlay.append(Table::Users, "a", b"23"));
        overlay.forget(sealed);
        assert_eq!(overlay.get(Table::Users, "a"), Some(Some(&b"123"[..])));
        assert_eq!(overlay.bytes(), 4);
    }

    #[test]
    fn a_scan_sees_its_prefix_only_and_deletions_too() {
        let mut overlay = Overlay::new();
        for key in ["a", "b\u{0}1", "b\u{0}2", "c"] {
            put(&mut overlay, key, "1");
        }
        let mut batch = Batch::new();
        batch.delete(Table::Users, "b\u{0}2");
        overlay.write(batch);
        let one = |k: &str, v: Option<&str>| (k.to_owned(), v.map(str::to_owned));
        assert_eq!(
            seen(&overlay, "b\u{0}", ""),
            [one("b\u{0}1", Some("1")), one("b\u{0}2", None)]
        );
        assert_eq!(seen(&overlay, "b\u{0}", "b\u{0}1"), [one("b\u{0}2", None)]);
        assert_eq!(seen(&overlay, "", "b\u{0}2"), [one("c", Some("1"))]);
    }

    #[test]
    fn there_is_a_bound() {
        let mut overlay = Overlay::new();
        put(&mut overlay, "a", &"x".repeat(MAX_BYTES - 1));
        assert!(overlay.has_room(0));
        assert!(!overlay.has_room(1));
    }
}

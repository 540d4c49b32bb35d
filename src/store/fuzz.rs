//! What a damaged file must not upset: a store with some bytes changed or cut off.

use super::verify::verify;
use super::{Batch, FILE_NAME, Store, Table};
use std::path::PathBuf;
use std::sync::OnceLock;

/// A place of our own for files.
fn place(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("siskin-fuzz-{}-{name}", std::process::id()))
}

/// A store as a crash leaves it.
fn whole() -> &'static [u8] {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = place("store");
        let executor = Box::leak(Box::new(smol::LocalExecutor::new()));
        let bytes = smol::block_on(executor.run(async {
            let store = Store::open(executor, &folder).expect("a new store");
            let mut batch = Batch::new();
            for key in ["a", "b", "c"] {
                batch.put(Table::Users, key, "{}");
            }
            store.write(batch).expect("a write");
            store.durable().await.expect("a commit");
            std::fs::read(folder.join(FILE_NAME)).expect("the file")
        }));
        std::fs::remove_dir_all(folder).expect("a folder");
        bytes
    })
}

/// A damaged store is refused, or whole. The input: four bytes that say where the file ends, then changes: three bytes for the
/// place, one that is written there.
pub fn store(data: &[u8]) {
    let [a, b, c, d, changes @ ..] = data else {
        return;
    };
    let mut bytes = whole().to_vec();
    let end = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    bytes.truncate(bytes.len().min(end));
    for change in changes.chunks_exact(4) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = change[3];
        }
    }
    let path = place("damaged");
    std::fs::write(&path, &bytes).expect("a file");
    let _ = verify(&path);
    std::fs::remove_file(&path).expect("a file");
}

//! Files that are damaged, or no stores at all.

use super::super::disk::PAGE;
use super::*;

#[test]
fn a_file_that_is_no_store_is_moved_aside() {
    with_folder(async |executor, folder| {
        std::fs::create_dir_all(&folder).unwrap();
        for content in [&b""[..], b"hello", &[0; 100_000]] {
            std::fs::write(folder.join(FILE_NAME), content).unwrap();
            let store = Store::open(executor, &folder).unwrap();
            assert!(store.degraded().unwrap().contains("damaged"));
            put(&store, "a", "1");
            store.durable().await.unwrap();
            let names = std::fs::read_dir(&folder).unwrap();
            let aside = names
                .map(|n| n.unwrap().path())
                .find(|path| path.to_string_lossy().contains(".damaged-"));
            let aside = aside.unwrap();
            assert_eq!(std::fs::read(&aside).unwrap(), content);
            std::fs::remove_file(aside).unwrap();
            store.close().await.unwrap();
        }
    });
}

/// A file with a few hundred entries, closed.
async fn some_file(executor: Executor, folder: &Path) -> Vec<u8> {
    let store = Store::open(executor, folder).unwrap();
    for i in 0..400 {
        put(
            &store,
            &format!("{i:04}"),
            &format!("\"{}\"", "x".repeat(i)),
        );
    }
    store.close().await.unwrap();
    std::fs::read(folder.join(FILE_NAME)).unwrap()
}

/// The same numbers each time.
fn some_numbers() -> impl FnMut(usize) -> usize {
    let mut seed = 7u64;
    move |below: usize| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    }
}

#[test]
fn a_damaged_file_never_panics_and_never_lies() {
    with_folder(async |executor, folder| {
        let closed = some_file(executor, &folder).await;
        let path = folder.join(FILE_NAME);
        let store = Store::open(executor, &folder).unwrap();
        // As a crash leaves it.
        let crashed = std::fs::read(&path).unwrap();
        store.close().await.unwrap();
        let mut random = some_numbers();
        let (mut kept, mut moved) = (0, 0);
        for round in 0..144 {
            let whole = if round % 12 < 6 { &closed } else { &crashed };
            let mut damaged = whole.clone();
            match round % 6 {
                // A cut, garbage at the end, a sector of garbage, a changed byte; the same of the first bytes.
                0 => damaged.truncate(random(whole.len())),
                1 => damaged.extend((0..random(9000)).map(|_| random(256) as u8)),
                2 => {
                    let at = random(whole.len() - 512);
                    for byte in &mut damaged[at..at + 512] {
                        *byte = random(256) as u8;
                    }
                }
                3 => damaged[random(whole.len())] ^= 1 << random(8),
                4 => damaged[random(64)] = random(256) as u8,
                _ => damaged[random(320)] ^= 1 << random(8),
            }
            std::fs::write(&path, &damaged).unwrap();
            let verified = verify(&path);
            assert!(std::fs::read(&path).unwrap() == damaged, "it was changed");
            let store = Store::open(executor, &folder).unwrap();
            let found = store.scan(Table::Users, "", "", 1000).unwrap();
            assert_eq!(verified.is_err(), store.degraded().is_some());
            // Bytes behind the end never hold anything.
            assert!(round % 6 != 1 || store.degraded().is_none());
            if let Some(why) = store.degraded() {
                moved += 1;
                assert_eq!(found.len(), 0);
                let (_, aside) = why.split_once("the damaged file is ").unwrap();
                assert!(std::fs::read(aside).unwrap() == damaged);
            } else {
                kept += 1;
                assert_eq!(found.len(), 400);
                assert!(found.iter().enumerate().all(|(i, e)| e.1.len() == i + 2));
            }
            store.close().await.unwrap();
            for entry in std::fs::read_dir(&folder).unwrap() {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        println!("{kept} damages did no harm, {moved} files were moved aside");
        assert!(kept > 20 && moved > 20, "{kept} {moved}");
    });
}

/// What is missing holds nothing, or only a commit that nobody was told of.
#[test]
fn a_file_that_lost_the_free_pages_at_its_end_is_whole() {
    with_folder(async |executor, folder| {
        some_file(executor, &folder).await;
        let path = folder.join(FILE_NAME);
        let store = Store::open(executor, &folder).unwrap();
        let mut batch = Batch::new();
        batch.put(Table::Notes, "a", vec![b'1'; 3 << 20]);
        store.write(batch).unwrap();
        store.durable().await.unwrap();
        let length = disk::length(&path);
        let file = std::fs::read(&path).unwrap();
        store.close().await.unwrap();
        let last = file.iter().rposition(|byte| *byte != 0).unwrap();
        assert!((last as u64) < length - PAGE as u64, "nothing is free");
        std::fs::write(&path, &file[..=last]).unwrap();
        let report = verify(&path).unwrap();
        assert_eq!((report.closed, report.bytes), (false, last as u64 + 1));
        let store = Store::open(executor, &folder).unwrap();
        assert_eq!(store.degraded(), None);
        assert_eq!(
            store.get(Table::Notes, "a").unwrap().unwrap().len(),
            3 << 20
        );
        assert_eq!(store.scan(Table::Users, "", "", 1000).unwrap().len(), 400);
        store.close().await.unwrap();
        // Its zeros are gone again.
        assert!(disk::length(&path) < 2 * length);
        assert!(verify(&path).unwrap().closed);
    });
}

#[test]
fn pages_are_as_large_as_redb_makes_them() {
    with_folder(async |_, folder| {
        std::fs::create_dir_all(&folder).unwrap();
        let database = disk::open(&folder.join(FILE_NAME)).unwrap();
        let stats = database.begin_write().unwrap().stats().unwrap();
        assert_eq!(stats.page_size(), PAGE);
    });
}

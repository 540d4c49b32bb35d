//! The store as its users see it, on real files.

use super::disk::Snapshot;
use super::flush::LINGER;
use super::overlay::MAX_BYTES;
use super::*;
use std::future::Future;
use std::time::{Duration, Instant};

mod damage;

/// Runs `test` with an executor and a folder of its own.
fn with_folder<F: Future>(test: impl FnOnce(Executor, PathBuf) -> F) -> F::Output {
    let executor: Executor = Box::leak(Box::new(smol::LocalExecutor::new()));
    let random = getrandom::u64().unwrap();
    let folder = std::env::temp_dir().join(format!("siskin-store-{random:016x}"));
    let result = smol::block_on(executor.run(test(executor, folder.clone())));
    std::fs::remove_dir_all(folder).unwrap();
    result
}

fn put(store: &Store, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(Table::Users, key, value);
    store.write(batch).unwrap();
}

fn get(store: &Store, key: &str) -> Option<String> {
    let value = store.get(Table::Users, key).unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

fn path(store: &Store) -> &Path {
    &store.shared.path
}

#[test]
fn what_is_durable_is_there_after_a_crash() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        put(&store, "a", "\"1\"");
        assert_eq!(get(&store, "a").as_deref(), Some("\"1\""));
        store.durable().await.unwrap();
        put(&store, "b", "2");
        // What a crash would leave now.
        let crashed = folder.join("crashed");
        std::fs::create_dir(&crashed).unwrap();
        std::fs::copy(path(&store), crashed.join(FILE_NAME)).unwrap();
        assert!(!verify(&crashed.join(FILE_NAME)).unwrap().closed);
        let store = Store::open(executor, &crashed).unwrap();
        assert_eq!(get(&store, "a").as_deref(), Some("\"1\""));
        assert_eq!(get(&store, "b"), None);
        assert_eq!(store.degraded(), None);
    });
}

#[test]
fn what_nobody_waits_for_is_on_disk_after_the_linger() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        put(&store, "a", "1");
        assert_eq!(store.commits(), 0);
        smol::Timer::after(LINGER + Duration::from_millis(700)).await;
        assert_eq!(
            (store.commits(), store.shared.state.borrow().overlay.bytes()),
            (1, 0)
        );
        smol::Timer::after(LINGER + Duration::from_millis(500)).await;
        assert_eq!(store.commits(), 1, "nothing pending, nothing written");
    });
}

#[test]
fn all_that_wait_share_commits() {
    with_folder(async |executor, folder| {
        let store = Rc::new(Store::open(executor, &folder).unwrap());
        let writers: Vec<_> = (0..200)
            .map(|i| {
                let store = store.clone();
                executor.spawn(async move {
                    put(&store, &format!("{i}"), "1");
                    store.durable().await
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert!(store.commits() <= 3, "{} commits", store.commits());
    });
}

#[test]
fn a_scan_merges_disk_and_memory() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        for key in ["a", "p1", "p3", "p5", "q"] {
            put(&store, key, "old");
        }
        store.durable().await.unwrap();
        for key in ["p0", "p3", "p4", "p9"] {
            put(&store, key, "new");
        }
        let mut batch = Batch::new();
        batch.delete(Table::Users, "p5");
        store.write(batch).unwrap();
        let keys = |after: &str, limit| -> Vec<String> {
            let found = store.scan(Table::Users, "p", after, limit).unwrap();
            found.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys("", 99), ["p0", "p1", "p3", "p4", "p9"]);
        assert_eq!(keys("p1", 2), ["p3", "p4"]);
        assert_eq!(keys("p3", 1), ["p4"]);
        assert_eq!(keys("", 0), [""; 0]);
        assert_eq!(get(&store, "p3").as_deref(), Some("new"));
        let before = keys("", 99);
        store.durable().await.unwrap();
        let found = store.scan(Table::Users, "p", "", 99).unwrap();
        assert_eq!(found.into_iter().map(|f| f.0).collect::<Vec<_>>(), before);
    });
}

#[test]
fn appending_works_in_memory_and_on_disk() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        assert!(!store.append(Table::Users, "a", b"x").unwrap());
        put(&store, "a", "1");
        assert!(store.append(Table::Users, "a", b"2").unwrap());
        store.durable().await.unwrap();
        assert!(store.append(Table::Users, "a", b"3").unwrap());
        assert_eq!(get(&store, "a").as_deref(), Some("123"));
        store.close().await.unwrap();
        assert_eq!(
            store.append(Table::Users, "a", b"4"),
            Err(StoreError::Closed)
        );
        let store = Store::open(executor, &folder).unwrap();
        assert_eq!(get(&store, "a").as_deref(), Some("123"));
    });
}

#[test]
fn a_second_instance_is_refused() {
    with_folder(async |executor, folder| {
        let _first = Store::open(executor, &folder).unwrap();
        let second = Store::open(executor, &folder).err().unwrap();
        assert!(matches!(second, OpenError::InUse(_)));
        assert!(second.to_string().contains("in use by another siskin"));
    });
}

#[test]
fn too_much_at_once_is_refused_and_the_rest_stays() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        put(&store, "a", "1");
        let mut batch = Batch::new();
        batch.put(Table::Users, "b", vec![b'1'; MAX_BYTES + 1]);
        assert_eq!(store.write(batch), Err(StoreError::TooLarge));
        let mut batch = Batch::new();
        batch.put(Table::Users, "b", vec![b'1'; MAX_BYTES - 1]);
        assert_eq!(store.write(batch), Err(StoreError::Backlog));
        store.durable().await.unwrap();
        assert_eq!(get(&store, "a").as_deref(), Some("1"));
    });
}

#[test]
fn an_older_schema_is_migrated_and_a_newer_one_refused() {
    use redb::TableDefinition;
    const OLD: TableDefinition<&str, &str> = TableDefinition::new("names");
    with_folder(async |_, folder| {
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(FILE_NAME);
        let database = disk::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(OLD)
            .unwrap()
            .insert("u1", "Ann")
            .unwrap();
        transaction.commit().unwrap();

        // Version 2 of a later siskin: names have become users.
        fn names_to_users(transaction: &redb::WriteTransaction) -> Result<(), disk::Error> {
            use redb::ReadableTable;
            let mut users = transaction.open_table(Table::Users.definition()).unwrap();
            for entry in transaction.open_table(OLD).unwrap().iter().unwrap() {
                let (id, name) = entry.unwrap();
                let user = format!("{{\"name\":{:?}}}", name.value());
                users.insert(id.value(), user.as_bytes()).unwrap();
            }
            Ok(())
        }
        schema::migrate(&database, &[names_to_users], &path).unwrap();
        assert_eq!(schema::version(&database).unwrap(), Some(2));
        let snapshot = Snapshot::take(&database).unwrap();
        let user = snapshot.get(Table::Users, "u1").unwrap().unwrap();
        assert_eq!(user, b"{\"name\":\"Ann\"}");

        // Again: nothing to do. And we, who know version 1 only, leave it alone.
        schema::migrate(&database, &[names_to_users], &path).unwrap();
        let newer = schema::migrate(&database, schema::MIGRATIONS, &path)
            .err()
            .unwrap();
        assert!(
            newer
                .to_string()
                .contains("has schema 2, this siskin knows up to 1")
        );

        // The file as it was is beside it.
        let copy = disk::open(&disk::with_suffix(&path, ".schema-1")).unwrap();
        assert_eq!(schema::version(&copy).unwrap(), Some(1));
        let snapshot = Snapshot::take(&copy).unwrap();
        assert_eq!(snapshot.get(Table::Users, "u1").unwrap(), None);
    });
}

#[test]
fn a_file_without_the_newest_table_opens_and_gets_it_with_the_first_write() {
    with_folder(async |executor, folder| {
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(FILE_NAME);
        let database = disk::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .delete_table(Table::Documents.definition())
            .unwrap();
        transaction.commit().unwrap();
        database.close().unwrap();
        assert!(verify(&path).is_ok());
        let store = Store::open(executor, &folder).unwrap();
        let look = || store.get(Table::Documents, "a").unwrap();
        assert_eq!(look(), None);
        put(&store, "u", "1");
        store.durable().await.unwrap();
        assert_eq!(look(), None);
        let mut batch = Batch::new();
        batch.put(Table::Documents, "a", "1");
        store.write(batch).unwrap();
        store.durable().await.unwrap();
        assert_eq!(look().as_deref(), Some(&b"1"[..]));
        store.close().await.unwrap();
        assert!(verify(&path).is_ok());
    });
}

#[test]
fn a_file_of_a_newer_schema_is_refused_and_left_alone() {
    with_folder(async |executor, folder| {
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(FILE_NAME);
        let database = disk::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        schema::set_version(&transaction, 9).unwrap();
        transaction.commit().unwrap();
        // As a crash of the newer siskin leaves it, and as its end does.
        let crashed = std::fs::read(&path).unwrap();
        database.close().unwrap();
        for file in [std::fs::read(&path).unwrap(), crashed] {
            std::fs::write(&path, &file).unwrap();
            let refused = Store::open(executor, &folder).err().unwrap();
            let told = "has schema 9, this siskin knows up to 1: install the newer siskin again";
            assert!(refused.to_string().ends_with(told), "{refused}");
            assert!(matches!(verify(&path), Err(OpenError::Newer { .. })));
            assert!(std::fs::read(&path).unwrap() == file, "it was written to");
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        }
    });
}

#[test]
fn a_backup_is_one_moment_while_others_write() {
    with_folder(async |executor, folder| {
        let store = Rc::new(Store::open(executor, &folder).unwrap());
        let writer = {
            let store = store.clone();
            executor.spawn(async move {
                // Both keys always change together.
                for i in 0.. {
                    let mut batch = Batch::new();
                    batch.put(Table::Users, "a", format!("{i}"));
                    batch.put(Table::Notes, "a", format!("{i}"));
                    store.write(batch).unwrap();
                    store.durable().await.unwrap();
                }
            })
        };
        smol::Timer::after(Duration::from_millis(50)).await;
        for round in 0..5 {
            let path = folder.join(format!("backup-{round}"));
            let bytes = store.backup(&path).await.unwrap();
            let report = verify(&path).unwrap();
            assert_eq!(
                (report.bytes, report.closed, report.schema),
                (bytes, true, 1)
            );
            let copy = Snapshot::take(&disk::open(&path).unwrap()).unwrap();
            let of = |table| copy.get(table, "a").unwrap();
            assert_eq!(of(Table::Users), of(Table::Notes));
        }
        assert!(matches!(verify(path(&store)), Err(OpenError::InUse(_))));
        drop(writer);
    });
}

#[test]
fn a_file_that_is_mostly_free_is_rewritten() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        put_megabytes(&store, 24).await;
        let full = disk::length(path(&store));
        delete_megabytes(&store, 24);
        put(&store, "a", "1");
        store.close().await.unwrap();
        let started = Instant::now();
        let store = Store::open(executor, &folder).unwrap();
        let small = disk::length(path(&store));
        println!("{full} -> {small} bytes in {:?}", started.elapsed());
        assert!(full > 24 << 20 && small < 1 << 20, "{full} {small}");
        assert_eq!(get(&store, "a").as_deref(), Some("1"));
    });
}

#[test]
fn a_file_is_rewritten_when_most_of_it_was_deleted() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        put_megabytes(&store, 12).await;
        store.close().await.unwrap();
        let store = Store::open(executor, &folder).unwrap();
        // As much comes as goes: nothing to look for.
        put_megabytes(&store, 12).await;
        let full = disk::length(path(&store));
        delete_megabytes(&store, 11);
        store.durable().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while disk::length(path(&store)) >= full / 4 {
            assert!(Instant::now() < deadline, "{full} bytes stay");
            smol::Timer::after(Duration::from_millis(5)).await;
        }
        put(&store, "a", "1");
        store.durable().await.unwrap();
        assert_eq!(get(&store, "11").map(|value| value.len()), Some(1 << 20));
        store.close().await.unwrap();
    });
}

async fn put_megabytes(store: &Store, count: usize) {
    for number in 0..count {
        let mut batch = Batch::new();
        batch.put(Table::Users, format!("{number}"), vec![b'1'; 1 << 20]);
        store.write(batch).unwrap();
        store.durable().await.unwrap();
    }
}

fn delete_megabytes(store: &Store, count: usize) {
    for number in 0..count {
        let mut batch = Batch::new();
        batch.delete(Table::Users, format!("{number}"));
        store.write(batch).unwrap();
    }
}

#[test]
fn rewriting_the_same_value_does_not_grow_the_file() {
    with_folder(async |executor, folder| {
        let store = Store::open(executor, &folder).unwrap();
        for round in 0..300 {
            put(&store, "a", &format!("{round:>60000}"));
            store.durable().await.unwrap();
        }
        let length = disk::length(path(&store));
        println!("{length} bytes after 300 commits of 60 kB");
        assert!(length < 3 << 20, "{length}");
    });
}

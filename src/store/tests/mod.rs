use std::time::Instant;

use bytes::Bytes;
use tempfile::TempDir;

use super::about::About;
use super::*;
use crate::metrics::{DropReason, Removal};

mod bounds;
mod crashes;
mod killed;
mod model;
mod purging;

fn options(dir: &TempDir, disk_bytes_max: u64) -> StoreOptions {
    StoreOptions {
        path: dir.path().join("db"),
        memory_bytes_max: 64 << 20,
        disk_bytes_max,
        write_queue_bytes_max: 64 << 20,
        durability: Durability::Process,
        pinned: Vec::new(),
        stale_max: Duration::ZERO,
        on_disk: true,
        shared: None,
    }
}

fn open(options: &StoreOptions) -> Store {
    Store::open(options, Arc::new(Metrics::new().unwrap())).unwrap()
}

fn record(n: u32, body: &[u8]) -> Arc<Record> {
    Arc::new(Record {
        key: Key::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()),
        stored_ms: 1_000 + u64::from(n),
        expires_ms: u64::MAX,
        generation: 0,
        about: Arc::new(About::new("chat", Some("m"), None, [1; 8], [n as u8; 8])),
        status: 200,
        stream: false,
        headers: vec![],
        body: Bytes::copy_from_slice(body),
        chunks: vec![],
        usage: None,
    })
}

async fn body_of(store: &Store, record: &Record) -> Option<Arc<Record>> {
    store.get(&record.key).await.map(|(record, _)| record)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn an_entry_survives_closing_and_is_gone_after_removal() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 1 << 30);
    let small = record(1, b"small");
    let large = record(2, &[9; 100_000]);
    {
        let store = open(&options);
        store.put(small.clone());
        store.put(large.clone());
        store.close();
    }
    runtime().block_on(async {
        let store = open(&options);
        assert_eq!(store.disk.entries(), 2);
        assert_eq!(body_of(&store, &small).await, Some(small.clone()));
        assert_eq!(body_of(&store, &large).await, Some(large.clone()));
        store.remove_older(&small.key, u64::MAX);
        store.close();
        let store = open(&options);
        assert_eq!(body_of(&store, &small).await, None);
        assert_eq!(body_of(&store, &large).await, Some(large));
        assert_eq!(store.disk.entries(), 1);
        store.close();
    });
}

#[test]
fn an_entry_is_found_before_the_disk_has_it() {
    let dir = TempDir::new().unwrap();
    let store = open(&options(&dir, 1 << 30));
    let record = record(1, b"body");
    store.put(record.clone());
    assert_eq!(store.get_hot(&record.key), Some(record));
    store.close();
}

#[test]
fn a_newer_answer_replaces_the_older_one_in_every_tier() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 1 << 30);
    let store = open(&options);
    let (old, new) = (record(1, b"old"), {
        let mut new = Record::clone(&record(1, b"new"));
        new.stored_ms += 5;
        Arc::new(new)
    });
    store.put(old);
    store.put(new.clone());
    store.close();
    let store = open(&options);
    assert_eq!(store.disk.entries(), 1);
    assert_eq!(runtime().block_on(body_of(&store, &new)), Some(new));
    store.close();
}

#[test]
fn an_answer_that_could_not_be_written_does_not_bring_the_older_one_back() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir, 1 << 30);
    options.write_queue_bytes_max = 64 << 10;
    let old = record(1, b"old");
    let store = open(&options);
    store.put(old.clone());
    store.close();

    let store = open(&options);
    let newer = Arc::new(Record {
        body: Bytes::from(vec![7; 1 << 20]),
        ..Record::clone(&old)
    });
    store.put(newer.clone());
    assert_eq!(
        store
            .metrics
            .store_writes_dropped(DropReason::QueueFull)
            .get(),
        1
    );
    let found = runtime().block_on(body_of(&store, &old));
    assert_eq!(found, Some(newer.clone()), "memory has the newer one");
    store.hot.remove(&old.key);
    assert_eq!(runtime().block_on(body_of(&store, &old)), None);
    store.close();
    let store = open(&options);
    assert_eq!(runtime().block_on(body_of(&store, &old)), None);
    store.close();
}

#[test]
fn an_older_answer_in_the_queue_does_not_outlive_a_newer_one_that_was_dropped() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir, 1 << 30);
    options.write_queue_bytes_max = 64 << 10;
    let store = open(&options);
    let old = record(1, b"old");
    let newer = Arc::new(Record {
        stored_ms: old.stored_ms + 1,
        body: Bytes::from(vec![7; 1 << 20]),
        ..Record::clone(&old)
    });
    store.put(old.clone());
    store.put(newer);
    store.hot.remove(&old.key);
    // Whether the writer has the older one already or not.
    assert_eq!(runtime().block_on(body_of(&store, &old)), None);
    store.close();
    let store = open(&options);
    assert_eq!(runtime().block_on(body_of(&store, &old)), None);
    store.close();
}

#[test]
fn a_damaged_record_is_a_miss_a_counter_and_is_removed() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 1 << 30);
    let record = record(1, b"body");
    let foreign = {
        let mut foreign = Record::clone(&record);
        foreign.key = Key::from_bytes([0xee; 32]);
        foreign.encode()
    };
    let flipped = {
        let mut bytes = record.encode();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    for damaged in [foreign, flipped, vec![], b"garbage".to_vec()] {
        let store = open(&options);
        store.disk.put_raw(&record, &damaged);
        assert_eq!(runtime().block_on(store.get(&record.key)), None);
        assert_eq!(store.metrics.store_corrupt_records.get(), 1);
        store.close();
        let store = open(&options);
        assert_eq!(runtime().block_on(store.get(&record.key)), None);
        assert_eq!(
            store.metrics.store_corrupt_records.get(),
            0,
            "it was not removed"
        );
        store.close();
    }
}

#[test]
fn a_database_in_use_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 1 << 30);
    let store = open(&options);
    let second = Store::open(&options, Arc::new(Metrics::new().unwrap()))
        .err()
        .unwrap();
    assert!(
        second.to_string().contains("another process uses it"),
        "{second}"
    );
    store.close();
}

/// Waits until the writer has written everything.
fn settle(store: &Store) {
    wait_until("the writer does not get through", || {
        store.writer.as_ref().unwrap().queued_bytes() == 0
    });
}

/// Waits for what another thread is about to bring about.
fn wait_until(otherwise: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{otherwise}");
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

/// Bytes that look random and are the same each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

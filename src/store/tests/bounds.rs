//! The bound holds, and the right entries stay.

use super::*;
use crate::store::disk::layout;

/// Puts entries of 8 KB that do not compress, and returns the most the directory took.
fn fill(store: &Store, path: &std::path::Path, numbers: std::ops::Range<u32>) -> u64 {
    let mut most = 0;
    for n in numbers {
        store.put(record(n, &noise(u64::from(n), 8_000)));
        if n % 64 == 0 {
            settle(store);
            most = most.max(disk::bytes_below(path).unwrap());
        }
    }
    settle(store);
    most
}

#[test]
fn the_directory_stays_within_its_bound_and_what_is_used_stays() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir, 32 << 20);
    options.memory_bytes_max = 16 << 20;
    let store = open(&options);
    let mut most = fill(&store, &options.path, 0..100);
    for n in 0..50 {
        store.disk.used(&record(n, b"").key);
    }
    // Five times the bound, and the first fifty are asked for again and again.
    for round in 0..40 {
        let from = 100 + round * 500;
        most = most.max(fill(&store, &options.path, from..from + 500));
        for n in 0..50 {
            store.disk.used(&record(n, b"").key);
        }
    }
    assert!(most <= 32 << 20, "{most} bytes were taken");
    assert!(
        most >= 32 << 20 >> 2,
        "no more than {most} bytes were ever used"
    );
    store.writer.as_ref().unwrap().close();
    let kept = |numbers: std::ops::Range<u32>| {
        let found = numbers.filter(|n| {
            let read = store.disk.read(&record(*n, b"").key);
            read.unwrap().is_some()
        });
        found.count()
    };
    assert!(
        kept(0..50) >= 49,
        "{} of 50 used ones are left",
        kept(0..50)
    );
    assert!(kept(50..100) <= 5, "{} unused ones are left", kept(50..100));
    assert!(kept(20_000..20_100) == 100, "the newest are there");
    let evicted = store.metrics.store_removed(Removal::Evicted).get();
    assert_eq!(evicted + store.disk.entries(), 20_100);
    store.close();

    let store = open(&options);
    assert_eq!(store.disk.entries(), 20_100 - evicted);
    store.close();
}

#[test]
fn what_was_asked_for_in_vain_before_it_came_is_not_used() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir, 32 << 20);
    options.memory_bytes_max = 16 << 20;
    let store = open(&options);
    let runtime = runtime();
    for n in 0..8_000 {
        // A scan: each question is asked once, is a miss, and its answer comes.
        let record = record(n, &noise(u64::from(n), 8_000));
        assert_eq!(runtime.block_on(store.get(&record.key)), None);
        store.put(record);
        if n % 64 == 0 {
            settle(&store);
        }
    }
    store.writer.as_ref().unwrap().close();
    // But for a few that the filter of ghosts takes for others.
    let [main, all] = [store.disk.bytes_of(layout::Queue::Main), store.disk.bytes()];
    assert!(main < all / 50, "{main} of {all} bytes were kept");
    store.close();
}

#[test]
fn what_has_expired_goes_without_need_for_room() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 64 << 20);
    let store = open(&options);
    let short = Arc::new(Record {
        expires_ms: now_ms() - 1,
        ..Record::clone(&record(1, b"short"))
    });
    store.put(short.clone());
    settle(&store);
    wait_until("it is still there", || {
        store.metrics.store_removed(Removal::Expired).get() > 0
    });
    assert_eq!(store.disk.read(&short.key).unwrap(), None);
    store.close();
}

#[test]
fn pinned_namespaces_outlive_everything_up_to_half_of_the_disk() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir, 32 << 20);
    options.memory_bytes_max = 16 << 20;
    options.pinned = vec!["golden".into()];
    let store = open(&options);
    let about = Arc::new(About::new("chat", None, Some("golden"), [0; 8], [0; 8]));
    for n in 1_000_000..1_000_200 {
        store.put(Arc::new(Record {
            about: about.clone(),
            ..Record::clone(&record(n, &noise(u64::from(n), 8_000)))
        }));
    }
    fill(&store, &options.path, 0..12_000);
    for n in 1_000_000..1_000_200 {
        let read = store.disk.read(&record(n, b"").key).unwrap();
        assert!(read.is_some(), "{n} was evicted");
    }
    // More than half of the disk: then they are entries like others, and the bound holds.
    for n in 2_000_000..2_006_000 {
        store.put(Arc::new(Record {
            about: about.clone(),
            ..Record::clone(&record(n, &noise(u64::from(n), 8_000)))
        }));
        if n % 64 == 0 {
            settle(&store);
            let bytes = disk::bytes_below(&options.path).unwrap();
            assert!(bytes <= 32 << 20, "{bytes} bytes are taken");
        }
    }
    store.close();
}

#[test]
fn a_database_of_another_layout_is_set_aside() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 64 << 20);
    let store = open(&options);
    store.put(record(1, b"one"));
    store.close();
    {
        let families = [layout::CF_INDEX, layout::CF_PROBATION, layout::CF_MAIN];
        let db = rocksdb::DB::open_cf(&Default::default(), &options.path, families).unwrap();
        db.put(layout::FORMAT_KEY, b"1").unwrap();
    }
    let store = open(&options);
    assert_eq!(store.metrics.store_set_aside.get(), 1);
    assert_eq!(store.disk.entries(), 0);
    store.put(record(2, b"two"));
    store.close();
    let store = open(&options);
    assert_eq!(
        (store.metrics.store_set_aside.get(), store.disk.entries()),
        (0, 1)
    );
    store.close();
}

#[test]
fn without_a_log_a_clean_end_keeps_everything() {
    let dir = TempDir::new().unwrap();
    for durability in [Durability::None, Durability::Power, Durability::Process] {
        let mut options = options(&dir, 64 << 20);
        options.durability = durability;
        let store = open(&options);
        for n in 0..500 {
            store.put(record(n, &noise(7, 5_000)));
        }
        store.close();
        let store = open(&options);
        assert_eq!(store.disk.entries(), 500, "{durability:?}");
        let found = runtime().block_on(body_of(&store, &record(499, b"")));
        assert_eq!(found.unwrap().body, noise(7, 5_000), "{durability:?}");
        store.close();
    }
}

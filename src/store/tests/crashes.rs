//! What a crash or a failure may leave behind.

use rocksdb::{DB, IteratorMode};

use super::*;
use crate::store::disk::layout::{self, Families, Kind, Queue, Segment, data_key};

/// With the writer at an end: every key of the index points to a segment that is known and a record that is there, and all of them
/// are counted.
pub fn check(store: &Store) {
    let db = store.disk.db().unwrap();
    let families = Families::of(&db).unwrap();
    let mut count = 0;
    for item in db.iterator_cf(families.index, IteratorMode::Start) {
        let (key, place) = item.unwrap();
        let segment = Segment::decode(&place).unwrap();
        assert!(store.disk.knows(segment), "nobody knows {segment:?}");
        let key = Key::from_bytes(key.as_ref().try_into().unwrap());
        let data = families.data(segment.queue());
        let record = db.get_cf(data, data_key(segment, Kind::Record, &key));
        assert!(record.unwrap().is_some(), "{segment:?} has no {key}");
        count += 1;
    }
    assert_eq!(count, store.disk.entries());
}

/// The segments that data files belong to.
fn segments_on_disk(store: &Store) -> Vec<Segment> {
    let files = store.disk.db().unwrap().live_files().unwrap();
    let data = |file: &&rocksdb::LiveFile| {
        [layout::CF_MAIN, layout::CF_PROBATION].contains(&file.column_family_name.as_str())
    };
    let segments = files.iter().filter(data).filter_map(|file| {
        let key = file.start_key.as_ref()?;
        Segment::decode(&key[..4])
    });
    segments.collect()
}

/// The segments that have files and are not known.
pub fn strays(store: &Store) -> Vec<Segment> {
    let mut segments = segments_on_disk(store);
    segments.retain(|segment| !store.disk.knows(*segment));
    segments
}

#[test]
fn look_ups_do_not_wait_while_the_database_is_opened_anew() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(open(&options(&dir, 64 << 20)));
    store.put(record(1, b"one"));
    settle(&store);
    let reader = store.disk.db().unwrap();
    let reopening = {
        let store = store.clone();
        std::thread::spawn(move || store.disk.reopen())
    };
    wait_until("it is not closed", || !store.disk.is_open());
    // It waits for the reader, and these do not wait for it.
    store.hot.remove(&record(1, b"").key);
    assert_eq!(runtime().block_on(store.get(&record(1, b"").key)), None);
    store.observe();
    assert!(!reopening.is_finished());
    drop(reader);
    assert_eq!(reopening.join().unwrap(), Ok(()));
    assert!(runtime().block_on(store.get(&record(1, b"").key)).is_some());
    store.close();
}

#[test]
fn files_that_nobody_knows_go_at_the_start() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 64 << 20);
    let store = open(&options);
    store.put(record(1, &noise(1, 5_000)));
    store.close();
    let strays = [Segment(200), Segment(201)];
    {
        let families = [
            layout::CF_BOOKKEEPING,
            layout::CF_INDEX,
            layout::CF_PROBATION,
            layout::CF_MAIN,
        ];
        let db = DB::open_cf(&Default::default(), &options.path, families).unwrap();
        let families = Families::of(&db).unwrap();
        for stray in strays {
            let data = families.data(stray.queue());
            for n in 0..10 {
                let key = data_key(stray, Kind::Record, &record(n, b"").key);
                db.put_cf(data, key, noise(u64::from(n), 1_000)).unwrap();
            }
            db.flush_cf(data).unwrap();
        }
    }
    let store = open(&options);
    let left = segments_on_disk(&store);
    assert!(!left.iter().any(|s| strays.contains(s)), "{left:?}");
    store.writer.as_ref().unwrap().close();
    check(&store);
    assert_eq!(store.disk.entries(), 1);
    store.close();
}

#[test]
fn evicted_to_the_last_segment_the_index_points_to_what_is_known() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir, 32 << 20);
    options.memory_bytes_max = 16 << 20;
    let store = open(&options);
    for n in 0..600 {
        store.put(record(n, &noise(u64::from(n), 8_000)));
    }
    settle(&store);
    store.close();
    let store = open(&options);
    store.writer.as_ref().unwrap().close();
    let disk = &store.disk;
    // All of them are used, and room is made again and again: segments go round, and at last themselves.
    for _ in 0..200 {
        for n in 0..600 {
            disk.used(&record(n, b"").key);
        }
        disk.evict(now_ms()).unwrap();
        check(&store);
    }
    let known = |queue| disk.newest(queue).is_some();
    assert!(known(Queue::Main));
    // Without use all of them go.
    for _ in 0..200 {
        for n in 0..600 {
            disk.forget_use(&record(n, b"").key);
        }
        disk.evict(now_ms()).unwrap();
    }
    check(&store);
    assert_eq!(disk.entries(), 0);
    assert_eq!(segments_on_disk(&store), []);
    store.close();
}

#[test]
fn a_copy_under_way_costs_no_entries() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir, 32 << 20);
    options.memory_bytes_max = 16 << 20;
    let store = open(&options);
    store.disk.copying_for_test(true);
    for n in 0..6_000 {
        store.put(record(n, &noise(u64::from(n), 8_000)));
        if n % 64 == 0 {
            settle(&store);
        }
    }
    settle(&store);
    assert_eq!(store.metrics.store_removed(Removal::Evicted).get(), 0);
    assert!(store.disk.bytes() <= 33 << 20, "{}", store.disk.bytes());
    assert!(
        store
            .metrics
            .store_writes_dropped(DropReason::DiskFull)
            .get()
            > 0
    );
    store.disk.copying_for_test(false);
    wait_until("it does not go on", || {
        store.put(record(7_000, &noise(7, 8_000)));
        settle(&store);
        store.metrics.store_removed(Removal::Evicted).get() > 0
    });
    store.writer.as_ref().unwrap().close();
    check(&store);
    store.close();
}

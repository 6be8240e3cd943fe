//! What is purged is neither served nor stored again.

use super::*;
use crate::store::purge::Covers;

fn about(model: &str, namespace: &str, tenant: u8) -> Arc<About> {
    Arc::new(About::new(
        "chat",
        Some(model),
        Some(namespace),
        [tenant; 8],
        [0; 8],
    ))
}

fn with(n: u32, about: &Arc<About>, generation: u64) -> Arc<Record> {
    Arc::new(Record {
        about: about.clone(),
        generation,
        ..Record::clone(&record(n, &noise(u64::from(n), 600)))
    })
}

#[test]
fn purged_entries_are_gone_from_memory_and_disk_also_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir, 256 << 20);
    let abouts = [
        about("a", "one", 1),
        about("b", "one", 2),
        about("a", "two", 3),
    ];
    let cases = [
        (Covers::Model("a".into()), [true, false, true]),
        (Covers::Namespace("one".into()), [true, true, false]),
        (Covers::Tenant([3; 8]), [false, false, true]),
        (Covers::All, [true, true, true]),
    ];
    let mut store = Arc::new(open(&options));
    for (covers, covered) in cases {
        let generation = store.generation();
        for n in 0..300 {
            store.put(with(n, &abouts[n as usize % 3], generation));
        }
        if covered[0] {
            settle(&store);
        }
        store.purge(covers.clone()).unwrap();
        for restarted in [false, true] {
            if restarted {
                store.close();
                store = Arc::new(open(&options));
            }
            for n in 0..300 {
                let key = record(n, b"").key;
                let found = runtime().block_on(store.get(&key)).is_some();
                assert_eq!(
                    found,
                    !covered[n as usize % 3],
                    "{covers:?} {n} {restarted}"
                );
            }
        }
        let purged = covered.iter().filter(|c| **c).count() as u64 * 100;
        wait_until("it is not carried out", || {
            store.disk.entries() == 300 - purged
        });
        store.purge(Covers::All).unwrap();
    }
    store.close();
}

#[test]
fn a_fill_that_a_purge_covers_is_not_stored() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(open(&options(&dir, 256 << 20)));
    let about = about("a", "one", 1);
    let before = store.generation();
    store.purge(Covers::Model("a".into())).unwrap();
    store.put(with(1, &about, before));
    assert_eq!(store.get_hot(&record(1, b"").key), None);
    store.put(with(2, &about, store.generation()));
    assert!(store.get_hot(&record(2, b"").key).is_some());
    let before = store.generation();
    store.purge(Covers::All).unwrap();
    store.put(with(3, &about, before));
    settle(&store);
    for n in 1..=3 {
        assert_eq!(runtime().block_on(store.get(&record(n, b"").key)), None);
    }
    store.close();
}

#[test]
fn a_purge_of_one_key_covers_the_other_forms_of_the_answer() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(open(&options(&dir, 256 << 20)));
    let (stream, json, other) = (record(1, b"s"), record(2, b"j"), record(3, b"o"));
    let same = Arc::new(About {
        question: stream.about.question,
        ..About::clone(&json.about)
    });
    let json = Arc::new(Record {
        about: same,
        ..Record::clone(&json)
    });
    for record in [&stream, &json, &other] {
        store.put(record.clone());
    }
    settle(&store);
    store
        .purge(store.answer_of(json.key, Ok(None)).unwrap())
        .unwrap();
    for (record, left) in [(&stream, false), (&json, false), (&other, true)] {
        assert_eq!(runtime().block_on(store.get(&record.key)).is_some(), left);
    }
    store.close();
}

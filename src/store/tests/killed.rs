//! Killed in the middle of making room: a process of its own, again and again, on the same store.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::crashes::{check, strays};
use super::*;

/// Set for the process that is to be killed: where its store is, how it writes, what it puts first.
const PATH: &str = "LLM_CACHE_TEST_KILLED_PATH";
const DURABILITY: &str = "LLM_CACHE_TEST_KILLED_DURABILITY";
const FIRST: &str = "LLM_CACHE_TEST_KILLED_FIRST";
/// How often it is killed; more if this variable says so.
const ROUNDS: &str = "FAULT_ROUNDS";
const BOUND: u64 = 24 << 20;
/// Entries that are used all the time.
const USED: u32 = 200;

fn options_of(path: &str, durability: &str) -> StoreOptions {
    StoreOptions {
        path: path.into(),
        memory_bytes_max: 16 << 20,
        disk_bytes_max: BOUND,
        write_queue_bytes_max: 4 << 20,
        durability: match durability {
            "none" => Durability::None,
            _ => Durability::Process,
        },
        pinned: Vec::new(),
        stale_max: Duration::ZERO,
        on_disk: true,
        shared: None,
    }
}

/// Puts as fast as the store takes it. No test by itself: it runs where the variables are set.
#[test]
fn a_process_that_is_killed() {
    let Ok(path) = std::env::var(PATH) else {
        return;
    };
    let first: u32 = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = open(&options_of(&path, &std::env::var(DURABILITY).unwrap()));
    let deadline = Instant::now() + Duration::from_secs(60);
    for n in first.. {
        for used in [n % USED, (n + 7) % USED] {
            store.disk.used(&record(used, b"").key);
        }
        // One in four replaces an entry that is used.
        let n = if n % 4 == 0 { n % USED } else { n };
        store.put(record(n, &noise(u64::from(n), 6_000)));
        if store.writer.as_ref().unwrap().queued_bytes() > 2 << 20 {
            settle(&store);
        }
        assert!(Instant::now() < deadline, "nobody has killed it");
    }
}

#[test]
fn whenever_it_is_killed_the_store_is_in_order_and_within_its_bound() {
    let rounds = std::env::var(ROUNDS).map_or(6, |rounds| rounds.parse().unwrap());
    for durability in ["process", "none"] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("db").to_string_lossy().into_owned();
        for round in 0..rounds {
            let first = 1_000 + round * 100_000;
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "store::tests::killed::a_process_that_is_killed"])
                .env(PATH, &path)
                .env(DURABILITY, durability)
                .env(FIRST, first.to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // From then on it makes room, however slow the machine is.
            wait_until("it does not fill its store", || {
                disk::bytes_below(path.as_ref()).is_ok_and(|bytes| bytes > BOUND / 4 * 3)
            });
            let moment = u64::from(noise(u64::from(round), 1)[0]) * 6;
            std::thread::park_timeout(Duration::from_millis(100 + moment));
            child.kill().unwrap();
            child.wait().unwrap();

            let store = open(&options_of(&path, durability));
            store.writer.as_ref().unwrap().close();
            assert_eq!(store.metrics.store_set_aside.get(), 0, "round {round}");
            check(&store);
            assert_eq!(strays(&store), [], "round {round}");
            let bytes = disk::bytes_below(store.disk.path()).unwrap();
            assert!(bytes <= BOUND / 100 * 105, "{bytes} bytes in round {round}");
            let (mut whole, last) = (0, first + 40_000);
            for n in (0..USED).chain(first..last) {
                let wanted = record(n, b"").key;
                if let Some(bytes) = store.disk.read(&wanted).unwrap() {
                    let found = Record::decode_for(&wanted, &bytes).unwrap();
                    assert_eq!(found.body, noise(u64::from(n), 6_000), "{n}");
                    whole += 1;
                }
            }
            assert!(whole > 0, "nothing is left in round {round}");
            store.close();
        }
    }
}

//! The store against a map: random puts, look-ups, removals, purges, expiries and restarts.

use std::collections::HashMap;

use super::*;
use crate::store::purge::Covers;

/// Steps of each run.
const STEPS: usize = 100_000;
const KEYS: u64 = 400;

/// Small, fast, and the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

/// What the store should have.
#[derive(Default)]
struct Model {
    entries: HashMap<Key, Arc<Record>>,
    purges: Vec<(u64, Covers)>,
}

impl Model {
    fn covered(&self, record: &Record) -> bool {
        let covers = |covers: &Covers| covers.covers(&record.key, &record.about, record.stored_ms);
        let later = self.purges.iter().rev();
        later
            .take_while(|(generation, _)| *generation > record.generation)
            .any(|(_, what)| covers(what))
    }

    fn get(&self, key: &Key) -> Option<&Arc<Record>> {
        let record = self.entries.get(key);
        record.filter(|record| !self.covered(record))
    }
}

struct Run {
    options: StoreOptions,
    store: Arc<Store>,
    model: Model,
    random: Random,
    /// Entries may be missing: there is less room than they need.
    bounded: bool,
    clock: u64,
    /// Generations that fills under way carry.
    begun: Vec<u64>,
    missing: usize,
    found: usize,
}

impl Run {
    fn new(dir: &TempDir, bounded: bool, durability: Durability, seed: u64) -> Run {
        let mut options = options(dir, if bounded { 16 << 20 } else { 1 << 30 });
        options.memory_bytes_max = 16 << 20;
        options.durability = durability;
        let store = Arc::new(open(&options));
        Run {
            options,
            store,
            model: Model::default(),
            random: Random(seed),
            bounded,
            clock: 1_000,
            begun: vec![0],
            missing: 0,
            found: 0,
        }
    }

    fn key(&mut self) -> (u64, Key) {
        let n = self.random.below(KEYS);
        (
            n,
            Key::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()),
        )
    }

    fn put(&mut self) {
        let (n, key) = self.key();
        self.clock += 1;
        // Some fills began before purges that have happened since.
        let late = self.random.below(10) == 0;
        let at = self.random.below(self.begun.len() as u64) as usize;
        let generation = match late {
            true => self.begun[at],
            false => self.store.generation(),
        };
        let len = match self.random.below(50) {
            0 => 100_000 + self.random.below(200_000),
            1..10 => 10_000,
            _ => self.random.below(3_000),
        };
        let (model, namespace) = (self.random.below(20), self.random.below(10));
        let about = About::new(
            "chat",
            Some(&format!("model-{model}")),
            Some(&format!("namespace-{namespace}")),
            [self.random.below(30) as u8; 8],
            n.to_le_bytes(),
        );
        let record = Arc::new(Record {
            key,
            stored_ms: self.clock,
            // Some are over soon: then they may be there or not.
            expires_ms: match self.random.below(20) {
                0 => now_ms() + self.random.below(300),
                _ => u64::MAX,
            },
            generation,
            about: Arc::new(about),
            body: noise(self.clock, len as usize).into(),
            ..Record::clone(&record(0, b""))
        });
        if !self.model.covered(&record) {
            self.model.entries.insert(key, record.clone());
        }
        self.store.put(record);
        if self.store.writer.as_ref().unwrap().queued_bytes() > 8 << 20 {
            settle(&self.store);
        }
    }

    fn get(&mut self, runtime: &tokio::runtime::Runtime) {
        let (_, key) = self.key();
        let found = runtime.block_on(self.store.get(&key));
        let found = found.map(|(record, _)| record);
        match (found, self.model.get(&key)) {
            (Some(found), Some(wanted)) => {
                assert_eq!(&found, wanted);
                self.found += 1;
            }
            (None, Some(wanted)) if wanted.expires_ms <= now_ms() => {}
            (None, Some(_)) if self.bounded => self.missing += 1,
            (None, None) => {}
            (found, wanted) => panic!(
                "at {}: {:?} instead of {:?}",
                self.clock,
                found.map(|r| (r.stored_ms, r.generation)),
                wanted.map(|r| (r.stored_ms, r.generation))
            ),
        }
    }

    fn remove(&mut self) {
        let (_, key) = self.key();
        self.clock += 1;
        self.store.remove_older(&key, self.clock);
        self.model.entries.remove(&key);
    }

    fn purge(&mut self) {
        let covers = match self.random.below(12) {
            0 => Covers::All,
            1..4 => Covers::Model(format!("model-{}", self.random.below(20))),
            4..6 => Covers::Namespace(format!("namespace-{}", self.random.below(10))),
            6..9 => Covers::Tenant([self.random.below(30) as u8; 8]),
            9 => Covers::StoredBefore(self.clock.saturating_sub(self.random.below(3_000))),
            _ => {
                let (n, key) = self.key();
                let question = Some(n.to_le_bytes());
                Covers::Answer { key, question }
            }
        };
        self.begun.push(self.store.generation());
        let generation = loop {
            match self.store.purge(covers.clone()) {
                Ok(generation) => break generation,
                // All of those that are remembered are being carried out.
                Err(_) => std::thread::park_timeout(Duration::from_millis(1)),
            }
        };
        self.model.purges.push((generation, covers));
        // Fills last so long and no longer: purges are forgotten in the end.
        let recent = self.begun.len().saturating_sub(20);
        self.begun.drain(..recent);
    }

    fn restart(&mut self) {
        self.store.writer.as_ref().unwrap().close();
        crashes::check(&self.store);
        self.store.close();
        self.store = Arc::new(open(&self.options));
        assert_eq!(self.store.metrics.store_set_aside.get(), 0);
    }

    fn run(mut self) {
        let runtime = runtime();
        for step in 0..STEPS {
            match self.random.below(1_000) {
                0..430 => self.put(),
                430..900 => self.get(&runtime),
                900..980 => self.remove(),
                980..988 => self.store.hot.purge(&Covers::All, u64::MAX),
                988..996 => self.purge(),
                996..999 => settle(&self.store),
                _ => self.restart(),
            }
            if self.bounded && step % 1_000 == 0 {
                settle(&self.store);
                let bytes = disk::bytes_below(&self.options.path).unwrap();
                assert!(bytes <= self.options.disk_bytes_max, "{bytes} bytes");
            }
        }
        assert!(
            self.found > STEPS / 10,
            "{} looked up and found",
            self.found
        );
        assert!(self.missing < self.found, "{} are missing", self.missing);
        let metrics = &self.store.metrics;
        assert_eq!(metrics.store_corrupt_records.get(), 0);
        assert_eq!(metrics.store_read_errors.get(), 0);
        self.store.close();
    }
}

#[test]
fn whatever_is_done_to_it_the_store_has_what_a_map_would_have() {
    let dir = TempDir::new().unwrap();
    Run::new(&dir, false, Durability::Process, 0x5eed).run();
}

#[test]
fn within_a_bound_entries_may_be_missing_and_are_never_wrong() {
    let dir = TempDir::new().unwrap();
    Run::new(&dir, true, Durability::None, 0xb0de).run();
}

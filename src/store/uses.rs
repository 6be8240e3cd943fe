//! Which entries are used, in a fixed amount of memory: what decides who stays when room is made.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::key::Key;

/// Uses beyond this are not told apart (S3-FIFO counts to three).
const USES_MAX: u8 = 3;
/// Counters at least and at most: a byte each.
const COUNTERS_MIN: usize = 64 << 10;
const COUNTERS_MAX: usize = 64 << 20;
/// Share of the memory budget that the counters get.
const MEMORY_SHARE: usize = 64;

/// A saturating counter per key. Keys that share one count as one: an entry then stays a round too
/// long, which costs room and nothing else. Counters are lost at a restart.
pub struct Uses(Box<[AtomicU8]>);

impl Uses {
    /// As many counters as this budget allows.
    pub fn new(memory_bytes_max: usize) -> Uses {
        let len = (memory_bytes_max / MEMORY_SHARE).clamp(COUNTERS_MIN, COUNTERS_MAX);
        Uses((0..len).map(|_| AtomicU8::new(0)).collect())
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Notes a use. Neither locks nor waits; of two at the same instant one may be lost.
    pub fn note(&self, key: &Key) {
        if let Some(counter) = self.counter(key) {
            let uses = counter.load(Relaxed);
            if uses < USES_MAX {
                counter.store(uses + 1, Relaxed);
            }
        }
    }

    /// How often a key was used, as far as it is counted.
    pub fn of(&self, key: &Key) -> u8 {
        self.counter(key).map_or(0, |counter| counter.load(Relaxed))
    }

    /// Sets the counter of a key.
    pub fn set(&self, key: &Key, uses: u8) {
        if let Some(counter) = self.counter(key) {
            counter.store(uses, Relaxed);
        }
    }

    fn counter(&self, key: &Key) -> Option<&AtomicU8> {
        self.0.get(slot(key, 0, self.0.len()))
    }
}

/// Keys that were evicted lately: one that comes back has shown that it is used.
///
/// Two filters of the last and the current period. A period ends with so many segments, or once it has
/// taken in as many keys as the filter is made for.
pub struct Ghosts {
    current: Box<[u64]>,
    last: Box<[u64]>,
    taken: usize,
    segments: usize,
}

impl Ghosts {
    /// Segments of a period: one in six that the bound holds. Who comes back after two periods has been
    /// away for longer than most of what is kept stays.
    const SEGMENTS: usize = 10;
    /// Bits per key of a period: with two bits set for each, some 3 % of strangers look known.
    const BITS_PER_KEY: usize = 10;

    /// For so many keys per period.
    pub fn new(keys: usize) -> Ghosts {
        let words = (keys * Ghosts::BITS_PER_KEY).div_ceil(64).max(1);
        Ghosts {
            current: vec![0; words].into(),
            last: vec![0; words].into(),
            taken: 0,
            segments: 0,
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        (self.current.len() + self.last.len()) * size_of::<u64>()
    }

    /// Notes an evicted key.
    pub fn insert(&mut self, key: &Key) {
        if self.taken >= self.current.len() * 64 / Ghosts::BITS_PER_KEY {
            self.turn();
        }
        self.taken += 1;
        for hash in 0..2 {
            let bit = slot(key, hash, self.current.len() * 64);
            if let Some(word) = self.current.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Whether a key was evicted in this period or the last one.
    pub fn contains(&self, key: &Key) -> bool {
        let in_filter = |filter: &[u64]| {
            (0..2).all(|hash| {
                let bit = slot(key, hash, filter.len() * 64);
                filter
                    .get(bit / 64)
                    .is_some_and(|word| word & (1 << (bit % 64)) != 0)
            })
        };
        in_filter(&self.current) || in_filter(&self.last)
    }

    /// Counts a segment whose keys have been noted.
    pub fn segment_gone(&mut self) {
        self.segments += 1;
        if self.segments >= Ghosts::SEGMENTS {
            self.turn();
        }
    }

    /// Ends the period.
    fn turn(&mut self) {
        std::mem::swap(&mut self.current, &mut self.last);
        self.current.fill(0);
        self.taken = 0;
        self.segments = 0;
    }
}

/// A place below `len` by one of the key's four words; a key is a digest, and each of them a hash.
fn slot(key: &Key, word: usize, len: usize) -> usize {
    let (words, _) = key.as_bytes().as_chunks::<8>();
    let hash = words.get(word).map_or(0, |word| u64::from_le_bytes(*word));
    // The upper half of a product is even over any length, without a division.
    ((u128::from(hash) * len as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    #[test]
    fn a_counter_ends_at_its_maximum() {
        let uses = Uses::new(0);
        assert_eq!(uses.bytes(), COUNTERS_MIN);
        for _ in 0..1000 {
            uses.note(&key(1));
        }
        assert_eq!((uses.of(&key(1)), uses.of(&key(2))), (USES_MAX, 0));
        uses.set(&key(1), 1);
        assert_eq!(uses.of(&key(1)), 1);
    }

    #[test]
    fn ghosts_of_two_periods_are_known_and_strangers_are_not() {
        let mut ghosts = Ghosts::new(1000);
        for n in 0..2000 {
            ghosts.insert(&key(n));
        }
        assert!((0..2000).all(|n| ghosts.contains(&key(n))));
        let strangers = (10_000..20_000)
            .filter(|n| ghosts.contains(&key(*n)))
            .count();
        assert!(
            strangers < 1000,
            "{strangers} of 10,000 strangers look known"
        );
        ghosts.turn();
        ghosts.turn();
        assert!(!ghosts.contains(&key(1999)));
    }
}

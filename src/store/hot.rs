//! The hot tier: parsed records in memory, weighted by bytes, scan-resistant.

use std::convert::Infallible;
use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use super::purge::Covers;
use super::record::Record;
use crate::key::Key;

/// What an entry costs before any body was seen; only used to size the table at the start.
const EXPECTED_RECORD_BYTES: usize = 8 * 1024;

/// Records in memory. A look-up clones one reference count and takes a shard's lock for that long.
pub struct HotTier {
    cache: Cache<Slot, Arc<Record>, ByWeight>,
}

/// Where a record stands: the beginning of its key, since the record has all of it. Two records with one
/// slot push each other out, and never stand for each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Slot([u8; 8]);

impl Slot {
    fn of(key: &Key) -> Slot {
        Slot(*key.as_bytes().first_chunk().unwrap_or(&[0; 8]))
    }
}

impl HotTier {
    /// `bytes_max` bounds the sum of [`Record::weight`] over all entries.
    pub fn new(bytes_max: usize) -> HotTier {
        let expected = (bytes_max / EXPECTED_RECORD_BYTES).max(64);
        HotTier {
            cache: Cache::with_weighter(expected, bytes_max as u64, ByWeight),
        }
    }

    /// The record of `key`, if it is here.
    pub fn get(&self, key: &Key) -> Option<Arc<Record>> {
        let record = self.cache.get(&Slot::of(key))?;
        (record.key == *key).then_some(record)
    }

    /// Puts a record in, pushing out what was used least. A record heavier than a shard is not kept.
    pub fn insert(&self, record: Arc<Record>) {
        self.cache.insert(Slot::of(&record.key), record);
    }

    /// Puts a record in that was read from a slower tier, unless there is one: that one is newer.
    /// Returns the one that is there afterwards.
    pub fn promote(&self, record: Arc<Record>) -> Arc<Record> {
        let slot = Slot::of(&record.key);
        let kept = self
            .cache
            .get_or_insert_with(&slot, || Ok::<_, Infallible>(record.clone()));
        let kept = kept.unwrap_or(record.clone());
        if kept.key == record.key { kept } else { record }
    }

    /// Takes a record out.
    pub fn remove(&self, key: &Key) {
        self.cache
            .remove_if(&Slot::of(key), |record| record.key == *key);
    }

    /// Takes out what a purge of this generation covers. Takes as long as it takes to visit all; who asks
    /// for a record meanwhile waits for one of them at most.
    pub fn purge(&self, covers: &Covers, generation: u64) {
        let covered = |record: &Record| {
            let Record { key, about, .. } = record;
            record.generation < generation && covers.covers(key, about, record.stored_ms)
        };
        // Not `retain`: it keeps a shard to itself while it visits it.
        let found = self.cache.iter();
        let slots: Vec<Slot> = found
            .filter(|(_, record)| covered(record))
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            // There may be a newer one by now.
            self.cache.remove_if(&slot, |record| covered(record));
        }
    }

    /// Number of records.
    pub fn entries(&self) -> usize {
        self.cache.len()
    }

    /// Sum of the records' weights in bytes.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<Slot, Arc<Record>> for ByWeight {
    fn weight(&self, _slot: &Slot, record: &Arc<Record>) -> u64 {
        record.weight() as u64
    }
}

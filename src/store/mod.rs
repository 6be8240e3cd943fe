//! The tiers below the cache: hot memory, then RocksDB.
//!
//! A finished answer is put into memory before anyone is told that it is finished, and stays
//! readable from there until the disk has it: whatever the disk does, the next request is a hit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quick_cache::sync::Cache;
use thiserror::Error;

use crate::config::Durability;
use crate::key::Key;
use crate::metrics::{Metrics, Tier};
use about::About;
use disk::{Disk, DiskOptions, Probe};
use hot::HotTier;
use reads::Reads;
use record::{Record, RecordError};
use shared::{Shared, SharedError, SharedOptions};
use writer::Writer;

pub mod about;
mod aside;
mod directory;
mod disk;
mod hot;
pub mod operate;
pub mod purge;
mod reads;
pub mod record;
pub mod row;
pub mod shared;
mod uses;
mod writer;

/// Removed keys that are remembered, some 100 bytes each: a look-up that began before the removal
/// must not bring back what it found.
const REMOVED_MAX: usize = 16 * 1024;
/// Share of the memory budget that RocksDB gets: block cache, blob cache and memtables.
const ROCKSDB_SHARE: usize = 4;

/// What the store needs to know. Not printable: it may hold a password.
#[derive(Clone)]
pub struct StoreOptions {
    /// Directory of the database.
    pub path: PathBuf,
    /// Bytes in memory: hot tier and everything RocksDB holds.
    pub memory_bytes_max: usize,
    /// Bytes on disk.
    pub disk_bytes_max: u64,
    /// Bytes of finished answers waiting to be written; beyond it answers are not written.
    pub write_queue_bytes_max: usize,
    /// What a stored answer survives.
    pub durability: Durability,
    /// Namespaces whose entries are not evicted.
    pub pinned: Vec<String>,
    /// For how long after its expiry an entry may still be served.
    pub stale_max: Duration,
    /// Whether there is a disk tier at all.
    pub on_disk: bool,
    /// The tier that replicas share, if there is one.
    pub shared: Option<SharedOptions>,
}

/// Why a store does not open.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory cannot be made or used.
    #[error("cannot use {path} as the store: {source}: {advice}")]
    Directory {
        /// The directory asked for.
        path: PathBuf,
        /// What to do about it.
        advice: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// RocksDB will not open it.
    #[error("cannot open the database in {path}: {message}")]
    Open {
        /// The directory asked for.
        path: PathBuf,
        /// What RocksDB said, with what to do about it where that is known.
        message: String,
    },
    /// It has been closed, or is being opened anew.
    #[error("the store is not open at the moment; try again")]
    Closed,
    /// The shared tier cannot be as it is configured.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// The writer thread cannot be started.
    #[error("cannot start the store's writer thread: {0}")]
    Thread(std::io::Error),
}

/// All tiers as one.
pub struct Store {
    hot: HotTier,
    /// Keys, and the time before which what is stored under them was removed.
    removed: Cache<Key, u64>,
    disk: Arc<Disk>,
    /// `None` without a disk tier.
    writer: Option<Writer>,
    reads: Reads,
    shared: Option<Shared>,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Opens the database and starts the writer.
    pub fn open(options: &StoreOptions, metrics: Arc<Metrics>) -> Result<Store, StoreError> {
        let shared = options.shared.clone();
        let shared = shared.map(|shared| Shared::new(shared, metrics.clone()));
        let shared = shared.transpose()?;
        let rocksdb_bytes = match options.on_disk {
            true => options.memory_bytes_max / ROCKSDB_SHARE,
            false => 0,
        };
        let mut disk_options = DiskOptions {
            path: options.path.clone(),
            bytes_max: 0,
            memory_bytes: rocksdb_bytes,
            memory_bytes_max: options.memory_bytes_max,
            durability: options.durability,
            pinned: options.pinned.clone(),
            stale_max: options.stale_max,
        };
        let disk = if options.on_disk {
            directory::prepare(&options.path)?;
            disk_options.bytes_max = attainable(options);
            Disk::open(&disk_options, metrics.clone())?
        } else {
            Disk::off(&disk_options, metrics.clone())
        };
        let bytes_max = disk_options.bytes_max;
        let disk = Arc::new(disk);
        let reads = Reads::new(disk.clone(), metrics.clone());
        let start = || Writer::start(disk.clone(), options.write_queue_bytes_max, metrics.clone());
        let writer = options.on_disk.then(start).transpose();
        let writer = writer.map_err(StoreError::Thread)?;
        let hot_bytes = options.memory_bytes_max - rocksdb_bytes - disk.counter_bytes();
        let bound = |tier, bytes: u64| metrics.store_bytes_max(tier).set(saturated(bytes));
        bound(Tier::Memory, hot_bytes as u64);
        bound(Tier::Disk, bytes_max);
        Ok(Store {
            hot: HotTier::new(hot_bytes),
            removed: Cache::new(REMOVED_MAX),
            disk,
            writer,
            reads,
            shared,
            metrics,
        })
    }

    /// Begins to use the shared tier, if there is one, on the runtime that this is called on.
    pub fn share(&'static self) {
        if let Some(shared) = &self.shared {
            shared.start(self);
        }
    }

    /// The tier that replicas share, if there is one.
    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// Until when a request that begins to look in the bucket now waits for it. `None`: there is none.
    pub fn until_cold(&self) -> Option<tokio::time::Instant> {
        Some(self.shared.as_ref()?.objects()?.until())
    }

    /// Whether a record may have been purged while this replica was down.
    fn distrusts(&self, record: &Record) -> bool {
        let shared = self.shared.as_ref();
        self.disk.distrusts(record) || shared.is_some_and(|shared| shared.distrusts(record))
    }

    /// Whether a record that was found before has been purged since.
    pub fn is_purged(&self, record: &Record) -> bool {
        self.disk.purges().cover_record(record)
    }

    /// The same for an answer that may be on its way, by what it is about.
    pub fn has_purged(&self, key: &Key, about: &About, stored_ms: u64, generation: u64) -> bool {
        self.disk.purges().cover(key, about, stored_ms, generation)
    }

    /// Looks in memory only; never blocks.
    pub fn get_hot(&self, key: &Key) -> Option<Arc<Record>> {
        // A purge of everything leaves what it covers in the hot tier, and one of a part may meet a
        // record on its way there.
        self.hot
            .get(key)
            .filter(|record| !self.is_purged(record))
            .or_else(|| self.pending(key).flatten())
    }

    /// What waits to be written: `Some(None)` if it is purged, and what the disk has out of date.
    fn pending(&self, key: &Key) -> Option<Option<Arc<Record>>> {
        let record = self.writer.as_ref()?.pending(key)?;
        let purged = self.disk.purges().cover_record(&record);
        Some((!purged).then_some(record))
    }

    /// What the disk has of a key is older than an answer that could not be written.
    fn is_superseded(&self, key: &Key) -> bool {
        let writer = self.writer.as_ref();
        writer.is_some_and(|writer| writer.is_superseded(key))
    }

    fn delete_damaged(&self, key: &Key) {
        if let Some(writer) = &self.writer {
            writer.delete_damaged(*key);
        }
    }

    /// Looks in memory, then on disk. Whatever goes wrong is a miss. The disk is only touched on
    /// the blocking pool.
    pub async fn get(&self, key: &Key) -> Option<(Arc<Record>, Tier)> {
        if let Some(record) = self.get_hot(key) {
            self.disk.used(key);
            return Some((record, Tier::Memory));
        }
        if self.is_superseded(key) || self.pending(key).is_some_and(|p| p.is_none()) {
            return None;
        }
        let found = match self.disk.probe(key) {
            Probe::Found(bytes) => Record::decode_for(key, &bytes),
            Probe::Absent => return None,
            Probe::MustBlock => self.reads.read(*key).await?,
        };
        match found {
            // The second look is for an answer that came while the disk was read.
            Ok(record) if self.distrusts(&record) || self.is_superseded(key) => None,
            Ok(record) if self.disk.purges().cover_record(&record) => None,
            Ok(record) => {
                // What was asked for once and not found has not been used: a scan asks like that.
                self.disk.used(key);
                let record = self.hot.promote(Arc::new(record));
                Some((self.unless_removed(record)?, Tier::Disk))
            }
            Err(RecordError::Version(version)) => {
                log::debug!("an entry has format version {version} and is removed key={key}");
                self.delete_damaged(key);
                None
            }
            Err(error) => {
                self.metrics.store_corrupt_records.inc();
                log::warn!("a stored record is not usable and is removed: {error} key={key}");
                self.delete_damaged(key);
                None
            }
        }
    }

    /// Keeps a finished answer: in memory at once, on disk, in the shared tier and in the bucket as soon as
    /// their writers get to it. What a purge covers that came after its upstream was asked is not kept.
    pub fn put(&self, record: Arc<Record>) {
        self.keep(record, false);
    }

    /// The same for one that was asked for although there may be one.
    pub fn put_anew(&self, record: Arc<Record>) {
        self.keep(record, true);
    }

    fn keep(&self, record: Arc<Record>, replaces: bool) {
        if self.put_here(record.clone())
            && let Some(shared) = &self.shared
        {
            if let Some(objects) = shared.objects() {
                objects.offer(record.clone(), replaces);
            }
            shared.offer(record);
        }
    }

    /// The same for a part of an answer that was put: it is shared where there is room for it.
    pub fn put_part(&self, record: Arc<Record>) {
        if self.put_here(record.clone())
            && let Some(shared) = &self.shared
        {
            shared.offer_part(record);
        }
    }

    /// The same in this replica only, for what the shared tier has already. False if it
    /// is purged.
    pub fn put_here(&self, record: Arc<Record>) -> bool {
        if self.disk.purges().refuse(&record) {
            return false;
        }
        self.hot.insert(record.clone());
        // Once more, in this order: a purge is known before it clears the memory.
        if self.disk.purges().refuse(&record) {
            self.hot.remove(&record.key);
            return false;
        }
        if let Some(writer) = &self.writer {
            writer.put(record);
        }
        true
    }

    /// Keeps an answer that the shared tier had, unless there is a newer one here. Returns the one that is
    /// there afterwards; `None` if it was purged or removed meanwhile.
    pub fn take_in(&self, record: Record) -> Option<Arc<Record>> {
        let here = self.get_hot(&record.key);
        if let Some(newer) = here.filter(|here| here.stored_ms >= record.stored_ms) {
            return Some(newer);
        }
        let record = Arc::new(record);
        if !self.put_here(record.clone()) {
            return None;
        }
        self.unless_removed(record)
    }

    /// The generation that a fill carries which begins now.
    pub fn generation(&self) -> u64 {
        self.disk.purges().generation()
    }

    /// Keeps what was made from another entry, in memory only, unless there is something newer.
    /// Returns the one that is there afterwards; `None` if it was removed meanwhile.
    pub fn keep_in_memory(&self, record: Record) -> Option<Arc<Record>> {
        let record = Arc::new(record);
        let kept = self.hot.promote(record.clone());
        if kept.stored_ms >= record.stored_ms {
            return self.unless_removed(kept);
        }
        self.hot.insert(record.clone());
        self.unless_removed(record)
    }

    /// Forgets in every tier what is stored under a key and older than this.
    pub fn remove_older(&self, key: &Key, than_ms: u64) {
        // In this order: who puts an old record into memory looks here afterwards.
        self.removed.insert(*key, than_ms);
        self.hot.remove(key);
        if let Some(writer) = &self.writer {
            writer.delete(*key);
        }
        if let Some(shared) = &self.shared {
            shared.forget(key);
        }
    }

    /// The record that was just put into memory, taken out again if it was removed meanwhile.
    fn unless_removed(&self, record: Arc<Record>) -> Option<Arc<Record>> {
        let removed = self.removed.get(&record.key);
        let purged = self.disk.purges().cover_record(&record);
        if !purged && removed.is_none_or(|than_ms| record.stored_ms >= than_ms) {
            return Some(record);
        }
        self.hot.remove(&record.key);
        None
    }

    /// Brings the gauges of the tiers up to date; called when metrics are read.
    pub fn observe(&self) {
        let metrics = &self.metrics;
        metrics
            .store_entries(Tier::Memory)
            .set(self.hot.entries() as i64);
        metrics
            .store_bytes(Tier::Memory)
            .set(self.hot.bytes() as i64);
        metrics
            .store_entries(Tier::Disk)
            .set(self.disk.entries() as i64);
        metrics
            .store_bytes(Tier::Disk)
            .set(self.disk.bytes() as i64);
        metrics
            .store_write_queue_bytes
            .set(self.writer.as_ref().map_or(0, Writer::queued_bytes) as i64);
        metrics
            .store_write_queue_entries
            .set(self.writer.as_ref().map_or(0, Writer::queued) as i64);
        metrics
            .store_database_memory_bytes
            .set(saturated(self.disk.memory_bytes()));
        let age_ms = self
            .disk
            .oldest_ms()
            .map_or(0, |ms| now_ms().saturating_sub(ms));
        metrics
            .store_oldest_entry_seconds
            .set(saturated(age_ms / 1000));
        if let Some(shared) = &self.shared {
            shared.observe();
        }
        let pending = self
            .disk
            .property("rocksdb.estimate-pending-compaction-bytes");
        metrics
            .store_compaction_pending_bytes
            .set(saturated(pending));
        let stalled = self.disk.whole_property("rocksdb.is-write-stopped");
        metrics.store_write_stalled.set(saturated(stalled));
        let errors = self.disk.whole_property("rocksdb.background-errors");
        metrics.store_background_errors.set(saturated(errors));
    }

    /// Writes what is queued and closes the database. Blocks; look-ups afterwards see memory only.
    pub fn close(&self) {
        self.write_down();
        if let Some(writer) = &self.writer {
            writer.close();
        }
        self.disk.close();
    }
}

/// The bound, or what the file system can hold if that is less.
fn attainable(options: &StoreOptions) -> u64 {
    let wanted = options.disk_bytes_max;
    match directory::attainable(&options.path) {
        Some(bytes) if bytes < wanted => {
            log::warn!(
                "store.disk_bytes_max is more than the file system of {} can hold: at most {} are \
                 used",
                options.path.display(),
                bytesize::ByteSize(bytes).display().iec(),
            );
            bytes
        }
        _ => wanted,
    }
}

fn saturated(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

//! The tiers below the cache: hot memory, then RocksDB.
//!
//! A finished answer is put into memory before anyone is told that it is finished, and stays
//! readable from there until the disk has it: whatever the disk does, the next request is a hit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::Semaphore;

use crate::key::Key;
use crate::metrics::{Metrics, Tier};
use disk::{Disk, Probe};
use hot::HotTier;
use record::{Record, RecordError};
use writer::Writer;

mod directory;
mod disk;
mod hot;
pub mod record;
mod writer;

/// Disk reads under way at once. More only queue up inside the device.
const DISK_READS_MAX: usize = 64;
/// A look-up that waited this long for its turn to read gives up and is a miss.
const DISK_READ_WAIT_MAX: Duration = Duration::from_millis(500);
/// Share of the memory budget that RocksDB gets: block cache, blob cache and memtables.
const ROCKSDB_SHARE: usize = 4;

/// What the store needs to know.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Directory of the database.
    pub path: PathBuf,
    /// Bytes in memory: hot tier and everything RocksDB holds.
    pub memory_bytes_max: usize,
    /// Bytes on disk.
    pub disk_bytes_max: u64,
    /// Bytes of finished answers waiting to be written; beyond it answers are not written.
    pub write_queue_bytes_max: usize,
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
    /// The writer thread cannot be started.
    #[error("cannot start the store's writer thread: {0}")]
    Thread(std::io::Error),
}

/// All tiers as one.
pub struct Store {
    hot: HotTier,
    disk: Arc<Disk>,
    writer: Writer,
    reads: Semaphore,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Opens the database and starts the writer.
    pub fn open(options: &StoreOptions, metrics: Arc<Metrics>) -> Result<Store, StoreError> {
        directory::prepare(&options.path)?;
        let rocksdb_bytes = options.memory_bytes_max / ROCKSDB_SHARE;
        let disk = Arc::new(Disk::open(
            &options.path,
            rocksdb_bytes,
            options.disk_bytes_max,
        )?);
        let writer = Writer::start(disk.clone(), options.write_queue_bytes_max, metrics.clone())
            .map_err(StoreError::Thread)?;
        let hot_bytes = options.memory_bytes_max - rocksdb_bytes;
        let bound = |tier, bytes: u64| metrics.store_bytes_max(tier).set(saturated(bytes));
        bound(Tier::Memory, hot_bytes as u64);
        bound(Tier::Disk, options.disk_bytes_max);
        Ok(Store {
            hot: HotTier::new(hot_bytes),
            disk,
            writer,
            reads: Semaphore::new(DISK_READS_MAX),
            metrics,
        })
    }

    /// Looks in memory only; never blocks.
    pub fn get_hot(&self, key: &Key) -> Option<Arc<Record>> {
        self.hot.get(key).or_else(|| self.writer.pending(key))
    }

    /// Looks in memory, then on disk. Whatever goes wrong is a miss. The disk is only touched on
    /// the blocking pool.
    pub async fn get(&self, key: &Key) -> Option<(Arc<Record>, Tier)> {
        if let Some(record) = self.get_hot(key) {
            return Some((record, Tier::Memory));
        }
        if self.writer.is_superseded(key) {
            return None;
        }
        let found = match self.disk.probe(key) {
            Probe::Found(bytes) => Record::decode_for(key, &bytes),
            Probe::Absent => return None,
            Probe::MustBlock => self.read_blocking(*key).await?,
        };
        match found {
            // The second look is for an answer that came while the disk was read.
            Ok(record) if self.disk.distrusts(&record) || self.writer.is_superseded(key) => None,
            Ok(record) => Some((self.hot.promote(Arc::new(record)), Tier::Disk)),
            Err(RecordError::Version(version)) => {
                log::debug!("an entry has format version {version} and is removed key={key}");
                self.writer.delete_damaged(*key);
                None
            }
            Err(error) => {
                self.metrics.store_corrupt_records.inc();
                log::warn!("a stored record is not usable and is removed: {error} key={key}");
                self.writer.delete_damaged(*key);
                None
            }
        }
    }

    /// Keeps a finished answer: in memory at once, on disk as soon as the writer gets to it.
    pub fn put(&self, record: Arc<Record>) {
        self.hot.insert(record.clone());
        self.writer.put(record);
    }

    /// Keeps what was made from another entry, in memory only, unless there is something newer.
    /// Returns the one that is there afterwards.
    pub fn keep_in_memory(&self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        let kept = self.hot.promote(record.clone());
        if kept.stored_ms >= record.stored_ms {
            return kept;
        }
        self.hot.insert(record.clone());
        record
    }

    /// Forgets an entry in every tier.
    pub fn remove(&self, key: &Key) {
        self.hot.remove(key);
        self.writer.delete(*key);
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
            .set(self.writer.queued_bytes() as i64);
    }

    /// Writes what is queued and closes the database. Blocks; look-ups afterwards see memory only.
    pub fn close(&self) {
        self.writer.close();
        self.disk.close();
    }

    async fn read_blocking(&self, key: Key) -> Option<Result<Record, RecordError>> {
        let turn = tokio::time::timeout(DISK_READ_WAIT_MAX, self.reads.acquire()).await;
        let Ok(Ok(_permit)) = turn else {
            self.metrics.store_reads_skipped.inc();
            return None;
        };
        let disk = self.disk.clone();
        let read = tokio::task::spawn_blocking(move || {
            disk.read(&key)
                .map(|bytes| Record::decode_for(&key, &bytes))
        });
        read.await.ok().flatten()
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

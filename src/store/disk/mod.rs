//! The disk tier: RocksDB, used as a log of segments with an index.
//!
//! Entries are only ever added, at the end of one of two queues of segments; the index says where the
//! one is that counts. Room is made by removing the files of the oldest segment, after what was used in
//! it has been copied (see [`evict`]). So nothing is merged, nothing is left to be collected, and the
//! directory stays within its bound however fast entries come.
//!
//! Look-ups may come from any thread; everything else is the writer's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rocksdb::{DB, DBPinnableSlice, ErrorKind, ReadOptions, ReadTier};

use super::about::About;
use super::purge::Purges;
use super::record::Record;
use super::row::Row;
use super::uses::{Ghosts, Uses};
use crate::config::Durability;
use crate::key::Key;
use crate::metrics::{Metrics, Removal};
use change::Change;
use layout::{Families, GENERATION_KEY, Kind, Queue, Segment, data_key};
use options::{Shared, Sizes};

mod change;
mod error;
mod evict;
pub mod layout;
mod open;
mod options;
mod purging;
pub mod scan;
mod size;
mod table;

pub use error::DiskError;
pub use open::read_only;
pub use purging::Pass;
#[cfg(test)]
pub use size::bytes_below;
pub use table::Table;

/// Bytes that an entry takes beside its record, about: its row, three keys, and where its blob is.
const BESIDE_RECORD: usize = 256;
/// How long the last look-ups may take before a database is closed.
const LAST_READERS_MAX: Duration = Duration::from_secs(30);

/// What the disk tier is told.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Directory of the database.
    pub path: PathBuf,
    /// Bytes the directory may take.
    pub bytes_max: u64,
    /// Bytes of everything RocksDB holds in memory.
    pub memory_bytes: usize,
    /// Bytes of the whole memory budget, from which the counters of uses take their share.
    pub memory_bytes_max: usize,
    /// What a write survives.
    pub durability: Durability,
    /// Namespaces whose entries are not evicted.
    pub pinned: Vec<String>,
    /// For how long after its expiry an entry may still be served.
    pub stale_max: Duration,
}

/// The database and what is known of its contents.
pub struct Disk {
    path: PathBuf,
    sizes: Sizes,
    shared: Shared,
    durability: Durability,
    pinned: Vec<String>,
    stale_max_ms: u64,
    /// `None` once closed, and for moments while it is opened anew.
    db: RwLock<Option<Arc<DB>>>,
    table: Mutex<Table>,
    uses: Uses,
    ghosts: Mutex<Ghosts>,
    /// Bytes that may be copied before more has gone.
    may_copy: AtomicU64,
    purges: Purges,
    /// Held while purges are written down.
    remembering: Mutex<()>,
    remembering_untold: Mutex<()>,
    /// The number of the last purge that the database knows of.
    noted_generation: AtomicU64,
    /// There are purges that are not written down.
    unwritten_purges: AtomicBool,
    /// There are purges that are in the log only.
    logged_purges: AtomicBool,
    /// The purge of everything that was carried out last.
    floor_done: AtomicU64,
    /// Copies being made: as long as there are, RocksDB removes no files.
    copying: AtomicUsize,
    entries: AtomicU64,
    /// Bytes of the directory, as far as is known.
    bytes: AtomicU64,
    oldest_ms: AtomicU64,
    /// Entries stored before this time are not believed.
    valid_from_ms: AtomicU64,
    metrics: Arc<Metrics>,
}

/// What a look-up that must not block found.
pub enum Probe {
    /// The encoded record.
    Found(Vec<u8>),
    /// Certainly not stored.
    Absent,
    /// Only the disk knows.
    MustBlock,
}

impl Disk {
    /// Looks without touching the disk: memtables, block cache and blob cache.
    pub fn probe(&self, key: &Key) -> Probe {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        match self.get(key, &options) {
            Ok(Some(value)) => Probe::Found(value),
            Ok(None) => Probe::Absent,
            Err(e) if e.kind() == ErrorKind::Incomplete => Probe::MustBlock,
            // Whatever else it is, the read that may block will say so again and count it.
            Err(_) => Probe::MustBlock,
        }
    }

    /// Looks on the disk. Blocks.
    pub fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, rocksdb::Error> {
        self.get(key, &ReadOptions::default())
    }

    fn get(&self, key: &Key, options: &ReadOptions) -> Result<Option<Vec<u8>>, rocksdb::Error> {
        let Some(db) = self.db() else { return Ok(None) };
        let Some(families) = Families::of(&db) else {
            return Ok(None);
        };
        let mut looked_in = None;
        // A segment may go between the two look-ups: the index then says where the entry is now.
        loop {
            let place = db.get_pinned_cf_opt(families.index, key.as_bytes(), options)?;
            let Some(segment) = place.and_then(|value| Segment::decode(&value)) else {
                return Ok(None);
            };
            if looked_in == Some(segment) {
                return Ok(None);
            }
            let data = families.data(segment.queue());
            let data_key = data_key(segment, Kind::Record, key);
            let value: Option<DBPinnableSlice<'_>> =
                db.get_pinned_cf_opt(data, data_key, options)?;
            if let Some(value) = value {
                return Ok(Some(value.to_vec()));
            }
            looked_in = Some(segment);
        }
    }

    /// Reads the filters of the index, so that no miss has to wait for one. Blocks.
    pub fn warm(&self) {
        let Some(db) = self.db() else { return };
        let Some(families) = Families::of(&db) else {
            return;
        };
        let files = db.live_files().unwrap_or_default();
        let of_index = files
            .iter()
            .filter(|file| file.column_family_name == layout::CF_INDEX);
        for key in of_index.filter_map(|file| file.start_key.as_ref()) {
            // What comes of it is of no interest.
            let _ = db.get_pinned_cf(families.index, key);
        }
    }

    /// Notes that an entry was used.
    pub fn used(&self, key: &Key) {
        self.uses.note(key);
    }

    /// Writes records and takes keys out of the index. Blocks. A key must not be in both. After an
    /// error the database must be opened anew.
    pub fn write<'a>(
        &self,
        puts: impl Iterator<Item = &'a Arc<Record>>,
        deletes: impl Iterator<Item = &'a Key>,
    ) -> Result<(), DiskError> {
        let Some(db) = self.db() else { return Ok(()) };
        let Some(families) = Families::of(&db) else {
            return Ok(());
        };
        let mut table = self.table.lock().clone();
        let mut change = self.change(&db, families, &mut table);
        // An entry must not have a number that a purge could be given once more after a restart.
        let generation = self.purges.generation();
        if self.noted_generation.load(Relaxed) != generation {
            change.note(GENERATION_KEY, &generation.to_be_bytes());
        }
        for key in deletes {
            if change.unlink(key)? {
                self.metrics.store_removed(Removal::Replaced).inc();
            }
        }
        for record in puts {
            let value = record.encode();
            let row = Row::of(record, value.len());
            let queue = match self.ghosts.lock().contains(&record.key) {
                true => Queue::Main,
                false => Queue::Probation,
            };
            let pinned = self.is_pinned(&row.about);
            change.append(queue, &record.key, &row, &value, pinned)?;
            self.wrote(value.len() + BESIDE_RECORD);
        }
        change.commit()?;
        self.adopt(table);
        self.noted_generation.store(generation, Relaxed);
        Ok(())
    }

    /// The purges that are remembered with the entries.
    pub fn purges(&self) -> &Purges {
        &self.purges
    }

    /// Believes nothing stored before `now_ms` any more, until the next start.
    pub fn distrust(&self, now_ms: u64) {
        log::error!("too many answers could not be written, older entries on disk are not used");
        self.valid_from_ms.store(now_ms, Relaxed);
    }

    /// Whether an entry may be older than an answer that could not be written.
    pub fn distrusts(&self, record: &Record) -> bool {
        record.stored_ms < self.valid_from_ms.load(Relaxed)
    }

    /// Number of entries.
    pub fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// Bytes of all files, as of the last look at them and what was written since.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// When the oldest entry was stored, milliseconds since the Unix epoch; `None` without entries.
    pub fn oldest_ms(&self) -> Option<u64> {
        Some(self.oldest_ms.load(Relaxed)).filter(|ms| *ms != u64::MAX)
    }

    /// Bytes that the database holds in memory: blocks, blobs, filters, indexes and memtables.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.cache.get_usage() as u64
    }

    /// Bytes of counters in memory.
    pub fn counter_bytes(&self) -> usize {
        self.uses.bytes() + self.ghosts.lock().bytes()
    }

    /// A number that RocksDB knows about itself, of all column families together.
    pub fn property(&self, name: &str) -> u64 {
        let Some(db) = self.db() else { return 0 };
        let families = [layout::CF_INDEX, layout::CF_PROBATION, layout::CF_MAIN];
        let values = families.iter().filter_map(|family| {
            let family = db.cf_handle(family)?;
            db.property_int_value_cf(family, name).ok().flatten()
        });
        values.sum()
    }

    /// Syncs the log and closes the database. Blocks.
    pub fn close(&self) {
        let Some(db) = self.db.write().take() else {
            return;
        };
        let flushed = match self.durability {
            Durability::None => {
                Families::of(&db).map_or(Ok(()), |families| change::flush_all(&db, families))
            }
            Durability::Process | Durability::Power => db.flush_wal(true).map_err(Into::into),
        };
        if let Err(e) = flushed {
            log::error!("the disk tier cannot write its last entries: {e}");
        }
        db.cancel_all_background_work(true);
        self.drop_last(db);
    }

    /// Whether a segment is in the table.
    #[cfg(test)]
    pub fn knows(&self, segment: Segment) -> bool {
        self.table.lock().get(segment).is_some()
    }

    /// The newest segment of a queue.
    #[cfg(test)]
    pub fn newest(&self, queue: Queue) -> Option<Segment> {
        self.table.lock().newest(queue)
    }

    /// Bytes that were added to a queue and are there still.
    #[cfg(test)]
    pub fn bytes_of(&self, queue: Queue) -> u64 {
        self.table.lock().bytes(queue)
    }

    /// As if an entry had never been used.
    #[cfg(test)]
    pub fn forget_use(&self, key: &Key) {
        self.uses.set(key, 0);
    }

    /// As if a copy were being made.
    #[cfg(test)]
    pub fn copying_for_test(&self, on: bool) {
        self.copying.store(usize::from(on), Relaxed);
    }

    /// Stores bytes that may be no record.
    #[cfg(test)]
    pub fn put_raw(&self, record: &Record, bytes: &[u8]) {
        let db = self.db().unwrap();
        let families = Families::of(&db).unwrap();
        let mut table = self.table.lock().clone();
        let mut change = self.change(&db, families, &mut table);
        let row = Row::of(record, bytes.len());
        change
            .append(Queue::Probation, &record.key, &row, bytes, false)
            .unwrap();
        change.commit().unwrap();
        self.adopt(table);
    }

    /// Waits for the last look-ups, and lets go of the database. False if there are still some.
    fn drop_last(&self, db: Arc<DB>) -> bool {
        let deadline = Instant::now() + LAST_READERS_MAX;
        while Arc::strong_count(&db) > 1 && Instant::now() < deadline {
            // The writer's own thread, or the last one of the server.
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Arc::strong_count(&db) == 1
    }

    pub(super) fn db(&self) -> Option<Arc<DB>> {
        self.db.read().clone()
    }

    fn change<'a>(
        &'a self,
        db: &'a DB,
        families: Families<'a>,
        table: &'a mut Table,
    ) -> Change<'a> {
        Change::new(db, families, table, &self.sizes, self.durability)
    }

    /// Takes over what a change has made of the table.
    fn adopt(&self, table: Table) {
        self.entries.store(table.live(), Relaxed);
        let oldest_ms = table.oldest_ms().unwrap_or(u64::MAX);
        self.oldest_ms.store(oldest_ms, Relaxed);
        *self.table.lock() = table;
    }

    fn is_pinned(&self, about: &About) -> bool {
        self.pinned.iter().any(|name| **name == *about.namespace)
    }

    /// Bytes that may be written before there is a look at the room they take.
    pub fn batch_bytes(&self) -> usize {
        self.sizes.batch_bytes()
    }

    /// Bytes that are written to disk in one go.
    pub fn memtable_bytes(&self) -> usize {
        self.sizes.memtable_bytes
    }

    /// The directory of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

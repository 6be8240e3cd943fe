//! The disk tier: RocksDB. Everything about its layout and options is in this file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBPinnableSlice, ErrorKind, IteratorMode, LogLevel, Options, ReadOptions, ReadTier, WriteBatch,
    WriteOptions,
};

use super::StoreError;
use super::record::Record;
use crate::key::Key;

/// Key → encoded record. Values live in blob files, outside the LSM tree.
const CF_ENTRIES: &str = "entries";
/// Key → [`Row`]: what listing, expiry and eviction need, so that none of them reads a body.
const CF_INDEX: &str = "index";
/// Time of storing (big-endian milliseconds) and key → nothing: the order of eviction.
const CF_AGE: &str = "age";
/// In the default column family: which layout this database has.
const FORMAT_KEY: &[u8] = b"format";
const FORMAT: &[u8] = b"1";

/// Values of this size and more go to blob files: below it a value costs less inside the tree.
const BLOB_BYTES_MIN: u64 = 512;
const BLOB_FILE_BYTES: u64 = 64 << 20;
/// Eviction begins here and goes down to [`EVICT_TO`], in per cent of the bound.
const EVICT_FROM: u64 = 90;
const EVICT_TO: u64 = 85;
/// Entries evicted in one go, so that writing is never held up for long.
const EVICT_BATCH: usize = 1_000;

/// Properties that tell the size of the files.
const TABLE_BYTES: &str = "rocksdb.total-sst-files-size";
const BLOB_BYTES: &str = "rocksdb.total-blob-file-size";

/// The database and what is known of its contents.
pub struct Disk {
    /// `None` once closed.
    db: RwLock<Option<Arc<DB>>>,
    bytes_max: u64,
    bytes: AtomicU64,
    entries: AtomicI64,
    /// Entries stored before this time are not believed.
    valid_from_ms: AtomicU64,
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

/// One row of the index.
struct Row {
    stored_ms: u64,
    bytes: u32,
}

impl Row {
    fn encode(&self, expires_ms: u64) -> [u8; 20] {
        let mut out = [0; 20];
        out[..8].copy_from_slice(&self.stored_ms.to_be_bytes());
        out[8..16].copy_from_slice(&expires_ms.to_be_bytes());
        out[16..].copy_from_slice(&self.bytes.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Row> {
        let (stored, rest) = bytes.split_first_chunk::<8>()?;
        let (_expires, rest) = rest.split_first_chunk::<8>()?;
        Some(Row {
            stored_ms: u64::from_be_bytes(*stored),
            bytes: u32::from_be_bytes(*rest.first_chunk::<4>()?),
        })
    }
}

fn age_key(stored_ms: u64, key: &Key) -> [u8; 40] {
    let mut out = [0; 40];
    out[..8].copy_from_slice(&stored_ms.to_be_bytes());
    out[8..].copy_from_slice(key.as_bytes());
    out
}

impl Disk {
    /// Opens or creates the database in a directory that is there. `memory_bytes` bounds block cache, blob cache and memtables.
    pub fn open(path: &Path, memory_bytes: usize, bytes_max: u64) -> Result<Disk, StoreError> {
        let failed = |message: String| StoreError::Open {
            path: path.to_owned(),
            message,
        };
        let cache = Cache::new_lru_cache(memory_bytes / 2);
        let families = [
            ColumnFamilyDescriptor::new(CF_ENTRIES, entry_options(&cache)),
            ColumnFamilyDescriptor::new(CF_INDEX, row_options(&cache)),
            ColumnFamilyDescriptor::new(CF_AGE, row_options(&cache)),
        ];
        let db = DB::open_cf_descriptors(&database_options(memory_bytes / 2), path, families)
            .map_err(|e| failed(explain(&e)))?;
        match db.get(FORMAT_KEY).map_err(|e| failed(e.to_string()))? {
            None => db
                .put(FORMAT_KEY, FORMAT)
                .map_err(|e| failed(e.to_string()))?,
            Some(format) if format == FORMAT => {}
            Some(format) => {
                return Err(failed(format!(
                    "its layout is version {}, this server reads version {}; give store.path an \
                     empty directory, or run the version of the server that wrote it",
                    String::from_utf8_lossy(&format),
                    String::from_utf8_lossy(FORMAT),
                )));
            }
        }
        let disk = Disk {
            db: RwLock::new(Some(Arc::new(db))),
            bytes_max,
            bytes: AtomicU64::new(0),
            entries: AtomicI64::new(0),
            valid_from_ms: AtomicU64::new(0),
        };
        disk.count().map_err(|e| failed(e.to_string()))?;
        Ok(disk)
    }

    /// Looks without touching the disk: memtables, block cache and blob cache.
    pub fn probe(&self, key: &Key) -> Probe {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        match self.get(key, &options) {
            Ok(Some(value)) => Probe::Found(value),
            Ok(None) => Probe::Absent,
            Err(e) if e.kind() == ErrorKind::Incomplete => Probe::MustBlock,
            // Whatever else it is, the read that may block will say so again and log it.
            Err(_) => Probe::MustBlock,
        }
    }

    /// Looks on the disk. Blocks. An error is logged and is a miss.
    pub fn read(&self, key: &Key) -> Option<Vec<u8>> {
        self.get(key, &ReadOptions::default()).unwrap_or_else(|e| {
            log::warn!("the disk tier cannot read an entry: {e} key={key}");
            None
        })
    }

    fn get(&self, key: &Key, options: &ReadOptions) -> Result<Option<Vec<u8>>, rocksdb::Error> {
        let Some(db) = self.db() else { return Ok(None) };
        let Some(entries) = db.cf_handle(CF_ENTRIES) else {
            return Ok(None);
        };
        let value: Option<DBPinnableSlice<'_>> =
            db.get_pinned_cf_opt(entries, key.as_bytes(), options)?;
        Ok(value.map(|v| v.to_vec()))
    }

    /// Writes records and deletions in one atomic batch. Blocks.
    /// A key must not be in both.
    pub fn write<'a>(
        &self,
        puts: impl Iterator<Item = &'a Arc<Record>>,
        deletes: impl Iterator<Item = &'a Key>,
    ) -> Result<(), rocksdb::Error> {
        let Some(db) = self.db() else { return Ok(()) };
        let Some(families) = Families::of(&db) else {
            return Ok(());
        };
        let mut batch = WriteBatch::default();
        let (mut bytes, mut entries) = (0i64, 0i64);
        for record in puts {
            let value = record.encode();
            let row = Row {
                stored_ms: record.stored_ms,
                bytes: value.len() as u32,
            };
            if let Some(old) = families.forget(&db, &mut batch, &record.key)? {
                bytes -= i64::from(old.bytes);
                entries -= 1;
            }
            batch.put_cf(families.entries, record.key.as_bytes(), &value);
            batch.put_cf(
                families.index,
                record.key.as_bytes(),
                row.encode(record.expires_ms),
            );
            batch.put_cf(families.age, age_key(row.stored_ms, &record.key), []);
            bytes += i64::from(row.bytes);
            entries += 1;
        }
        for key in deletes {
            if let Some(old) = families.forget(&db, &mut batch, key)? {
                bytes -= i64::from(old.bytes);
                entries -= 1;
            }
            batch.delete_cf(families.entries, key.as_bytes());
        }
        // Not synced: the log survives the death of the process, and a cache need not survive more.
        db.write_opt(batch, &WriteOptions::default())?;
        self.account(bytes, entries);
        Ok(())
    }

    /// Makes room by deleting the oldest entries once the bound is near. Blocks.
    pub fn evict(&self) -> Result<u64, rocksdb::Error> {
        if self.bytes() < self.bytes_max / 100 * EVICT_FROM {
            return Ok(0);
        }
        let Some(db) = self.db() else { return Ok(0) };
        let Some(families) = Families::of(&db) else {
            return Ok(0);
        };
        let target = self.bytes_max / 100 * EVICT_TO;
        let mut batch = WriteBatch::default();
        let (mut bytes, mut entries) = (0i64, 0i64);
        for item in db
            .iterator_cf(families.age, IteratorMode::Start)
            .take(EVICT_BATCH)
        {
            if self.bytes().saturating_add_signed(bytes) <= target {
                break;
            }
            let (age, _) = item?;
            batch.delete_cf(families.age, &age);
            let Some(key) = age.get(8..).and_then(|k| <[u8; 32]>::try_from(k).ok()) else {
                continue;
            };
            let key = Key::from_bytes(key);
            if let Some(row) = families.forget(&db, &mut batch, &key)? {
                bytes -= i64::from(row.bytes);
                entries -= 1;
            }
            batch.delete_cf(families.entries, key.as_bytes());
        }
        db.write_opt(batch, &WriteOptions::default())?;
        self.account(bytes, entries);
        Ok(entries.unsigned_abs())
    }

    /// Whether the files on disk have outgrown the bound, so that nothing more may be written.
    pub fn is_full(&self) -> bool {
        let Some(db) = self.db() else { return true };
        let files = |family: &str, property: &str| {
            db.cf_handle(family)
                .and_then(|family| db.property_int_value_cf(family, property).ok().flatten())
                .unwrap_or(0)
        };
        let tables = [CF_ENTRIES, CF_INDEX, CF_AGE].map(|f| files(f, TABLE_BYTES));
        tables.iter().sum::<u64>() + files(CF_ENTRIES, BLOB_BYTES) > self.bytes_max
    }

    /// Rewrites blob files that hold mostly deleted values. Blocks for long.
    pub fn reclaim(&self) {
        let Some(db) = self.db() else { return };
        if let Some(entries) = db.cf_handle(CF_ENTRIES) {
            db.compact_range_cf(entries, None::<&[u8]>, None::<&[u8]>);
        }
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
        self.entries.load(Relaxed).max(0).unsigned_abs()
    }

    /// Bytes of all encoded records, before compression.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Syncs the log and closes the database.
    pub fn close(&self) {
        let Some(db) = self.db.write().take() else {
            return;
        };
        if let Err(e) = db.flush_wal(true) {
            log::error!("the disk tier cannot sync its log: {e}");
        }
        db.cancel_all_background_work(true);
    }

    /// Stores bytes that may be no record.
    #[cfg(test)]
    pub fn put_raw(&self, key: &Key, bytes: &[u8]) {
        let db = self.db().unwrap();
        db.put_cf(db.cf_handle(CF_ENTRIES).unwrap(), key.as_bytes(), bytes)
            .unwrap();
    }

    fn db(&self) -> Option<Arc<DB>> {
        self.db.read().clone()
    }

    fn account(&self, bytes: i64, entries: i64) {
        let update = |old: u64| Some(old.saturating_add_signed(bytes));
        let _ = self.bytes.fetch_update(Relaxed, Relaxed, update);
        self.entries.fetch_add(entries, Relaxed);
    }

    /// Sums up the index. Reads rows of 20 bytes, no bodies.
    fn count(&self) -> Result<(), rocksdb::Error> {
        let Some(db) = self.db() else { return Ok(()) };
        let Some(index) = db.cf_handle(CF_INDEX) else {
            return Ok(());
        };
        for item in db.iterator_cf(index, IteratorMode::Start) {
            let (_, row) = item?;
            let bytes = Row::decode(&row).map_or(0, |r| i64::from(r.bytes));
            self.account(bytes, 1);
        }
        Ok(())
    }
}

struct Families<'a> {
    entries: &'a ColumnFamily,
    index: &'a ColumnFamily,
    age: &'a ColumnFamily,
}

impl<'a> Families<'a> {
    fn of(db: &'a DB) -> Option<Families<'a>> {
        Some(Families {
            entries: db.cf_handle(CF_ENTRIES)?,
            index: db.cf_handle(CF_INDEX)?,
            age: db.cf_handle(CF_AGE)?,
        })
    }

    /// Adds the removal of a key's rows to the batch and returns what the index knew of it.
    fn forget(
        &self,
        db: &DB,
        batch: &mut WriteBatch,
        key: &Key,
    ) -> Result<Option<Row>, rocksdb::Error> {
        let Some(row) = db.get_pinned_cf(self.index, key.as_bytes())? else {
            return Ok(None);
        };
        let row = Row::decode(&row);
        batch.delete_cf(self.index, key.as_bytes());
        if let Some(row) = &row {
            batch.delete_cf(self.age, age_key(row.stored_ms, key));
        }
        Ok(row)
    }
}

fn database_options(memtable_bytes: usize) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(memtable_bytes);
    options.set_max_background_jobs(2);
    options.set_max_open_files(512);
    options.set_max_total_wal_size(128 << 20);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_log_level(LogLevel::Warn);
    options
}

/// Small rows: ordinary tables with a filter.
fn row_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(10.0, false);
    // Filters and indexes count towards the one memory budget instead of growing beside it.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Zstd);
    options
}

/// Answers: in blob files with garbage collection, so that compaction never rewrites bodies.
fn entry_options(cache: &Cache) -> Options {
    let mut options = row_options(cache);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES_MIN);
    options.set_blob_file_size(BLOB_FILE_BYTES);
    options.set_blob_compression_type(DBCompressionType::Zstd);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(0.5);
    options.set_blob_gc_force_threshold(0.5);
    options.set_blob_cache(cache);
    options
}

/// Adds what to do to the errors operators meet.
fn explain(error: &rocksdb::Error) -> String {
    let text = error.to_string();
    let hint = if text.contains("Permission denied") {
        "; the files in it belong to another user: chown them to the one this server runs as"
    } else if text.contains("lock") {
        "; another process uses it: stop that one, or give this server its own store.path"
    } else if text.contains("No space left") {
        "; free space on that disk or move store.path"
    } else {
        ""
    };
    text + hint
}

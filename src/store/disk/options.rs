//! Every option of RocksDB, and why.

use rocksdb::{
    BlockBasedOptions, BlockBasedTablePinningTier, Cache, ColumnFamilyDescriptor,
    DBCompressionType, DBRecoveryMode, LogLevel, Options, WriteBufferManager,
};

use super::layout::{CF_BOOKKEEPING, CF_INDEX, CF_MAIN, CF_PROBATION};
use crate::config::Durability;

/// Values of this size and more go to blob files: below it a value costs less inside the table.
const BLOB_BYTES_MIN: u64 = 512;
/// Open files at most; a segment has two to ten, and the hottest stay open.
const OPEN_FILES_MAX: i32 = 1024;
/// Entries of a segment at most: its rows are read at once when it is evicted.
pub const SEGMENT_LEN_MAX: u64 = 64 << 10;
/// Segments that the bound is divided into, within the limits below.
const SEGMENTS: u64 = 64;
const SEGMENT_BYTES_MIN: u64 = 512 << 10;
const SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// Memtables that make a segment at most: so many tables lie at level 0 until it is full.
const SEGMENT_MEMTABLES: u64 = 16;
const MEMTABLE_BYTES_MIN: u64 = 256 << 10;
const MEMTABLE_BYTES_MAX: u64 = 64 << 20;

/// The sizes that follow from the two budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes on disk that must not be passed.
    pub disk_bytes_max: u64,
    /// Bytes of block cache, blob cache, filters, indexes and memtables together.
    pub memory_bytes: usize,
    /// Bytes of a memtable, which becomes one table and one blob file.
    pub memtable_bytes: usize,
    /// Bytes of encoded records that make a segment.
    pub segment_bytes: u64,
    /// Files are removed from this many bytes on.
    pub evict_above: u64,
}

impl Sizes {
    /// For so many bytes on disk and in memory.
    pub fn new(disk_bytes_max: u64, memory_bytes: usize) -> Sizes {
        let memtable = (memory_bytes as u64 / 8)
            .min(disk_bytes_max / 128)
            .clamp(MEMTABLE_BYTES_MIN, MEMTABLE_BYTES_MAX);
        let segment = (disk_bytes_max / SEGMENTS).clamp(
            SEGMENT_BYTES_MIN,
            SEGMENT_BYTES_MAX
                .min(memtable * SEGMENT_MEMTABLES)
                .max(SEGMENT_BYTES_MIN),
        );
        // Between two looks at the directory it can grow by what is being flushed and its log, by
        // the segment that survivors are copied to before theirs goes, and by small files.
        let margin = 5 * memtable + segment + disk_bytes_max / 100;
        Sizes {
            disk_bytes_max,
            memory_bytes,
            memtable_bytes: usize::try_from(memtable).unwrap_or(usize::MAX),
            segment_bytes: segment,
            evict_above: disk_bytes_max.saturating_sub(margin),
        }
    }
}

impl Sizes {
    /// Bytes after which the list of files is written anew; for a moment there are two.
    fn manifest_bytes(&self) -> usize {
        let part = (self.disk_bytes_max / 256).clamp(64 << 10, 4 << 20);
        usize::try_from(part).unwrap_or(usize::MAX)
    }

    /// Bytes that may be handed over before there is a look at the room they take.
    pub fn batch_bytes(&self) -> usize {
        let part = (self.segment_bytes / 4).min(4 << 20);
        usize::try_from(part).unwrap_or(usize::MAX)
    }
}

/// What all column families share.
pub struct Shared {
    /// Blocks, blobs, filters, indexes and, as a charge, memtables: one budget for all.
    pub cache: Cache,
    buffers: WriteBufferManager,
}

impl Shared {
    /// One budget for all.
    pub fn new(sizes: &Sizes) -> Shared {
        let cache = Cache::new_lru_cache(sizes.memory_bytes);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            sizes.memtable_bytes * 4,
            // A full buffer is flushed; writes do not wait for it.
            false,
            cache.clone(),
        );
        Shared { cache, buffers }
    }
}

/// Options of the database.
pub fn database(sizes: &Sizes, shared: &Shared, durability: Durability) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(&shared.buffers);
    options.set_max_background_jobs(2);
    // What look-ups were the last to use is freed by the background, not by them.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    // The log lives until the last family that wrote to it is flushed.
    options.set_max_total_wal_size(2 * sizes.memtable_bytes as u64);
    // Writes go out as they come instead of in one burst.
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    // After a crash: everything up to the first damage, and nothing behind it.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Space that is reserved counts as taken.
    options.set_manifest_preallocation_size(64 << 10);
    options.set_max_manifest_file_size(sizes.manifest_bytes());
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(64 << 10);
    options.set_stats_dump_period_sec(0);
    options.set_log_level(LogLevel::Error);
    // Without a log, families are flushed together, or the index would point to nothing.
    options.set_atomic_flush(durability == Durability::None);
    options
}

/// All column families.
pub fn families(sizes: &Sizes, shared: &Shared) -> Vec<ColumnFamilyDescriptor> {
    vec![
        ColumnFamilyDescriptor::new(CF_BOOKKEEPING, bookkeeping()),
        ColumnFamilyDescriptor::new(CF_INDEX, index(sizes, shared)),
        ColumnFamilyDescriptor::new(CF_PROBATION, data(sizes, shared)),
        ColumnFamilyDescriptor::new(CF_MAIN, data(sizes, shared)),
    ]
}

fn bookkeeping() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(MEMTABLE_BYTES_MIN as usize);
    options
}

/// Rows of 36 bytes, of which 32 are a digest: nothing to compress.
fn index(sizes: &Sizes, shared: &Shared) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&shared.cache);
    // A miss is answered by the filters, of all tables together, without the disk but for one time in
    // some hundreds. Ribbon: the same accuracy in a third less memory, for CPU time when a table is
    // made, which is the writer's. Some 1.5 bytes per entry.
    blocks.set_hybrid_ribbon_filter(16.0, 1);
    // Read with the table, when it is made, and kept: a miss must not wait for a filter.
    blocks.set_unpartitioned_pinning_tier(BlockBasedTablePinningTier::All);
    // Filters and indexes count towards the one memory budget instead of growing beside it.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(sizes.memtable_bytes);
    options
}

/// Rows and records: added, never changed, and removed by the file.
fn data(sizes: &Sizes, shared: &Shared) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&shared.cache);
    // No filter: who reads here comes from the index, and finds.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Zstd);
    options.set_write_buffer_size(sizes.memtable_bytes);
    // Each full segment is compacted once, by itself; between segments nothing is ever to be merged.
    options.set_disable_auto_compactions(true);
    options.set_num_levels(2);
    options.set_level_compaction_dynamic_level_bytes(false);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES_MIN);
    options.set_blob_file_size(sizes.memtable_bytes as u64 * 2);
    options.set_blob_compression_type(DBCompressionType::Zstd);
    // A blob file goes with the tables of its segment; nothing is left to collect.
    options.set_enable_blob_gc(false);
    options.set_blob_cache(&shared.cache);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_leave_room_for_what_grows_between_two_looks() {
        for disk in [64u64 << 20, 256 << 20, 20 << 30, 4 << 40] {
            for memory in [16usize << 20, 128 << 20, 8 << 30] {
                let sizes = Sizes::new(disk, memory);
                assert!(sizes.evict_above > disk / 100 * 88, "{sizes:?}");
                assert!(sizes.segment_bytes <= disk / 32, "{sizes:?}");
                assert!(sizes.memtable_bytes * 2 <= memory, "{sizes:?}");
            }
        }
    }
}

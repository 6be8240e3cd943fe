//! What is written together: entries added, keys taken out of the index, totals.
//!
//! A segment's files must hold nothing else: whatever is in memtables is flushed, and its tables are
//! brought to the level from which they can be removed, before the next segment of the queue gets its
//! first entry. (A batch with records of two segments makes tables that reach over both, and RocksDB
//! then merges all segments into one.)

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rocksdb::{DB, ErrorKind, FlushOptions, LiveFile, WriteBatch, WriteOptions};

use super::error::DiskError;
use super::layout::{Families, Kind, Queue, SEGMENT_PREFIX, Segment, data_key};
use super::options::{SEGMENT_LEN_MAX, Sizes};
use super::table::Table;
use crate::config::Durability;
use crate::key::Key;
use crate::store::row::Row;

/// Bytes that are gathered before they are handed over in the middle of a long change.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// A write that RocksDB has not taken for this long has failed: its flushes and compactions do not get
/// through.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How soon a write is tried again that RocksDB does not take yet.
const STALL_STEP: Duration = Duration::from_millis(2);

/// A change to the database. Nothing is visible before [`Change::commit`], or before so much has
/// gathered that it is handed over early; each part is atomic, and leaves the database in order.
///
/// A change of copies goes in two steps. Records and rows go past the log, and their tables are flushed;
/// only then does the index point to them, in a batch that is logged like any other. So nothing points
/// to what a crash would take away, and what was copied from goes last.
pub struct Change<'a> {
    db: &'a DB,
    families: Families<'a>,
    table: &'a mut Table,
    sizes: &'a Sizes,
    durability: Durability,
    /// Records and rows; in a change that is none of copies, everything.
    batch: WriteBatch,
    /// What points to them, in a change of copies.
    pointers: WriteBatch,
    /// Where keys point to after the batch, if that differs from what the database says.
    pointed: HashMap<Key, Option<Segment>>,
    touched: BTreeSet<Segment>,
    removed: Vec<Segment>,
    copies: bool,
}

impl<'a> Change<'a> {
    /// An empty change. After an error from any method the table no longer says what the database
    /// has; it must be read anew.
    pub fn new(
        db: &'a DB,
        families: Families<'a>,
        table: &'a mut Table,
        sizes: &'a Sizes,
        durability: Durability,
    ) -> Change<'a> {
        Change {
            db,
            families,
            table,
            sizes,
            durability,
            batch: WriteBatch::default(),
            pointers: WriteBatch::default(),
            pointed: HashMap::new(),
            touched: BTreeSet::new(),
            removed: Vec::new(),
            copies: false,
        }
    }

    /// A change that only moves entries or takes them out of the index: bodies are written once instead
    /// of twice.
    pub fn of_copies(mut self) -> Change<'a> {
        self.copies = true;
        self
    }

    /// Adds an entry at the end of a queue; what its key pointed to before no longer counts.
    pub fn append(
        &mut self,
        queue: Queue,
        key: &Key,
        row: &Row,
        record: &[u8],
        pinned: bool,
    ) -> Result<(), DiskError> {
        let segment = self.open_segment(queue)?;
        self.unlink(key)?;
        let data = self.families.data(queue);
        self.batch
            .put_cf(data, data_key(segment, Kind::Record, key), record);
        self.batch
            .put_cf(data, data_key(segment, Kind::Row, key), row.encode());
        self.point(key, Some(segment));
        if let Some(totals) = self.table.get_mut(segment) {
            totals.add(row, pinned);
        }
        self.touched.insert(segment);
        self.write_if_large()
    }

    /// Notes something beside the entries, before any that come after it.
    pub fn note(&mut self, key: &[u8], value: &[u8]) {
        self.pointers().put(key, value);
    }

    /// Takes a key out of the index; false if it was not there.
    pub fn unlink(&mut self, key: &Key) -> Result<bool, DiskError> {
        let Some(segment) = self.segment_of(key)? else {
            return Ok(false);
        };
        self.point(key, None);
        if let Some(totals) = self.table.get_mut(segment) {
            totals.live = totals.live.saturating_sub(1);
            self.touched.insert(segment);
        }
        Ok(true)
    }

    /// Where a key points to, this change included.
    pub fn segment_of(&self, key: &Key) -> Result<Option<Segment>, DiskError> {
        if let Some(segment) = self.pointed.get(key) {
            return Ok(*segment);
        }
        let value = self.db.get_pinned_cf(self.families.index, key.as_bytes())?;
        Ok(value.and_then(|value| Segment::decode(&value)))
    }

    /// Forgets a segment: to the index none of its entries must count any more.
    pub fn forget(&mut self, segment: Segment) {
        self.removed.push(segment);
        self.touched.remove(&segment);
        let mut key = SEGMENT_PREFIX.to_vec();
        key.extend(segment.prefix());
        self.pointers().delete(key);
    }

    /// Begins a segment, so that the newest one of the queue gets no more entries.
    pub fn begin(&mut self, queue: Queue) {
        self.table.begin(queue);
    }

    /// Hands a large batch over.
    pub fn write_if_large(&mut self) -> Result<(), DiskError> {
        match self.batch.size_in_bytes() >= BATCH_BYTES_MAX {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Hands everything over, and then removes the files of the segments that were forgotten.
    pub fn commit(mut self) -> Result<(), DiskError> {
        self.write()?;
        if self.copies {
            let data = Queue::ALL.map(|queue| self.families.data(queue));
            self.db.flush_cfs_opt(&data, &FlushOptions::default())?;
        }
        self.write_pointers()?;
        if self.removed.is_empty() {
            return Ok(());
        }
        if self.durability == Durability::None {
            // That the segments are gone must be known for as long as their files are.
            flush_all(self.db, self.families)?;
        }
        for segment in std::mem::take(&mut self.removed) {
            let queue = segment.queue();
            let oldest = self.table.oldest(queue) == Some(segment);
            self.table.remove(segment);
            let (begin, end) = segment.range();
            // With the oldest also whatever may be left of those before it.
            let begin = if oldest { [0; 4] } else { begin };
            self.db.delete_file_in_range_cf(
                self.families.data(queue),
                begin.as_slice(),
                end.as_slice(),
            )?;
        }
        Ok(())
    }

    /// Brings a segment's tables to where they can be removed as files. Blocks for as long as it takes
    /// to write a memtable, and to sort rows and short records; bodies are not rewritten.
    pub fn seal(&mut self, segment: Segment) -> Result<(), DiskError> {
        self.write()?;
        self.db.flush_cf(self.families.data(segment.queue()))?;
        sort(self.db, self.families, segment)
    }

    /// The segment of a queue that takes entries.
    fn open_segment(&mut self, queue: Queue) -> Result<Segment, DiskError> {
        let Some(newest) = self.table.newest(queue) else {
            return Ok(self.table.begin(queue));
        };
        let full = self.table.get(newest).is_none_or(|totals| {
            totals.bytes >= self.sizes.segment_bytes || totals.added >= SEGMENT_LEN_MAX
        });
        if !full {
            return Ok(newest);
        }
        self.seal(newest)?;
        Ok(self.table.begin(queue))
    }

    fn point(&mut self, key: &Key, to: Option<Segment>) {
        let index = self.families.index;
        match to {
            Some(segment) => self
                .pointers()
                .put_cf(index, key.as_bytes(), segment.prefix()),
            None => self.pointers().delete_cf(index, key.as_bytes()),
        }
        self.pointed.insert(*key, to);
    }

    /// The batch for what points to records.
    fn pointers(&mut self) -> &mut WriteBatch {
        match self.copies {
            true => &mut self.pointers,
            false => &mut self.batch,
        }
    }

    /// Hands over what has gathered; in a change of copies, records and rows only.
    fn write(&mut self) -> Result<(), DiskError> {
        if !self.copies {
            return self.write_pointers();
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        write_patiently(self.db, batch, Durability::None)
    }

    fn write_pointers(&mut self) -> Result<(), DiskError> {
        for segment in std::mem::take(&mut self.touched) {
            if let Some(totals) = self.table.get(segment).copied() {
                let mut key = SEGMENT_PREFIX.to_vec();
                key.extend(segment.prefix());
                self.pointers().put(key, totals.encode());
            }
        }
        let batch = std::mem::take(self.pointers());
        if batch.is_empty() {
            return Ok(());
        }
        write_patiently(self.db, batch, self.durability)?;
        self.pointed.clear();
        Ok(())
    }
}

/// Brings the tables of one segment to the level where they can be removed as files. Blocks.
pub fn sort(db: &DB, families: Families<'_>, segment: Segment) -> Result<(), DiskError> {
    let data = families.data(segment.queue());
    let (begin, end) = segment.range();
    db.compact_range_cf(data, Some(begin.as_slice()), Some(end.as_slice()));
    // It has no outcome, so look at what came of it.
    let unsorted = db.live_files()?.into_iter().any(|file| {
        file.level == 0
            && file.column_family_name == segment.queue().family()
            && segments_of(&file).contains(&Some(segment))
    });
    match unsorted {
        true => Err(DiskError::Unsealed),
        false => Ok(()),
    }
}

/// The segments that the first and the last key of a data file belong to.
pub fn segments_of(file: &LiveFile) -> [Option<Segment>; 2] {
    [&file.start_key, &file.end_key].map(|key| {
        let prefix = key.as_ref()?.first_chunk::<4>()?;
        Segment::decode(prefix)
    })
}

/// Writes the memtables of all families into files, together.
pub fn flush_all(db: &DB, families: Families<'_>) -> Result<(), DiskError> {
    let [probation, main] = Queue::ALL.map(|queue| families.data(queue));
    let all = [probation, main, families.index, families.bookkeeping];
    Ok(db.flush_cfs_opt(&all, &FlushOptions::default())?)
}

/// Writes a batch, and waits for as long as RocksDB does not take it yet. Blocks.
pub fn write_patiently(
    db: &DB,
    batch: WriteBatch,
    durability: Durability,
) -> Result<(), DiskError> {
    let mut options = WriteOptions::default();
    // RocksDB would make the caller wait itself, in a queue where its own recovery from a full disk
    // then waits behind it, for ever.
    options.set_no_slowdown(true);
    match durability {
        Durability::None => options.disable_wal(true),
        Durability::Process => {}
        Durability::Power => options.set_sync(true),
    }
    let data = batch.data().to_vec();
    let deadline = Instant::now() + STALL_MAX;
    let mut outcome = db.write_opt(batch, &options);
    while matches!(&outcome, Err(e) if e.kind() == ErrorKind::Incomplete)
        && Instant::now() < deadline
    {
        std::thread::park_timeout(STALL_STEP);
        outcome = db.write_opt(WriteBatch::from_data(&data), &options);
    }
    Ok(outcome?)
}

//! What is written together: entries added, keys taken out of the index, totals.
//!
//! A segment's files must hold nothing else: whatever is in memtables is flushed, and its tables are
//! brought to the level from which they can be removed, before the next segment of the queue gets its
//! first entry. (A batch with records of two segments makes tables that reach over both, and RocksDB
//! then merges all segments into one.)

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rocksdb::{DB, ErrorKind, WriteBatch, WriteOptions};

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
pub struct Change<'a> {
    db: &'a DB,
    families: Families<'a>,
    table: &'a mut Table,
    sizes: &'a Sizes,
    durability: Durability,
    batch: WriteBatch,
    /// Where keys point to after the batch, if that differs from what the database says.
    pointed: HashMap<Key, Option<Segment>>,
    touched: BTreeSet<Segment>,
    removed: Vec<Segment>,
    /// Nothing is new in it: it goes past the log, and what it was copied from stays until the tables
    /// have it.
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
            pointed: HashMap::new(),
            touched: BTreeSet::new(),
            removed: Vec::new(),
            copies: false,
        }
    }

    /// A change that only moves entries or takes them out of the index. It is written once instead of
    /// twice.
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
    ) -> Result<(), rocksdb::Error> {
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

    /// Takes a key out of the index; false if it was not there.
    pub fn unlink(&mut self, key: &Key) -> Result<bool, rocksdb::Error> {
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
    pub fn segment_of(&self, key: &Key) -> Result<Option<Segment>, rocksdb::Error> {
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
        self.batch.delete(key);
    }

    /// Hands a large batch over.
    pub fn write_if_large(&mut self) -> Result<(), rocksdb::Error> {
        match self.batch.size_in_bytes() >= BATCH_BYTES_MAX {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Hands everything over, and then removes the files of the segments that were forgotten.
    pub fn commit(mut self) -> Result<(), rocksdb::Error> {
        self.write()?;
        if self.copies {
            let data = Queue::ALL.map(|queue| self.families.data(queue));
            for family in data.into_iter().chain([self.families.index]) {
                self.db.flush_cf(family)?;
            }
            self.db.flush()?;
        }
        for segment in std::mem::take(&mut self.removed) {
            self.table.remove(segment);
            let (begin, end) = segment.range();
            let data = self.families.data(segment.queue());
            self.db
                .delete_file_in_range_cf(data, begin.as_slice(), end.as_slice())?;
        }
        Ok(())
    }

    /// Brings a segment's tables to where they can be removed as files. Blocks for as long as it takes
    /// to write a memtable, and to sort rows and short records; bodies are not rewritten.
    pub fn seal(&mut self, segment: Segment) -> Result<(), rocksdb::Error> {
        self.write()?;
        let data = self.families.data(segment.queue());
        self.db.flush_cf(data)?;
        let (begin, end) = segment.range();
        self.db
            .compact_range_cf(data, Some(begin.as_slice()), Some(end.as_slice()));
        Ok(())
    }

    /// The segment of a queue that takes entries.
    fn open_segment(&mut self, queue: Queue) -> Result<Segment, rocksdb::Error> {
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
        match to {
            Some(segment) => {
                self.batch
                    .put_cf(self.families.index, key.as_bytes(), segment.prefix())
            }
            None => self.batch.delete_cf(self.families.index, key.as_bytes()),
        }
        self.pointed.insert(*key, to);
    }

    fn write(&mut self) -> Result<(), rocksdb::Error> {
        for segment in std::mem::take(&mut self.touched) {
            if let Some(totals) = self.table.get(segment) {
                let mut key = SEGMENT_PREFIX.to_vec();
                key.extend(segment.prefix());
                self.batch.put(key, totals.encode());
            }
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let durability = match self.copies {
            true => Durability::None,
            false => self.durability,
        };
        let batch = std::mem::take(&mut self.batch);
        write_patiently(self.db, batch, durability)?;
        self.pointed.clear();
        Ok(())
    }
}

/// Writes a batch, and waits for as long as RocksDB does not take it yet. Blocks.
pub fn write_patiently(
    db: &DB,
    batch: WriteBatch,
    durability: Durability,
) -> Result<(), rocksdb::Error> {
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
    outcome
}

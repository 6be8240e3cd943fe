//! Making room: the oldest segment of a queue goes, and what was used in it is copied first.
//!
//! S3-FIFO over segments. New entries are on probation in a queue that gets a small share of the
//! room. When its oldest segment goes, entries that were used since move to the main queue, and the
//! others are remembered as ghosts: one that comes back goes to the main queue at once. When the oldest
//! segment of the main queue goes, what was used since goes round once more. One long scan therefore
//! passes through the small queue and leaves the main one alone.

use std::sync::atomic::Ordering::Relaxed;

use rocksdb::{DB, IteratorMode, ReadOptions};

use super::Disk;
use super::change::Change;
use super::error::DiskError;
use super::layout::{Families, Kind, Queue, Segment, data_key, kind_prefix, read_data_key};
use super::options::Sizes;
use crate::key::Key;
use crate::metrics::Removal;
use crate::store::row::Row;

/// Share of all bytes that entries on probation may take, in per cent. A tenth is usual; entries here
/// have been through the hot tier before, which is where a second use shows first.
const PROBATION_PERCENT: u64 = 5;
/// Bytes that may be copied for each byte that goes, in the long run, so that there is progress even if
/// everything is used.
const COPIED_PER_REMOVED: u64 = 3;
/// Segments that may be copied whole before that counts.
const COPIED_AT_ONCE: u64 = 8;
/// Of the bound, pinned namespaces get this much at most, in per cent; what is beyond it is evicted like
/// everything else.
const PINNED_PERCENT: u64 = 50;

/// An entry of a segment that is about to go.
struct Candidate {
    key: Key,
    row: Row,
    pinned: bool,
    uses: u8,
}

impl Disk {
    /// Removes the segment that is the next to go, if there is one. Blocks.
    /// `now_ms` decides what has expired.
    pub fn evict(&self, now_ms: u64) -> Result<bool, DiskError> {
        let next = self.next_to_go();
        let Some(segment) = next else {
            return Ok(false);
        };
        self.remove_segment(segment, now_ms)?;
        Ok(true)
    }

    /// Removes the oldest segments of each queue for as long as everything in them has expired. Blocks.
    /// (RocksDB frees the blobs of a newer one only with those of the older.)
    pub fn expire(&self, now_ms: u64) -> Result<(), DiskError> {
        for queue in Queue::ALL {
            while let Some(segment) = self.expired(queue, now_ms) {
                self.remove_segment(segment, now_ms)?;
            }
        }
        Ok(())
    }

    fn expired(&self, queue: Queue, now_ms: u64) -> Option<Segment> {
        let table = self.table.lock();
        let oldest = table.oldest(queue)?;
        let totals = table.get(oldest)?;
        let over = totals.added > 0 && self.is_over(totals.expires_ms, now_ms);
        over.then_some(oldest)
    }

    fn next_to_go(&self) -> Option<Segment> {
        let table = self.table.lock();
        let [probation, main] = Queue::ALL.map(|queue| table.bytes(queue));
        let all = probation.saturating_add(main);
        let on_probation = probation > all / 100 * PROBATION_PERCENT;
        let order = match on_probation {
            true => [Queue::Probation, Queue::Main],
            false => [Queue::Main, Queue::Probation],
        };
        order.into_iter().find_map(|queue| table.oldest(queue))
    }

    fn remove_segment(&self, segment: Segment, now_ms: u64) -> Result<(), DiskError> {
        let Some(db) = self.db() else { return Ok(()) };
        let Some(families) = Families::of(&db) else {
            return Ok(());
        };
        let mut table = self.table.lock().clone();
        let pinned_max = self.sizes.disk_bytes_max / 100 * PINNED_PERCENT;
        let pins_fit = table.pinned_bytes() <= pinned_max;
        let segment_bytes = table.get(segment).map_or(0, |totals| totals.bytes);
        let newest_of_main = table.newest(Queue::Main);
        let mut change = self.change(&db, families, &mut table).of_copies();
        // The newest of its queue may still have entries where they cannot be removed as files.
        change.seal(segment)?;
        if newest_of_main == Some(segment) {
            // What stays must not be copied into what goes.
            change.begin(Queue::Main);
        }
        let (mut live, mut gone) = self.candidates(&db, families, &change, segment, now_ms)?;
        // Pinned ones first, then those that were used most.
        live.sort_by_key(|c| std::cmp::Reverse((c.pinned && pins_fit, c.uses)));
        let mut copied = 0;
        let may_copy = self.may_copy.load(Relaxed);
        for candidate in live {
            let bytes = u64::from(candidate.row.bytes);
            let used = candidate.uses > 0 && copied + bytes <= may_copy;
            let kept = used || (candidate.pinned && pins_fit);
            if !kept || !self.copy(&db, families, &mut change, segment, &candidate)? {
                gone.push((candidate, Removal::Evicted));
                continue;
            }
            copied += bytes;
            let uses = match segment.queue() {
                Queue::Probation => 0,
                Queue::Main => candidate.uses.saturating_sub(1),
            };
            self.uses.set(&candidate.key, uses);
        }
        let mut ghosts = self.ghosts.lock();
        for (candidate, why) in &gone {
            change.unlink(&candidate.key)?;
            change.write_if_large()?;
            if *why == Removal::Evicted && segment.queue() == Queue::Probation {
                ghosts.insert(&candidate.key);
            }
            self.uses.set(&candidate.key, 0);
        }
        if segment.queue() == Queue::Probation {
            ghosts.segment_gone();
        }
        drop(ghosts);
        change.forget(segment);
        change.commit()?;
        self.adopt(table);
        let removed = segment_bytes.saturating_sub(copied);
        let may_copy = may_copy.saturating_sub(copied) + removed * COPIED_PER_REMOVED;
        self.may_copy
            .store(may_copy.min(copied_at_once(&self.sizes)), Relaxed);
        for (_, why) in gone {
            self.metrics.store_removed(why).inc();
        }
        Ok(())
    }

    /// The entries of a segment that the index points to, and those of them that are over.
    #[expect(clippy::type_complexity)]
    fn candidates(
        &self,
        db: &DB,
        families: Families<'_>,
        change: &Change<'_>,
        segment: Segment,
        now_ms: u64,
    ) -> Result<(Vec<Candidate>, Vec<(Candidate, Removal)>), DiskError> {
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for item in rows_of(db, families, segment) {
            let (key, value) = match item {
                Ok(item) => item,
                Err(error) => {
                    // The rest of it goes unseen: what the index points to is then not there.
                    self.unreadable(&error);
                    break;
                }
            };
            let Some((_, _, key)) = read_data_key(&key) else {
                continue;
            };
            if change.segment_of(&key)? != Some(segment) {
                continue;
            }
            let Ok(row) = Row::decode(&value) else {
                // Nothing is known of it, and nothing lost but an answer.
                self.metrics.store_corrupt_records.inc();
                gone.push((Candidate::unknown(key), Removal::Damaged));
                continue;
            };
            let candidate = Candidate {
                pinned: self.is_pinned(&row.about),
                uses: self.uses.of(&key),
                key,
                row,
            };
            let Row {
                about,
                stored_ms,
                generation,
                expires_ms,
                ..
            } = &candidate.row;
            if self.purges.cover(&key, about, *stored_ms, *generation) {
                gone.push((candidate, Removal::Purged));
            } else if self.is_over(*expires_ms, now_ms) {
                gone.push((candidate, Removal::Expired));
            } else {
                live.push(candidate);
            }
        }
        Ok((live, gone))
    }

    /// Copies an entry to the main queue; false if it cannot be read.
    fn copy(
        &self,
        db: &DB,
        families: Families<'_>,
        change: &mut Change<'_>,
        segment: Segment,
        candidate: &Candidate,
    ) -> Result<bool, DiskError> {
        let key = &candidate.key;
        let mut options = ReadOptions::default();
        // It leaves where it is, and need not push anything out of memory.
        options.fill_cache(false);
        let data = families.data(segment.queue());
        let record = db.get_pinned_cf_opt(data, data_key(segment, Kind::Record, key), &options);
        match record {
            Ok(Some(record)) => {
                change.append(Queue::Main, key, &candidate.row, &record, candidate.pinned)?;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                self.metrics.store_read_errors.inc();
                log::debug!("an entry cannot be read and is evicted: {error} key={key}");
                Ok(false)
            }
        }
    }

    /// Counts rows that cannot be read.
    pub(super) fn unreadable(&self, error: &rocksdb::Error) {
        self.metrics.store_read_errors.inc();
        log::warn!("a part of a segment cannot be read, and goes with it: {error}");
    }

    /// Whether an entry is of no use any more, not even as a stale one.
    fn is_over(&self, expires_ms: u64, now_ms: u64) -> bool {
        expires_ms.saturating_add(self.stale_max_ms) < now_ms
    }
}

/// Bytes that may be copied before anything has been removed.
pub fn copied_at_once(sizes: &Sizes) -> u64 {
    sizes.segment_bytes * COPIED_AT_ONCE
}

impl Candidate {
    fn unknown(key: Key) -> Candidate {
        let row = Row {
            stored_ms: 0,
            expires_ms: 0,
            generation: 0,
            bytes: 0,
            about: Default::default(),
        };
        Candidate {
            key,
            row,
            pinned: false,
            uses: 0,
        }
    }
}

/// The rows of a segment: keys and values.
#[expect(clippy::type_complexity)]
pub fn rows_of<'a>(
    db: &'a DB,
    families: Families<'a>,
    segment: Segment,
) -> impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>> + 'a {
    let prefix = kind_prefix(segment, Kind::Row);
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_lower_bound(prefix);
    options.set_iterate_upper_bound(kind_prefix(segment, Kind::Record));
    db.iterator_cf_opt(families.data(segment.queue()), options, IteratorMode::Start)
}

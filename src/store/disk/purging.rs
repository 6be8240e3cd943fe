//! Purges on disk: remembered at once, carried out in the writer's own time.

use std::sync::atomic::Ordering::Relaxed;

use rocksdb::{DB, WriteBatch};

use super::Disk;
use super::change::{flush_all, write_patiently};
use super::error::DiskError;
use super::evict::rows_of;
use super::layout::{
    FILLS_FROM_KEY, FLEET_KEY, FLOOR_DONE_KEY, FLOOR_KEY, Families, GENERATION_KEY, PURGE_PREFIX,
    Queue, Segment, UNTOLD_KEY, read_data_key,
};
use super::table::Table;
use crate::config::Durability;
use crate::metrics::Removal;
use crate::store::purge::{Covers, Purge, Purges};
use crate::store::record::Reader;
use crate::store::row::Row;
use crate::store::shared::Place;

/// The segments that a pass over all rows has still to visit.
pub struct Pass {
    /// Purges up to this one are carried out once it is through.
    up_to: u64,
    left: Vec<Segment>,
}

impl Disk {
    /// Makes sure that the purges so far outlive the process and the machine. Blocks. False if the
    /// database is not open, and nothing was written.
    pub fn remember_purges(&self) -> Result<bool, DiskError> {
        // Until it is done; the writer tries again otherwise.
        self.unwritten_purges.store(true, Relaxed);
        let Some(db) = self.db() else {
            return Ok(false);
        };
        let mut batch = WriteBatch::default();
        // Purges may come from several threads: the one that is here last writes what all added.
        let _one_at_a_time = self.remembering.lock();
        self.unwritten_purges.store(false, Relaxed);
        let snapshot = self.purges.snapshot();
        for item in db.prefix_iterator(PURGE_PREFIX) {
            let (key, _) = item?;
            let generation = key.strip_prefix(PURGE_PREFIX).map(<[u8; 8]>::try_from);
            let Some(Ok(generation)) = generation else {
                break;
            };
            if !snapshot.log.contains_key(&u64::from_be_bytes(generation)) {
                batch.delete(key);
            }
        }
        for (generation, purge) in &snapshot.log {
            let mut value = vec![u8::from(purge.carried_out)];
            value.extend(purge.covers.encode());
            batch.put(purge_key(*generation), value);
        }
        batch.put(GENERATION_KEY, snapshot.generation.to_be_bytes());
        batch.put(FLOOR_KEY, snapshot.floor.to_be_bytes());
        batch.put(FILLS_FROM_KEY, snapshot.fills_from.to_be_bytes());
        let written = write_patiently(&db, batch, Durability::Power);
        if written.is_err() {
            self.unwritten_purges.store(true, Relaxed);
        }
        self.logged_purges.store(true, Relaxed);
        written.map(|()| true)
    }

    /// Writes down purges that could not be written when they came, and brings those that are in the
    /// log into a table: of a log that is damaged nothing behind the damage is believed. Blocks.
    pub fn settle_purges(&self) -> Result<(), DiskError> {
        if self.unwritten_purges.load(Relaxed) {
            self.remember_purges()?;
        }
        if self.logged_purges.swap(false, Relaxed)
            && let Some(db) = self.db()
            && let Some(families) = Families::of(&db)
        {
            match self.durability {
                // Totals must not get ahead of what they count.
                Durability::None => flush_all(&db, families)?,
                _ => db.flush_cf(families.bookkeeping)?,
            }
        }
        Ok(())
    }

    /// Removes everything if there was a purge of everything. Blocks for as long as it takes to
    /// remove the files. True if there was something to do.
    pub fn carry_out_purge_of_all(&self) -> Result<bool, DiskError> {
        let Some(db) = self.db() else {
            return Ok(false);
        };
        let floor = self.purges.floor();
        if self.floor_done.load(Relaxed) == floor {
            return Ok(false);
        }
        let Some(families) = Families::of(&db) else {
            return Ok(false);
        };
        let mut table = self.table.lock().clone();
        let removed = table.live();
        let segments: Vec<Segment> = table.iter().map(|(segment, _)| segment).collect();
        let mut next = Table::default();
        for queue in Queue::ALL {
            // What comes now must not have the number of a segment whose files are about to go.
            if let Some(newest) = table.newest(queue) {
                next.begin_above(newest, queue);
            }
        }
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(families.index, [0; 32].as_slice(), [0xff; 33].as_slice());
        // Also if the purge itself has not been written down yet.
        batch.put(FLOOR_KEY, floor.to_be_bytes());
        batch.put(GENERATION_KEY, self.purges.generation().to_be_bytes());
        write_patiently(&db, batch, Durability::Process)?;
        let mut change = self.change(&db, families, &mut table);
        for segment in segments {
            change.seal(segment)?;
            change.forget(segment);
        }
        change.commit()?;
        self.adopt(next);
        // Only now: broken off before, it is done once more.
        let mut batch = WriteBatch::default();
        batch.put(FLOOR_DONE_KEY, floor.to_be_bytes());
        write_patiently(&db, batch, Durability::Process)?;
        self.floor_done.store(floor, Relaxed);
        // The tombstone over everything would be asked at each look-up.
        db.flush_cf(families.index)?;
        db.compact_range_cf(families.index, None::<&[u8]>, None::<&[u8]>);
        self.metrics.store_removed(Removal::Purged).inc_by(removed);
        Ok(true)
    }

    /// Begins a pass over all rows if there are purges to carry out.
    pub fn begin_pass(&self) -> Option<Pass> {
        let up_to = self.purges.unfinished()?;
        let left = self
            .table
            .lock()
            .iter()
            .map(|(segment, _)| segment)
            .collect();
        Some(Pass { up_to, left })
    }

    /// Takes what is purged out of the index, in one segment. Blocks. True once the pass is through.
    pub fn go_on(&self, pass: &mut Pass) -> Result<bool, DiskError> {
        if let Some(segment) = pass.left.pop() {
            self.purge_segment(segment)?;
            return Ok(false);
        }
        if self.durability == Durability::None
            && let Some(db) = self.db()
            && let Some(families) = Families::of(&db)
        {
            // What was taken out of the index must be out of it for good.
            flush_all(&db, families)?;
        }
        self.purges.finished(pass.up_to);
        self.remember_purges()?;
        Ok(true)
    }

    fn purge_segment(&self, segment: Segment) -> Result<(), DiskError> {
        let Some(db) = self.db() else { return Ok(()) };
        let Some(families) = Families::of(&db) else {
            return Ok(());
        };
        let mut table = self.table.lock().clone();
        let mut change = self.change(&db, families, &mut table);
        let mut removed = 0;
        for item in rows_of(&db, families, segment) {
            let (key, value) = match item {
                Ok(item) => item,
                Err(error) => {
                    // What cannot be looked at may be covered, and goes.
                    self.unreadable(&error);
                    change.seal(segment)?;
                    change.forget(segment);
                    break;
                }
            };
            let Some((_, _, key)) = read_data_key(&key) else {
                continue;
            };
            // What nothing is known of may be covered.
            let covered = Row::decode(&value).map_or(true, |row| {
                let Row {
                    about,
                    stored_ms,
                    generation,
                    ..
                } = &row;
                self.purges.cover(&key, about, *stored_ms, *generation)
            });
            if covered && change.segment_of(&key)? == Some(segment) {
                change.unlink(&key)?;
                change.write_if_large()?;
                removed += 1;
            }
        }
        change.commit()?;
        self.adopt(table);
        self.metrics.store_removed(Removal::Purged).inc_by(removed);
        Ok(())
    }
}

impl Disk {
    /// Where this replica left off in the fleet's log of purges. Blocks.
    pub fn fleet_position(&self) -> Option<Place> {
        let db = self.db()?;
        let value = db.get_pinned(FLEET_KEY).ok()??;
        let mut value = Reader(&value);
        Some(Place {
            log_id: value.u32().ok()?,
            number: value.u64().ok()?,
            digest: value.u64().ok()?,
        })
    }

    /// Remembers it. Blocks. Not before the purges up to there are written down: a purge that is carried
    /// out twice does no harm, one that is skipped does. False if it is not written down now.
    pub fn set_fleet_position(&self, place: &Place) -> Result<bool, DiskError> {
        if self.unwritten_purges.load(Relaxed) {
            return Ok(false);
        }
        let mut value = place.log_id.to_le_bytes().to_vec();
        value.extend(place.number.to_le_bytes());
        value.extend(place.digest.to_le_bytes());
        self.remember(FLEET_KEY, value)
    }

    /// Purges that the fleet has not been told of before the last end. Blocks.
    pub fn untold(&self) -> Vec<Covers> {
        let value = self.db().and_then(|db| db.get(UNTOLD_KEY).ok()?);
        let value = value.unwrap_or_default();
        let mut rest = Reader(&value);
        let mut untold = Vec::new();
        while let Ok(length) = rest.u32()
            && let Ok(covers) = rest.take(length as usize)
        {
            // What is not understood covers everything.
            untold.push(Covers::decode(covers).unwrap_or(Covers::All));
        }
        untold
    }

    /// Remembers them, as they are once it is this call's turn. Blocks. False if they are not written down.
    pub fn remember_untold(&self, untold: impl Fn() -> Vec<Covers>) -> Result<bool, DiskError> {
        // Who is last writes what there is then.
        let _one_at_a_time = self.remembering_untold.lock();
        let mut value = Vec::new();
        for covers in untold() {
            let covers = covers.encode();
            value.extend(
                u32::try_from(covers.len())
                    .unwrap_or(u32::MAX)
                    .to_le_bytes(),
            );
            value.extend(covers);
        }
        self.remember(UNTOLD_KEY, value)
    }

    fn remember(&self, key: &[u8], value: Vec<u8>) -> Result<bool, DiskError> {
        let Some(db) = self.db() else {
            return Ok(false);
        };
        let mut batch = WriteBatch::default();
        batch.put(key, value);
        write_patiently(&db, batch, Durability::Power)?;
        self.logged_purges.store(true, Relaxed);
        Ok(true)
    }
}

/// What the database remembers of purges.
pub fn restore(db: &DB) -> Result<Purges, rocksdb::Error> {
    let mut log = std::collections::BTreeMap::new();
    for item in db.prefix_iterator(PURGE_PREFIX) {
        let (key, value) = item?;
        let generation = key.strip_prefix(PURGE_PREFIX).map(<[u8; 8]>::try_from);
        let Some(Ok(generation)) = generation else {
            break;
        };
        let Some((carried_out, covers)) = value.split_first() else {
            continue;
        };
        if let Some(covers) = Covers::decode(covers) {
            let carried_out = *carried_out != 0;
            let purge = Purge {
                covers,
                carried_out,
            };
            log.insert(u64::from_be_bytes(generation), purge);
        }
    }
    // Entries and purges are written by two threads: the number may be behind what is there.
    let floor = number(db, FLOOR_KEY)?;
    let newest = log.last_key_value().map_or(0, |(newest, _)| *newest);
    Ok(Purges::restored(
        number(db, GENERATION_KEY)?.max(newest).max(floor),
        floor,
        number(db, FILLS_FROM_KEY)?,
        log,
    ))
}

/// A number of eight bytes in the default column family; 0 if it is not there.
pub fn number(db: &DB, key: &[u8]) -> Result<u64, rocksdb::Error> {
    let value = db.get_pinned(key)?;
    let bytes = value.and_then(|value| <[u8; 8]>::try_from(&*value).ok());
    Ok(bytes.map_or(0, u64::from_be_bytes))
}

fn purge_key(generation: u64) -> Vec<u8> {
    let mut key = PURGE_PREFIX.to_vec();
    key.extend(generation.to_be_bytes());
    key
}

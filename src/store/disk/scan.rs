//! Reading what there is without bodies: for listing and counting, beside the server's work.

use std::ops::ControlFlow;
use std::path::Path;

use std::sync::atomic::Ordering::Relaxed;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, ReadOptions};

use super::Disk;
use super::evict::rows_of;
use super::layout::{Families, Kind, Segment, data_key, read_data_key};
use super::table::Table;
use crate::key::Key;
use crate::store::StoreError;
use crate::store::purge::Purges;
use crate::store::row::Row;

/// An entry as it lies on disk, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its key.
    pub key: Key,
    /// What is known of it.
    pub row: Row,
}

/// Why the database wrote no copy of itself.
#[derive(Debug)]
pub enum NotCopied {
    /// It is not open.
    Closed,
    /// What it says.
    Failed(rocksdb::Error),
}

impl Disk {
    /// Whether there is a database to ask: not once it is closed, nor while it is opened anew.
    pub fn is_open(&self) -> bool {
        self.db.read().is_some()
    }

    /// Visits the entries that count, newest segments first, until the visitor breaks off. Blocks.
    pub fn scan(&self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), StoreError> {
        let db = self.db().ok_or(StoreError::Closed)?;
        let table = self.table.lock().clone();
        let mut closed = false;
        // Who closes the database waits for those who read it.
        let mut visit = |found| {
            closed = !self.is_open();
            match closed {
                true => ControlFlow::Break(()),
                false => visit(found),
            }
        };
        rows(&db, &table, &self.purges, &mut visit).map_err(|e| self.unusable(&e))?;
        match closed {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }

    /// Writes a copy of the database into a directory that is not there yet. Blocks.
    pub fn checkpoint(&self, to: &Path) -> Result<(), NotCopied> {
        let db = self.db().ok_or(NotCopied::Closed)?;
        self.copying.fetch_add(1, Relaxed);
        let written = Checkpoint::new(&db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(to))
            .map_err(NotCopied::Failed);
        self.copying.fetch_sub(1, Relaxed);
        written
    }

    fn unusable(&self, error: &rocksdb::Error) -> StoreError {
        StoreError::Open {
            path: self.path.clone(),
            message: error.to_string(),
        }
    }
}

/// Visits the entries that count, newest segments first, until the visitor breaks off. Blocks for as
/// long as it takes to read all rows: about a second per million.
pub fn rows(
    db: &DB,
    table: &Table,
    purges: &Purges,
    visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<(), rocksdb::Error> {
    let Some(families) = Families::of(db) else {
        return Ok(());
    };
    let mut segments: Vec<Segment> = table.iter().map(|(segment, _)| segment).collect();
    segments.reverse();
    for segment in segments {
        // Rows and index have the order of their digests: the look-ups go forwards through the index,
        // and what they read is of no use to others.
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut index = db.raw_iterator_cf_opt(families.index, options);
        for item in rows_of(db, families, segment) {
            let (key, value) = item?;
            let (Some((_, _, key)), Ok(row)) = (read_data_key(&key), Row::decode(&value)) else {
                continue;
            };
            index.seek(key.as_bytes());
            let place = index.item().filter(|(at, _)| *at == key.as_bytes());
            if place.and_then(|(_, place)| Segment::decode(place)) != Some(segment) {
                index.status()?;
                continue;
            }
            if purges.cover(&key, &row.about, row.stored_ms, row.generation) {
                continue;
            }
            if visit(Found { key, row }).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The encoded record of a key. Blocks.
pub fn record(db: &DB, key: &Key) -> Result<Option<Vec<u8>>, rocksdb::Error> {
    let Some(families) = Families::of(db) else {
        return Ok(None);
    };
    let place = db.get_pinned_cf(families.index, key.as_bytes())?;
    let Some(segment) = place.and_then(|place| Segment::decode(&place)) else {
        return Ok(None);
    };
    let data = families.data(segment.queue());
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    db.get_cf_opt(data, data_key(segment, Kind::Record, key), &options)
}

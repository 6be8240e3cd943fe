//! What operators do with a store: look, purge, copy.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::disk::layout;
use super::disk::scan::{self, Found};
use super::purge::{Covers, TooMany};
use super::record::Record;
use super::{Store, StoreError, disk};
use crate::key::Key;

pub use layout::Row;
pub use scan::Found as Entry;

/// What became of a purge.
#[derive(Debug, Error)]
pub enum PurgeError {
    /// Too many at once.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// It holds for this process; a restart would forget it.
    #[error(
        "the purge holds now but could not be written down, and a restart would forget it: {0}"
    )]
    NotWritten(String),
}

impl Store {
    /// Purges: nothing that is covered is served or stored from here on. Blocks until that outlives a
    /// restart; what is covered leaves the disk later. Returns the purge's generation.
    pub fn purge(self: &Arc<Store>, covers: Covers) -> Result<u64, PurgeError> {
        let generation = self.purge_in_memory(covers)?;
        self.disk
            .remember_purges()
            .map_err(|e| PurgeError::NotWritten(e.to_string()))?;
        Ok(generation)
    }

    fn purge_in_memory(&self, covers: Covers) -> Result<u64, TooMany> {
        let generation = self.disk.purges().add(covers.clone())?;
        self.hot.purge(&covers, generation);
        Ok(generation)
    }

    /// What a purge of one key has to cover: also the other forms of the same answer. Blocks.
    pub fn answer_of(&self, key: Key) -> Covers {
        let question = self.inspect(&key).map(|record| record.about.question);
        Covers::Answer { key, question }
    }

    /// One entry, without counting it as used. Blocks.
    pub fn inspect(&self, key: &Key) -> Option<Arc<Record>> {
        if let Some(record) = self.get_hot(key) {
            return Some(record);
        }
        let bytes = self.disk.read(key).ok().flatten()?;
        let record = Record::decode_for(key, &bytes).ok()?;
        (!self.disk.purges().cover_record(&record)).then(|| Arc::new(record))
    }

    /// Visits the entries on disk, newest segments first, without their bodies. Blocks for long.
    pub fn scan(&self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.disk.scan(visit)
    }

    /// Writes a copy of the database into a directory that is not there yet. Blocks. Files are linked
    /// where that is possible, and share their blocks until they leave the store.
    pub fn checkpoint(&self, to: &Path) -> Result<(), StoreError> {
        self.disk.checkpoint(to)
    }
}

/// A store that is looked at without a server, or beside one.
pub struct Offline {
    db: rocksdb::DB,
    table: disk::Table,
    purges: super::purge::Purges,
}

impl Offline {
    /// Opens the database in a directory for reading only.
    pub fn open(path: &Path) -> Result<Offline, StoreError> {
        let (db, table, purges) = disk::read_only(path)?;
        Ok(Offline { db, table, purges })
    }

    /// Visits the entries, newest segments first, without their bodies.
    pub fn scan(
        &self,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), rocksdb::Error> {
        scan::rows(&self.db, &self.table, &self.purges, visit)
    }

    /// One entry; `None` if it is not there, is purged, or cannot be read.
    pub fn inspect(&self, key: &Key) -> Result<Option<Record>, rocksdb::Error> {
        let bytes = scan::record(&self.db, key)?;
        let record = bytes.and_then(|bytes| Record::decode_for(key, &bytes).ok());
        Ok(record.filter(|record| !self.purges.cover_record(record)))
    }
}

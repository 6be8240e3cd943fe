//! What operators do with a store: look, purge, copy.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::sleep;

use super::disk::DiskError;
use super::disk::scan::{self, Found};
use super::purge::{Covers, TooMany};
use super::record::Record;
use super::shared::Place;
use super::shared::client::trouble::Trouble;
use super::{Store, StoreError, aside, disk};
use crate::key::Key;

mod checkpoint;
mod restore;

pub use super::row::Row;
pub use checkpoint::CheckpointError;
pub use restore::{RestoreError, Restored, restore};
pub use scan::Found as Entry;

/// Why an entry cannot be read.
pub type ReadError = rocksdb::Error;

/// A server that runs beside adds and removes files at any moment; a look that met one of them begins anew,
/// for so long.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(10);
/// How often the shared tier is asked for what a purge of a key has to cover, and how long after the last time.
const LOOKS_MAX: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What fails so often while nothing changes is not due to a server that runs beside.
const FAILURES_MAX: usize = 5;

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
    /// What it has to cover is not known.
    #[error(
        "nothing is purged: the entry of the key cannot be read, and it says what else answers the \
         same question: {0}"
    )]
    NotLookedUp(String),
}

impl Store {
    /// Purges: nothing that is covered is served or stored from here on. Blocks until that outlives a
    /// restart; what is covered leaves the disk later. Returns the purge's generation.
    pub fn purge(&self, covers: Covers) -> Result<u64, PurgeError> {
        let generation = self.purge_now(covers)?;
        match self.disk.remember_purges() {
            Ok(true) => Ok(generation),
            // Nothing else outlives a restart either; the fleet remembers it.
            Ok(false) if self.writer.is_none() => Ok(generation),
            Ok(false) => Err(PurgeError::NotWritten("the store is not open".into())),
            Err(e) => Err(PurgeError::NotWritten(e.to_string())),
        }
    }

    /// The same until a restart, or until it is written down. Waits for no disk; a million entries in memory
    /// take it a while.
    pub fn purge_now(&self, covers: Covers) -> Result<u64, TooMany> {
        let generation = self.disk.purges().add(covers.clone())?;
        // Look-ups see by an entry's number that everything is purged: that one need not wait for a
        // million entries to be dropped.
        if covers != Covers::All {
            self.hot.purge(&covers, generation);
        }
        if self.writer.is_none() {
            // All that it covers is gone.
            self.disk.purges().finished(generation);
        }
        Ok(generation)
    }

    /// The same in all replicas that share a tier with this one, as soon as they can be told.
    pub fn purge_everywhere(&self, covers: Covers) -> Result<u64, PurgeError> {
        let _under_way = (self.shared.as_ref()).map(|shared| shared.under_way(&covers));
        let purged = self.purge(covers.clone());
        // One that could not be written down holds as well.
        if let (Some(shared), Ok(_) | Err(PurgeError::NotWritten(_))) = (&self.shared, &purged) {
            // Nobody takes it for an answer any more; here its bytes go as well.
            if let (Covers::Answer { key, .. }, Some(objects)) = (&covers, shared.objects()) {
                objects.forget(key);
            }
            shared.tell(covers);
            // Before anyone is told that it holds.
            self.remember_untold();
        }
        purged
    }

    /// Whether the fleet has been told of all purges; waits for it for a while. `None` without a shared
    /// tier. Blocks.
    pub fn fleet_is_told(&self, within: Duration) -> Option<bool> {
        let shared = self.shared.as_ref()?;
        let deadline = Instant::now() + within;
        // Other purges wait for this one's answer.
        while shared.has_untold() && shared.is_connected() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Some(!shared.has_untold())
    }

    /// Where this replica left off in the fleet's log of purges. Blocks.
    pub fn fleet_position(&self) -> Option<Place> {
        self.disk.fleet_position()
    }

    /// Writes down all purges so far, how far those of the fleet are carried out, and which of this replica's
    /// it has not been told of. Blocks. False if it could not be written down.
    pub fn write_down(&self) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| self.writer.is_some()) else {
            return true;
        };
        // What comes meanwhile is not up to there.
        let place = shared.place();
        let write = || {
            Ok(self.disk.remember_purges()?
                && place.map_or(Ok(true), |place| self.disk.set_fleet_position(&place))?)
        };
        self.written(write()) && self.remember_untold()
    }

    /// Purges that the fleet had not been told of at the last end. Blocks.
    pub fn untold(&self) -> Vec<Covers> {
        self.disk.untold()
    }

    /// Remembers those that it has not been told of now. Blocks. False if they could not be written down.
    fn remember_untold(&self) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| self.writer.is_some()) else {
            return true;
        };
        self.written(self.disk.remember_untold(|| shared.untold()))
    }

    fn written(&self, outcome: Result<bool, DiskError>) -> bool {
        outcome.unwrap_or_else(|e| {
            log::warn!("what is known of the fleet's purges is not written down: {e}");
            false
        })
    }

    /// Whether there is nothing on disk.
    pub fn is_empty(&self) -> bool {
        self.disk.entries() == 0
    }

    /// Gives back the memory of what a purge of everything covers. Blocks.
    pub fn drop_purged(&self) {
        let floor = self.disk.purges().floor();
        self.hot.purge(&Covers::All, floor);
    }

    /// Which question an answer is to ([`About::question`](super::about::About)) that other replicas have,
    /// perhaps. Takes some deadlines of the shared tier and one of the bucket at most.
    pub async fn question_elsewhere(&self, key: &Key) -> Result<Option<[u8; 8]>, Trouble> {
        let Some(shared) = &self.shared else {
            return Ok(None);
        };
        let mut found = shared.look(key).await;
        for _ in 1..LOOKS_MAX {
            if found.is_ok() {
                break;
            }
            sleep(LOOK_AGAIN).await;
            found = shared.look(key).await;
        }
        let found = match (found?, self.until_cold()) {
            (None, Some(until)) => shared.look_cold(key, until).await?,
            (found, _) => found,
        };
        Ok(found.map(|record| record.about.question))
    }

    /// What a purge of one key has to cover: also the other forms of the same answer. `elsewhere`: the question,
    /// as the shared tier has it; what is here counts more. Blocks.
    pub fn answer_of(
        &self,
        key: Key,
        elsewhere: Result<Option<[u8; 8]>, Trouble>,
    ) -> Result<Covers, PurgeError> {
        let unknown = |e: &dyn std::fmt::Display| PurgeError::NotLookedUp(e.to_string());
        let found = self.inspect(&key).map_err(|e| unknown(&e))?;
        if found.is_none() && self.writer.is_some() && !self.disk.is_open() {
            return Err(unknown(&StoreError::Closed));
        }
        let question = match found {
            Some(record) => Some(record.about.question),
            None => elsewhere.map_err(|why| {
                unknown(&format!(
                    "it is not here, and of the shared tier and the bucket: {why}. Ask a replica that has it, \
                     or again, or purge by model, namespace, tenant or age"
                ))
            })?,
        };
        Ok(Covers::Answer { key, question })
    }

    /// One entry, as a look-up would find it, without counting it as used. Blocks.
    pub fn inspect(&self, key: &Key) -> Result<Option<Arc<Record>>, ReadError> {
        if let Some(record) = self.get_hot(key) {
            return Ok(Some(record));
        }
        if self.is_superseded(key) || self.pending(key).is_some() {
            return Ok(None);
        }
        let bytes = self.disk.read(key)?;
        let record = bytes.and_then(|bytes| Record::decode_for(key, &bytes).ok());
        let gone =
            |record: &Record| self.distrusts(record) || self.disk.purges().cover_record(record);
        Ok(record.filter(|record| !gone(record)).map(Arc::new))
    }

    /// Visits the entries on disk, newest segments first, without their bodies. Blocks for long; ends
    /// with an error if the store is closed meanwhile.
    pub fn scan(&self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), StoreError> {
        match self.writer {
            Some(_) => self.disk.scan(visit),
            None => Ok(()),
        }
    }

    /// Removes what a restore that was broken off has left, which counts towards the bound. Blocks.
    pub fn remove_leftovers(&self) {
        if self.writer.is_none() {
            return;
        }
        // The lock is this server's: no restore is under way.
        match restore::remove_leftovers(self.disk.path()) {
            Ok(false) => {}
            Ok(true) => {
                log::info!("what a restore has left in the store's directory is removed");
                self.disk.look_at_files();
            }
            Err(e) => log::warn!("what a restore has left in the store's directory stays: {e}"),
        }
    }
}

/// Why there was no look.
#[derive(Debug, Error)]
pub enum LookError {
    /// It does not open.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// It opened, and could not be read.
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
}

/// A store that is looked at without a server, or beside one.
pub struct Offline {
    db: rocksdb::DB,
    table: disk::Table,
    purges: super::purge::Purges,
}

impl Offline {
    /// Opens the database in a directory and looks. A look that fails, because a server that runs beside
    /// has removed a file under it, begins anew.
    pub fn look<T>(
        path: &Path,
        look: impl Fn(&Offline) -> Result<T, ReadError>,
    ) -> Result<T, LookError> {
        let mut failures = 0;
        loop {
            match look(&Offline::open(path)?) {
                Err(_) if failures < FAILURES_MAX => failures += 1,
                looked => return Ok(looked?),
            }
        }
    }

    /// Opens the database in a directory for reading only: nothing there is changed.
    pub fn open(path: &Path) -> Result<Offline, StoreError> {
        // The whole path says which working directory counts.
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let refused = |message: &str| StoreError::Open {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        if aside::is_half_restored(path) {
            return Err(refused(aside::HALF_RESTORED));
        }
        if !path.join("CURRENT").exists() {
            return Err(refused("there is none"));
        }
        let (began, mut failures) = (Instant::now(), 0);
        loop {
            // RocksDB reads the list of files first and the log of writes last. If a file came between,
            // what the log points to may lie in one that is not in the list.
            let before = moment(path);
            let opened = Offline::open_as_it_is(path);
            let is_one_moment = before == moment(path);
            match opened {
                Ok(opened) if is_one_moment => return Ok(opened),
                Err(_) if is_one_moment && failures < FAILURES_MAX => failures += 1,
                Err(error) if is_one_moment => return Err(error),
                _ if began.elapsed() < LOOK_AGAIN_MAX => {}
                Ok(_) => {
                    return Err(refused(
                        "a server changes it faster than it can be read; ask the server, without \
                         --offline",
                    ));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn open_as_it_is(path: &Path) -> Result<Offline, StoreError> {
        let (db, table, purges) = disk::read_only(path)?;
        Ok(Offline { db, table, purges })
    }

    /// Number of entries, as the database counts them.
    pub fn entries(&self) -> u64 {
        self.table.live()
    }

    /// Visits the entries, newest segments first, without their bodies.
    pub fn scan(&self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), ReadError> {
        scan::rows(&self.db, &self.table, &self.purges, visit)
    }

    /// One entry; `None` if it is not there, is purged, or cannot be read.
    pub fn inspect(&self, key: &Key) -> Result<Option<Record>, ReadError> {
        let bytes = scan::record(&self.db, key)?;
        let record = bytes.and_then(|bytes| Record::decode_for(key, &bytes).ok());
        Ok(record.filter(|record| !self.purges.cover_record(record)))
    }
}

/// Which list of files counts, and how long it is: it grows whenever files come or go.
fn moment(path: &Path) -> Option<(String, u64)> {
    let current = std::fs::read_to_string(path.join("CURRENT")).ok()?;
    let list = std::fs::metadata(path.join(current.trim())).ok()?;
    Some((current, list.len()))
}

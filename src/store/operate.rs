//! What operators do with a store: look, purge, copy.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::disk::scan::{self, Found};
use super::purge::{Covers, TooMany};
use super::record::Record;
use super::{Store, StoreError, disk};
use crate::key::Key;

mod restore;

pub use super::row::Row;
pub use restore::{RestoreError, Restored, restore};
pub use scan::Found as Entry;

/// A server that runs beside removes files at any moment; a look that met one going begins anew.
const OFFLINE_ATTEMPTS: usize = 5;

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

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The directory asked for is not one to write a copy to.
    #[error("{0}")]
    Directory(String),
    /// The database did not write it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system did not.
    #[error("cannot write the copy: {0}")]
    Io(#[from] std::io::Error),
}

impl Store {
    /// Purges: nothing that is covered is served or stored from here on. Blocks until that outlives a
    /// restart; what is covered leaves the disk later. Returns the purge's generation.
    pub fn purge(&self, covers: Covers) -> Result<u64, PurgeError> {
        let generation = self.disk.purges().add(covers.clone())?;
        // Look-ups see by an entry's number that everything is purged: that one need not wait for a
        // million entries to be dropped.
        if covers != Covers::All {
            self.hot.purge(&covers, generation);
        }
        match self.disk.remember_purges() {
            Ok(true) => Ok(generation),
            Ok(false) => Err(PurgeError::NotWritten("the store is not open".into())),
            Err(e) => Err(PurgeError::NotWritten(e.to_string())),
        }
    }

    /// Gives back the memory of what a purge of everything covers. Blocks.
    pub fn drop_purged(&self) {
        let floor = self.disk.purges().floor();
        self.hot.purge(&Covers::All, floor);
    }

    /// What a purge of one key has to cover: also the other forms of the same answer. Blocks.
    pub fn answer_of(&self, key: Key) -> Covers {
        let found = self.inspect(&key).ok().flatten();
        let question = found.map(|record| record.about.question);
        Covers::Answer { key, question }
    }

    /// One entry, as a look-up would find it, without counting it as used. Blocks.
    pub fn inspect(&self, key: &Key) -> Result<Option<Arc<Record>>, rocksdb::Error> {
        if let Some(record) = self.get_hot(key) {
            return Ok(Some(record));
        }
        if self.writer.is_superseded(key) || self.writer.pending(key).is_some() {
            return Ok(None);
        }
        let bytes = self.disk.read(key)?;
        let record = bytes.and_then(|bytes| Record::decode_for(key, &bytes).ok());
        let gone = |record: &Record| {
            self.disk.distrusts(record) || self.disk.purges().cover_record(record)
        };
        Ok(record.filter(|record| !gone(record)).map(Arc::new))
    }

    /// Visits the entries on disk, newest segments first, without their bodies. Blocks for long; ends
    /// with an error if the store is closed meanwhile.
    pub fn scan(&self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.disk.scan(visit)
    }

    /// Writes a copy of the database into a directory that is not there yet, open to this user only.
    /// Blocks. Files are linked where that is possible, and share their blocks until they leave the
    /// store.
    pub fn checkpoint(&self, to: &Path) -> Result<(), CheckpointError> {
        let parent = checked_parent(to, self.disk.path())?;
        // Under another name first: what has this one is whole.
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let made = DirBuilder::new().mode(0o700).create(&partial);
        made.map_err(|e| {
            let text = match e.kind() {
                ErrorKind::AlreadyExists => {
                    "is there already: another copy is being written, or one was broken off \
                     (remove it then)"
                        .to_owned()
                }
                _ => format!("cannot be made: {e}"),
            };
            CheckpointError::Directory(format!("{} {text}", partial.display()))
        })?;
        let written = (|| {
            let copy = partial.join("db");
            self.disk.checkpoint(&copy)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o700))?;
            fs::rename(&copy, to)?;
            File::open(&parent)?.sync_all()?;
            Ok(())
        })();
        let _ = fs::remove_dir_all(&partial);
        written
    }
}

/// The directory that a copy is made in, if that can be.
fn checked_parent(to: &Path, store: &Path) -> Result<PathBuf, CheckpointError> {
    let refused = |text: String| Err(CheckpointError::Directory(text));
    let shown = to.display();
    if !to.is_absolute() {
        return refused(format!("{shown} is not an absolute path"));
    }
    let (Some(parent), Some(_)) = (to.parent(), to.file_name()) else {
        return refused(format!("{shown} is not a directory that can be made"));
    };
    if fs::symlink_metadata(to).is_ok() {
        return refused(format!(
            "{shown} is there already; name one that is not there yet"
        ));
    }
    let parent = match parent.canonicalize() {
        Ok(parent) if parent.is_dir() => parent,
        Ok(_) => return refused(format!("{} is no directory", parent.display())),
        Err(e) => return refused(format!("{} cannot be used: {e}", parent.display())),
    };
    let inside = store
        .canonicalize()
        .is_ok_and(|store| parent.starts_with(store));
    match inside {
        true => refused(format!("{shown} is inside store.path")),
        false => Ok(parent),
    }
}

/// A store that is looked at without a server, or beside one.
pub struct Offline {
    db: rocksdb::DB,
    table: disk::Table,
    purges: super::purge::Purges,
}

impl Offline {
    /// Opens the database in a directory for reading only: nothing there is changed.
    pub fn open(path: &Path) -> Result<Offline, StoreError> {
        if !path.join("CURRENT").exists() {
            return Err(StoreError::Open {
                path: path.to_owned(),
                message: "there is none".into(),
            });
        }
        let mut attempt = 1;
        loop {
            match disk::read_only(path) {
                Ok((db, table, purges)) => return Ok(Offline { db, table, purges }),
                Err(error) if attempt == OFFLINE_ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Number of entries, as the database counts them.
    pub fn entries(&self) -> u64 {
        self.table.live()
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

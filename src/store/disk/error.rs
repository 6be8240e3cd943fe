//! What can go wrong with the disk.

use thiserror::Error;

use crate::store::aside;

/// Why the disk tier did not do what it was asked for.
#[derive(Debug, Error)]
pub enum DiskError {
    /// RocksDB says why.
    #[error(transparent)]
    Database(#[from] rocksdb::Error),
    /// RocksDB does not say why: its compaction has no outcome.
    #[error("the files of a segment cannot be sorted, which takes room on the disk")]
    Unsealed,
}

impl DiskError {
    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        match self {
            DiskError::Database(error) => aside::is_full(error),
            DiskError::Unsealed => true,
        }
    }

    /// Whether the files themselves are damaged.
    pub fn is_corruption(&self) -> bool {
        match self {
            DiskError::Database(error) => error.kind() == rocksdb::ErrorKind::Corruption,
            DiskError::Unsealed => false,
        }
    }
}

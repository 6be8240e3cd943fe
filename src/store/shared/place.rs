//! Where a replica left off in the log of purges.

use xxhash_rust::xxh3::xxh3_64;

use super::client::engine::Log;

/// Where a replica left off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which log.
    pub log_id: u32,
    /// The number up to which it is carried out.
    pub number: u64,
    /// A digest of the entry of this number; 0 if it is not known.
    pub digest: u64,
}

impl Place {
    /// Whether the log has another entry of this number.
    pub fn differs(&self, log: &Log) -> bool {
        let there = log
            .entries
            .iter()
            .find(|(number, _)| *number == self.number);
        self.digest != 0 && there.is_some_and(|(_, entry)| xxh3_64(entry) != self.digest)
    }
}

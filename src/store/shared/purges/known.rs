//! What a replica knows of one log.

use std::collections::BTreeMap;

use super::KEPT_MAX;
use crate::store::purge::Covers;

/// What is known of a log.
pub struct Known {
    /// Which log it is.
    pub id: u32,
    /// The floor at the beginning.
    from: u64,
    /// Of what is older not all purges are remembered.
    floor: u64,
    /// With a digest of each, as it stood there.
    entries: BTreeMap<u64, (u64, Covers)>,
}

impl Known {
    /// Of a log from which on nothing is known yet, and of what is older than `floor` nothing ever.
    pub fn begin(id: u32, floor: u64) -> Known {
        Known {
            id,
            from: floor,
            floor,
            entries: BTreeMap::new(),
        }
    }

    /// Remembers an entry, and forgets the oldest if there are too many.
    pub fn add(&mut self, number: u64, digest: u64, covers: Covers) {
        self.entries.insert(number, (digest, covers));
        if self.entries.len() > KEPT_MAX
            && let Some((oldest, _)) = self.entries.pop_first()
        {
            self.floor = oldest;
        }
    }

    /// Whether it has this entry under this number.
    pub fn has(&self, number: u64, digest: u64) -> bool {
        let there = self.entries.get(&number);
        there.is_some_and(|(of_it, _)| *of_it == digest)
    }

    /// Whether something has been purged since a number, or may have been.
    pub fn cover(&self, number: u64, covered: impl Fn(&Covers) -> bool) -> bool {
        let mut since = self.entries.range(number + 1..);
        number < self.floor || since.any(|(_, (_, covers))| covered(covers))
    }

    /// Whether anything that was followed of it covers something, or may have.
    pub fn cover_any(&self, covered: impl Fn(&Covers) -> bool) -> bool {
        self.floor > self.from || self.entries.values().any(|(_, covers)| covered(covers))
    }
}

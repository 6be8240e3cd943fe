//! The purges of the fleet: a log on the server that every replica reads from where it left off.
//!
//! A generation of the fleet is the log's name and a number in it. An answer on the server carries the one
//! of the moment when its upstream was asked; who reads it compares it with all purges since.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use xxhash_rust::xxh3::xxh3_64;

use super::client::engine::Log;
use super::place::Place;
use crate::key::Key;
use crate::store::about::About;
use crate::store::purge::Covers;
use known::Known;
pub use own::TOLD_KEPT;
#[cfg(test)]
use own::UNTOLD_MAX;
use own::{Own, Purge};

mod known;
mod own;

/// Purges that the log keeps, and every replica remembers: what is older than all of them is not used.
pub const KEPT_MAX: usize = 1024;
/// Logs before this one whose purges are remembered.
const OLDER_MAX: usize = 4;

/// What this replica knows of the fleet's purges.
#[derive(Default)]
pub struct FleetPurges {
    state: RwLock<Option<State>>,
    own: Mutex<Own>,
}

struct State {
    /// The log that is followed.
    log: Known,
    /// Logs that were lost while this replica was in step with them: what was purged by them is known.
    older: VecDeque<Known>,
    /// The last number that is carried out here.
    last: u64,
    /// The last entry that was read: its number, and a digest of it.
    entry: Option<(u64, u64)>,
    /// From this replica's generations on: the fleet's that was carried out then.
    reached: BTreeMap<u64, u64>,
}

impl State {
    /// Up to this number all is read, and this is the last entry.
    fn pass(&mut self, number: u64, entry: &[u8]) {
        self.entry = Some((number, xxh3_64(entry)));
        self.last = self.last.max(number);
    }
}

/// A purge that is being carried out; until this is dropped it counts among those that are known.
pub struct UnderWay<'a> {
    purges: &'a FleetPurges,
    covers: Covers,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.purges.own.lock().ends(&self.covers);
    }
}

/// An entry of the log.
pub enum Entry {
    /// A purge of this very process, or one that was in the log before and is told again.
    CarriedOut(Covers),
    /// One of another replica. What is not understood covers everything.
    New(Covers),
}

impl Entry {
    /// What it covers.
    pub fn covers(self) -> Covers {
        match self {
            Entry::CarriedOut(covers) | Entry::New(covers) => covers,
        }
    }
}

/// Whether a log is what it was, and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesOn {
    /// It is.
    Yes,
    /// Entries are missing that were never read.
    Gap,
    /// Entries that were read are gone, and their numbers may have been given again.
    SetBack,
}

/// Which log, from its name.
pub fn log_id(name: &Bytes) -> u32 {
    (xxh3_64(name) >> 32) as u32
}

fn packed(log_id: u32, number: u64) -> u64 {
    u64::from(log_id) << 32 | (number & u64::from(u32::MAX))
}

impl FleetPurges {
    /// The fleet's generation when this replica's was `local`. `None` if that is not known: what was asked
    /// then cannot be shared.
    pub fn generation_of(&self, local: u64) -> Option<u64> {
        let state = self.state.read();
        let state = state.as_ref()?;
        let (_, number) = state.reached.range(..=local).next_back()?;
        Some(packed(state.log.id, *number))
    }

    /// Whether this replica has purged since it last compared its generations with the fleet's: what it asks
    /// now would be taken for older than that.
    pub fn is_behind(&self, local: u64) -> bool {
        let state = self.state.read();
        let reached = state
            .as_ref()
            .and_then(|state| state.reached.last_key_value());
        reached.is_none_or(|(reached, _)| *reached < local)
    }

    /// Whether what was asked at a generation of the fleet has been purged since, or may have been.
    pub fn cover(&self, generation: u64, key: &Key, about: &About, stored_ms: u64) -> bool {
        let state = self.state.read();
        let Some(state) = state.as_ref() else {
            return true;
        };
        let covered = |covers: &Covers| covers.covers(key, about, stored_ms);
        let number = generation & u64::from(u32::MAX);
        let mut logs = (state.older.iter().chain([&state.log]))
            .skip_while(|log| packed(log.id, number) != generation);
        let Some(log) = logs.next() else {
            return true;
        };
        // All that a later log has came later, or says once more what came before.
        if log.cover(number, covered) || logs.any(|later| later.cover_any(covered)) {
            return true;
        }
        self.own.lock().cover(covered)
    }

    /// To be called before a purge is carried out and dropped once it is in the log or told: an answer
    /// of the shared tier that comes between would be taken for one that is newer than the purge.
    pub fn under_way(&self, covers: &Covers) -> UnderWay<'_> {
        self.own.lock().begins(covers.clone());
        UnderWay {
            purges: self,
            covers: covers.clone(),
        }
    }

    /// Which log is read, and up to which number it is carried out.
    pub fn position(&self) -> Option<(u32, u64)> {
        let state = self.state.read();
        state.as_ref().map(|state| (state.log.id, state.last))
    }

    /// Begins to follow a log from nothing: what is older than `floor` is not known. `in_step`: nothing was
    /// missed of the one before.
    pub fn begin(&self, log_id: u32, floor: u64, in_step: bool) {
        let mut state = self.state.write();
        let mut older = VecDeque::new();
        if let Some(before) = state.take().filter(|_| in_step) {
            older = before.older;
            older.push_back(before.log);
            if older.len() > OLDER_MAX {
                older.pop_front();
            }
        }
        *state = Some(State {
            log: Known::begin(log_id, floor),
            older,
            last: floor,
            entry: None,
            reached: BTreeMap::new(),
        });
    }

    /// The same as it is written down.
    pub fn place(&self) -> Option<Place> {
        let state = self.state.read();
        let state = state.as_ref()?;
        let of_last = state.entry.filter(|(number, _)| *number == state.last);
        Some(Place {
            log_id: state.log.id,
            number: state.last,
            digest: of_last.map_or(0, |(_, digest)| digest),
        })
    }

    /// The number of the last entry that was read, if there was one: it is looked at again each time.
    pub fn last_entry(&self) -> Option<u64> {
        let state = self.state.read();
        Some(state.as_ref()?.entry?.0)
    }

    /// Whether a log goes on where it was left. Takes out the entry that was the last one.
    pub fn goes_on(&self, log: &mut Log) -> GoesOn {
        let state = self.state.read();
        let Some(state) = state.as_ref() else {
            return GoesOn::SetBack;
        };
        if log.last < state.last {
            return GoesOn::SetBack;
        }
        if let Some((number, digest)) = state.entry {
            match log.entries.first() {
                Some((first, entry)) if *first == number && xxh3_64(entry) == digest => {
                    log.entries.remove(0);
                }
                Some((first, _)) if *first == number => return GoesOn::SetBack,
                _ => return GoesOn::Gap,
            }
        }
        match log.entries.first() {
            Some((first, _)) if *first > state.last + 1 => GoesOn::Gap,
            None if log.last > state.last => GoesOn::Gap,
            _ => GoesOn::Yes,
        }
    }

    /// Notes that a purge is carried out, and the entry that it was.
    pub fn carried_out(&self, number: u64, covers: Covers, entry: &[u8]) {
        let mut state = self.state.write();
        let Some(state) = state.as_mut() else { return };
        state.pass(number, entry);
        state.log.add(number, xxh3_64(entry), covers.clone());
        self.own
            .lock()
            .read(number, Purge::of(entry.to_vec(), covers));
    }

    /// The same for one that was carried out before, nobody knows when: it is not told again.
    pub fn was_carried_out(&self, number: u64, covers: Covers, entry: &[u8]) {
        let mut state = self.state.write();
        let Some(state) = state.as_mut() else { return };
        state.pass(number, entry);
        state.log.add(number, xxh3_64(entry), covers);
    }

    /// Notes an entry that the log before had under the same number. What was asked since then has been asked
    /// after all of these.
    pub fn passed(&self, number: u64, entry: &[u8]) {
        if let Some(state) = self.state.write().as_mut() {
            state.pass(number, entry);
            self.own.lock().met(number, entry);
        }
    }

    /// Whether a log that was followed had this entry under this number.
    pub fn knew(&self, number: u64, entry: &[u8]) -> bool {
        let state = self.state.read();
        let logs = state.iter().flat_map(|s| s.older.iter().chain([&s.log]));
        let digest = xxh3_64(entry);
        logs.into_iter().any(|log| log.has(number, digest))
    }

    /// Notes that up to here all is carried out, as of this replica's generation `local`.
    pub fn reached(&self, local: u64) {
        let mut state = self.state.write();
        let Some(state) = state.as_mut() else { return };
        state.reached.insert(local, state.last);
        self.own.lock().tell_unread(state.last);
        if state.reached.len() > KEPT_MAX {
            state.reached.pop_first();
        }
    }

    /// Whether that was ever noted of the log that is followed.
    pub fn has_reached(&self) -> bool {
        let state = self.state.read();
        state
            .as_ref()
            .is_some_and(|state| !state.reached.is_empty())
    }

    /// An own purge that the fleet has to be told of.
    pub fn tell(&self, covers: Covers) {
        self.own.lock().tell(covers);
    }

    /// Whether there is any.
    pub fn has_untold(&self) -> bool {
        !self.own.lock().untold().is_empty()
    }

    /// All of them, to be told after a restart.
    pub fn untold(&self) -> Vec<Covers> {
        let own = self.own.lock();
        let covers = own.untold().iter().map(|purge| purge.covers.clone());
        covers.collect()
    }

    /// The next one.
    pub fn next_untold(&self) -> Option<Purge> {
        self.own.lock().untold().front().cloned()
    }

    /// The log has it under this number.
    pub fn told(&self, purge: Purge, number: u64) {
        self.own.lock().told(purge, number);
    }

    /// The log ends at `last`, or is another one than before: what it has lost is told again.
    pub fn tell_again(&self, last: u64) {
        self.own.lock().tell_again(last);
    }

    /// Reads an entry of the log.
    pub fn read(&self, entry: &[u8]) -> Entry {
        let covers = Own::covered_by(entry);
        let own = self.own.lock();
        match own.is_of_us(entry) || own.has_read(entry) {
            true => Entry::CarriedOut(covers),
            false => Entry::New(covers),
        }
    }
}

#[cfg(test)]
mod tests;

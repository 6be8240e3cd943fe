//! What this replica tells the fleet, and what it tells again should the log lose it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::KEPT_MAX;
use crate::store::purge::Covers;

/// Purges that wait for the fleet. One more, and all of them become one of everything.
pub const UNTOLD_MAX: usize = 256;
/// For so long what the log has had is told again if it loses it.
pub const TOLD_KEPT: Duration = Duration::from_secs(600);
/// One that a server takes so often and does not have is left.
const TOLD_TIMES_MAX: u8 = 5;
/// Bytes in front of an entry: of the origin, and of what tells its purges apart.
const ORIGIN: usize = 8;
const ID: usize = 8;

/// A purge, and the entry of the log that says it.
#[derive(Clone, PartialEq)]
pub struct Purge {
    /// As it stands in the log, with the one who told it first.
    pub entry: Vec<u8>,
    /// What it covers.
    pub covers: Covers,
    /// How often it was told in vain.
    told: u8,
}

impl Purge {
    /// A purge with its entry.
    pub fn of(entry: Vec<u8>, covers: Covers) -> Purge {
        Purge {
            entry,
            covers,
            told: 0,
        }
    }
}

/// One that was in the log.
struct Told {
    number: u64,
    purge: Purge,
    at: Instant,
    /// It was read there, and is carried out.
    read: bool,
}

/// What this replica has to tell, and what the log has had lately, whoever told it.
pub struct Own {
    /// Its own purges have this in front.
    origin: [u8; ORIGIN],
    next_id: u64,
    /// Purges, of others as well, that are being carried out on this replica.
    under_way: Vec<Covers>,
    untold: VecDeque<Purge>,
    told: VecDeque<Told>,
    /// When there were more than are remembered.
    forgot_at: Option<Instant>,
}

impl Default for Own {
    fn default() -> Own {
        Own {
            origin: getrandom::u64().unwrap_or_default().to_le_bytes(),
            next_id: 0,
            under_way: Vec::new(),
            untold: VecDeque::new(),
            told: VecDeque::new(),
            forgot_at: None,
        }
    }
}

impl Own {
    /// A purge is being carried out.
    pub fn begins(&mut self, covers: Covers) {
        self.under_way.push(covers);
    }

    /// It is no longer.
    pub fn ends(&mut self, covers: &Covers) {
        let at = self.under_way.iter().position(|other| other == covers);
        if let Some(at) = at {
            self.under_way.swap_remove(at);
        }
    }

    /// Whether something is covered by what is known here and was not read of the log yet.
    pub fn cover(&self, covered: impl Fn(&Covers) -> bool) -> bool {
        let untold = self.untold.iter().map(|purge| &purge.covers);
        let told = self.told.iter().filter(|told| !told.read);
        let mut all = (untold.chain(&self.under_way)).chain(told.map(|told| &told.purge.covers));
        all.any(covered)
    }

    /// A purge that the fleet has to be told of.
    pub fn tell(&mut self, covers: Covers) {
        self.next_id += 1;
        let id = self.next_id.to_le_bytes();
        let entry = [&self.origin[..], &id, &covers.encode()].concat();
        let purge = Purge::of(entry, covers);
        self.untold.push_back(purge);
        self.bound(false);
    }

    /// What waits to be told.
    pub fn untold(&self) -> &VecDeque<Purge> {
        &self.untold
    }

    /// The log has it under this number.
    pub fn told(&mut self, purge: Purge, number: u64) {
        // It may have become a part of one of everything meanwhile.
        if self.untold.front() == Some(&purge) {
            self.untold.pop_front();
        }
        // Somebody else told it first, and it was read already.
        if !self.has_read(&purge.entry) {
            self.remember(number, purge, false);
        }
    }

    /// An entry of the log was read, and is carried out.
    pub fn read(&mut self, number: u64, purge: Purge) {
        if !self.met(number, &purge.entry) {
            self.remember(number, purge, true);
        }
    }

    /// An entry stands in the log: it need not be told. False if it is not known that it ever was.
    pub fn met(&mut self, number: u64, entry: &[u8]) -> bool {
        self.untold.retain(|waits| waits.entry != entry);
        let mut told = self.told.iter_mut();
        let told = told.find(|told| told.purge.entry == entry);
        told.map(|told| {
            told.number = number;
            told.read = true;
        })
        .is_some()
    }

    fn remember(&mut self, number: u64, purge: Purge, read: bool) {
        let at = Instant::now();
        self.told
            .retain(|told| !told.read || told.at.elapsed() < TOLD_KEPT);
        self.told.push_back(Told {
            number,
            purge,
            at,
            read,
        });
        if self.told.len() > KEPT_MAX {
            self.told.pop_front();
            self.forgot_at = Some(at);
        }
    }

    /// Whether an entry was read before, and is carried out.
    pub fn has_read(&self, entry: &[u8]) -> bool {
        let mut told = self.told.iter();
        told.any(|told| told.read && told.purge.entry == entry)
    }

    /// The log ends at `last`, or is another one than before: what it has lost is told again, also for others,
    /// who may be gone.
    pub fn tell_again(&mut self, last: u64) {
        let is_lost = |told: &Told| told.number > last;
        let (lost, kept): (Vec<Told>, Vec<Told>) = self.told.drain(..).partition(is_lost);
        self.told = kept.into();
        if lost.is_empty() {
            return;
        }
        let lately = |at: Instant| at.elapsed() < TOLD_KEPT;
        let too_many = self.forgot_at.take().is_some_and(lately);
        let lost = lost
            .into_iter()
            .filter(|told| !told.read || lately(told.at));
        self.untold.extend(lost.map(|told| told.purge));
        self.bound(too_many);
    }

    /// All is read up to `last`: what was told under such a number and was not met there is not in the log.
    pub fn tell_unread(&mut self, last: u64) {
        let unread = |told: &Told| !told.read && told.number <= last;
        let (unread, kept): (Vec<Told>, Vec<Told>) = self.told.drain(..).partition(unread);
        self.told = kept.into();
        for told in unread {
            let mut purge = told.purge;
            purge.told += 1;
            // Whatever a server says: not for ever.
            if purge.told < TOLD_TIMES_MAX {
                self.untold.push_back(purge);
            }
        }
        self.bound(false);
    }

    /// Too many become one of everything.
    fn bound(&mut self, too_many: bool) {
        if too_many || self.untold.len() > UNTOLD_MAX {
            self.untold.clear();
            self.tell(Covers::All);
        }
    }

    /// What an entry covers. One that is not understood covers everything.
    pub fn covered_by(entry: &[u8]) -> Covers {
        let covers = entry.get(ORIGIN + ID..).and_then(Covers::decode);
        covers.unwrap_or(Covers::All)
    }

    /// Whether it is one of this very process.
    pub fn is_of_us(&self, entry: &[u8]) -> bool {
        entry.len() > ORIGIN + ID && entry.starts_with(&self.origin)
    }
}

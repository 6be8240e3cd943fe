//! Purges: generations that entries carry.
//!
//! A purge raises the generation; an entry carries the generation of the moment when its upstream was
//! asked. A purge of everything therefore costs one number, and covers what is still on its way as
//! well: what began before the purge is neither served nor stored after it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};

use parking_lot::RwLock;

use super::about::About;
use super::record::{Reader, Record};
use crate::key::Key;

/// Purges of a part that are remembered. One more takes the place of the oldest that has been carried
/// out; there is none as long as all of them are being carried out.
pub const REMEMBERED_MAX: usize = 256;

/// What a purge covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Covers {
    /// Everything.
    All,
    /// The entry of a key, and what else answers the same question in another form.
    Answer {
        /// The key.
        key: Key,
        /// [`About::question`], where an entry of the key was found.
        question: Option<[u8; 8]>,
    },
    /// The entries of a model, by the name that clients used.
    Model(String),
    /// The entries of a namespace.
    Namespace(String),
    /// The entries of a tenant, by the beginning of its digest.
    Tenant([u8; 8]),
    /// Entries stored before this time, in milliseconds since the Unix epoch.
    StoredBefore(u64),
}

impl Covers {
    /// Whether an entry is covered.
    pub fn covers(&self, key: &Key, about: &About, stored_ms: u64) -> bool {
        match self {
            Covers::All => true,
            Covers::Answer { key: of, question } => of == key || *question == Some(about.question),
            Covers::Model(model) => *model == *about.model,
            Covers::Namespace(namespace) => *namespace == *about.namespace,
            Covers::Tenant(tenant) => *tenant == about.tenant,
            Covers::StoredBefore(ms) => stored_ms < *ms,
        }
    }

    /// The form in the database.
    pub fn encode(&self) -> Vec<u8> {
        let (tag, rest): (u8, Vec<u8>) = match self {
            Covers::All => (0, Vec::new()),
            Covers::Answer { key, question } => {
                let mut rest = key.as_bytes().to_vec();
                rest.extend(question.iter().flatten());
                (1, rest)
            }
            Covers::Model(model) => (2, model.clone().into_bytes()),
            Covers::Namespace(namespace) => (3, namespace.clone().into_bytes()),
            Covers::Tenant(tenant) => (4, tenant.to_vec()),
            Covers::StoredBefore(ms) => (5, ms.to_be_bytes().to_vec()),
        };
        let mut out = vec![tag];
        out.extend(rest);
        out
    }

    /// Reads what [`Covers::encode`] wrote; `None` if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Covers> {
        let (tag, rest) = bytes.split_first()?;
        let text = || String::from_utf8(rest.to_vec()).ok();
        Some(match tag {
            0 => Covers::All,
            1 => {
                let mut rest = Reader(rest);
                Covers::Answer {
                    key: Key::from_bytes(rest.array().ok()?),
                    question: rest.array().ok(),
                }
            }
            2 => Covers::Model(text()?),
            3 => Covers::Namespace(text()?),
            4 => Covers::Tenant(rest.try_into().ok()?),
            5 => Covers::StoredBefore(u64::from_be_bytes(rest.try_into().ok()?)),
            _ => return None,
        })
    }
}

/// A purge that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// What it covers.
    pub covers: Covers,
    /// Whether everything that it covers has left the index: it is needed for fills under way only.
    pub carried_out: bool,
}

/// All purges that still matter.
#[derive(Debug, Default)]
pub struct Purges {
    /// The generation that fills beginning now carry.
    generation: AtomicU64,
    /// Entries of an older generation are purged.
    floor: AtomicU64,
    /// Fills of an older generation are not stored: the purges since are not all remembered.
    fills_from: AtomicU64,
    log: RwLock<BTreeMap<u64, Purge>>,
}

/// What is remembered, at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The generation that fills carry.
    pub generation: u64,
    /// Entries of an older generation are purged.
    pub floor: u64,
    /// Fills of an older generation are not stored.
    pub fills_from: u64,
    /// Purges of a part, by their generation.
    pub log: BTreeMap<u64, Purge>,
}

/// Why a purge is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{REMEMBERED_MAX} purges are being carried out; ask again in a while")]
pub struct TooMany;

impl Purges {
    /// What the database remembers.
    pub fn restored(
        generation: u64,
        floor: u64,
        fills_from: u64,
        log: BTreeMap<u64, Purge>,
    ) -> Purges {
        Purges {
            generation: generation.into(),
            floor: floor.into(),
            fills_from: fills_from.into(),
            log: RwLock::new(log),
        }
    }

    /// Everything at one instant.
    pub fn snapshot(&self) -> Snapshot {
        // Numbers change under the lock only.
        let log = self.log.read();
        Snapshot {
            generation: self.generation(),
            floor: self.floor(),
            fills_from: self.fills_from(),
            log: log.clone(),
        }
    }

    /// The generation that a fill carries that begins now.
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Entries of an older generation are purged.
    pub fn floor(&self) -> u64 {
        self.floor.load(Acquire)
    }

    /// Fills of an older generation are not stored.
    pub fn fills_from(&self) -> u64 {
        self.fills_from.load(Acquire)
    }

    /// Registers a purge: from here on nothing that it covers is served. Returns its generation.
    pub fn add(&self, covers: Covers) -> Result<u64, TooMany> {
        let mut log = self.log.write();
        if covers != Covers::All && log.len() >= REMEMBERED_MAX {
            let oldest = log.iter().find(|(_, purge)| purge.carried_out);
            let oldest = *oldest.ok_or(TooMany)?.0;
            log.remove(&oldest);
            self.fills_from.fetch_max(oldest, Release);
        }
        let generation = self.generation() + 1;
        if covers == Covers::All {
            // All that came before is covered by this one.
            log.clear();
            self.floor.store(generation, Release);
        } else {
            let carried_out = false;
            log.insert(
                generation,
                Purge {
                    covers,
                    carried_out,
                },
            );
        }
        self.generation.store(generation, Release);
        Ok(generation)
    }

    /// Whether an entry is purged.
    pub fn cover(&self, key: &Key, about: &About, stored_ms: u64, generation: u64) -> bool {
        if generation < self.floor() {
            return true;
        }
        if generation >= self.generation() {
            return false;
        }
        let log = self.log.read();
        log.range(generation + 1..)
            .any(|(_, purge)| purge.covers.covers(key, about, stored_ms))
    }

    /// Whether a record is purged.
    pub fn cover_record(&self, record: &Record) -> bool {
        let Record {
            key,
            about,
            stored_ms,
            generation,
            ..
        } = record;
        self.cover(key, about, *stored_ms, *generation)
    }

    /// Whether a record that was just made must not be stored.
    pub fn refuse(&self, record: &Record) -> bool {
        record.generation < self.fills_from() || self.cover_record(record)
    }

    /// The newest purge that has not been carried out, if there is one.
    pub fn unfinished(&self) -> Option<u64> {
        let log = self.log.read();
        let last = log.iter().rev().find(|(_, purge)| !purge.carried_out);
        last.map(|(generation, _)| *generation)
    }

    /// Notes that all purges up to this one have been carried out.
    pub fn finished(&self, up_to: u64) {
        for (_, purge) in self.log.write().range_mut(..=up_to) {
            purge.carried_out = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(model: &str) -> About {
        About::new("chat", Some(model), Some("evals"), [7; 8], [9; 8])
    }

    #[test]
    fn a_purge_covers_what_began_before_it_and_nothing_that_began_later() {
        let purges = Purges::default();
        let (old, key) = (purges.generation(), Key::from_bytes([1; 32]));
        let generation = purges.add(Covers::Model("gpt-4o".into())).unwrap();
        assert_eq!(purges.generation(), generation);
        assert!(purges.cover(&key, &about("gpt-4o"), 0, old));
        assert!(!purges.cover(&key, &about("gpt-4o"), 0, generation));
        assert!(!purges.cover(&key, &about("gpt-4o-mini"), 0, old));
        purges.add(Covers::All).unwrap();
        assert!(purges.cover(&key, &about("gpt-4o-mini"), 0, generation));
        assert!(!purges.cover(&key, &about("gpt-4o"), 0, purges.generation()));
    }

    #[test]
    fn every_kind_of_purge_covers_its_own() {
        let (key, about) = (Key::from_bytes([1; 32]), about("m"));
        let other = About::new("chat", Some("n"), None, [8; 8], [0; 8]);
        for covers in [
            Covers::Answer {
                key,
                question: None,
            },
            Covers::Answer {
                key: Key::from_bytes([2; 32]),
                question: Some([9; 8]),
            },
            Covers::Model("m".into()),
            Covers::Namespace("evals".into()),
            Covers::Tenant([7; 8]),
            Covers::StoredBefore(100),
        ] {
            assert!(covers.covers(&key, &about, 99), "{covers:?}");
            assert!(
                !covers.covers(&Key::from_bytes([3; 32]), &other, 100),
                "{covers:?}"
            );
            assert_eq!(Covers::decode(&covers.encode()), Some(covers));
        }
        assert_eq!(Covers::decode(&Covers::All.encode()), Some(Covers::All));
        for bad in [&b""[..], b"\x09", b"\x04short", b"\x05short", b"\x01short"] {
            assert_eq!(Covers::decode(bad), None);
        }
    }

    #[test]
    fn one_purge_too_many_is_refused_until_an_older_one_has_been_carried_out() {
        let purges = Purges::default();
        for _ in 0..REMEMBERED_MAX {
            purges.add(Covers::Tenant([1; 8])).unwrap();
        }
        assert_eq!(purges.add(Covers::Tenant([1; 8])), Err(TooMany));
        purges.finished(1);
        let generation = purges.add(Covers::Tenant([1; 8])).unwrap();
        assert_eq!(generation, REMEMBERED_MAX as u64 + 1);
        assert!(!purges.snapshot().log.contains_key(&1));
        // What began before the forgotten one might be covered by it.
        assert_eq!(purges.fills_from(), 1);
        assert_eq!(purges.unfinished(), Some(generation));
    }
}

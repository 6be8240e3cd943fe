//! What is in the cache, counted: by API, model, namespace, tenant and age.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::metrics::{Metrics, Tier};
use crate::store::operate::Entry;

/// Names listed of each kind; the rest is one line.
const LISTED_MAX: usize = 100;
/// Names counted of each kind: clients choose the names of models. Later ones count as the rest.
const COUNTED_MAX: usize = 10_000;
/// What the rest is called.
const REST: &str = "other";

const HOUR_MS: u64 = 60 * 60 * 1000;
/// The ages up to which entries are counted together.
const AGES: &[(&str, u64)] = &[
    ("1h", HOUR_MS),
    ("1d", 24 * HOUR_MS),
    ("7d", 7 * 24 * HOUR_MS),
    ("30d", 30 * 24 * HOUR_MS),
    ("older", u64::MAX),
];

/// What is in the cache.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Entries on disk.
    pub entries: u64,
    /// Their bytes, before compression.
    pub bytes: u64,
    /// Those that are no longer fresh.
    pub expired: u64,
    /// By the API's label in the metrics, most bytes first.
    pub by_api: Vec<Group>,
    /// By the model as clients named it.
    pub by_model: Vec<Group>,
    /// By namespace; the name is empty for entries in none.
    pub by_namespace: Vec<Group>,
    /// By the beginning of the tenant's digest.
    pub by_tenant: Vec<Group>,
    /// By the time since an entry was stored, youngest first.
    pub by_age: Vec<Group>,
    /// Not everything was counted: it took too long.
    pub truncated: bool,
    /// The tiers and the disk; none without a server.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server: Option<ServerStats>,
}

/// Entries with something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What only the running server knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStats {
    /// The hot tier.
    pub memory: TierStats,
    /// The disk tier; its bytes are those of the files.
    pub disk: TierStats,
    /// Whether the disk takes writes.
    pub writable: bool,
    /// Bytes of answers waiting to be written.
    pub queue_bytes: i64,
    /// Age of the oldest entry.
    pub oldest_entry_seconds: i64,
    /// Databases set aside since the start.
    pub set_aside: u64,
    /// Records since the start that did not pass their checks.
    pub corrupt_records: u64,
}

/// One tier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TierStats {
    /// Entries in it.
    pub entries: i64,
    /// Bytes it takes.
    pub bytes: i64,
    /// Bytes it may take.
    pub bytes_max: i64,
}

impl ServerStats {
    /// From the gauges, which must be up to date.
    pub fn of(metrics: &Metrics) -> ServerStats {
        let tier = |tier| TierStats {
            entries: metrics.store_entries(tier).get(),
            bytes: metrics.store_bytes(tier).get(),
            bytes_max: metrics.store_bytes_max(tier).get(),
        };
        ServerStats {
            memory: tier(Tier::Memory),
            disk: tier(Tier::Disk),
            writable: metrics.store_writable.get() != 0,
            queue_bytes: metrics.store_write_queue_bytes.get(),
            oldest_entry_seconds: metrics.store_oldest_entry_seconds.get(),
            set_aside: metrics.store_set_aside.get(),
            corrupt_records: metrics.store_corrupt_records.get(),
        }
    }
}

/// Counts entries one by one.
pub struct Counting {
    now_ms: u64,
    entries: u64,
    bytes: u64,
    expired: u64,
    apis: Names,
    models: Names,
    namespaces: Names,
    tenants: Names,
    ages: Vec<(u64, u64)>,
}

impl Counting {
    /// Nothing counted yet.
    pub fn new(now_ms: u64) -> Counting {
        Counting {
            now_ms,
            entries: 0,
            bytes: 0,
            expired: 0,
            apis: Names::default(),
            models: Names::default(),
            namespaces: Names::default(),
            tenants: Names::default(),
            ages: vec![(0, 0); AGES.len()],
        }
    }

    /// Counts one more.
    pub fn add(&mut self, entry: &Entry) {
        let row = &entry.row;
        let bytes = u64::from(row.bytes);
        self.entries += 1;
        self.bytes += bytes;
        self.expired += u64::from(row.expires_ms <= self.now_ms);
        self.apis.add(row.about.api.as_bytes(), bytes);
        self.models.add(row.about.model.as_bytes(), bytes);
        self.namespaces.add(row.about.namespace.as_bytes(), bytes);
        self.tenants.add(&row.about.tenant, bytes);
        let age_ms = self.now_ms.saturating_sub(row.stored_ms);
        let bucket = AGES.iter().position(|(_, up_to)| age_ms <= *up_to);
        if let Some(sums) = bucket.and_then(|bucket| self.ages.get_mut(bucket)) {
            sums.0 += 1;
            sums.1 += bytes;
        }
    }

    /// The sums.
    pub fn finish(self, truncated: bool) -> Stats {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let digits = |name: &[u8]| hex::encode(name);
        let ages = AGES.iter().zip(self.ages);
        Stats {
            entries: self.entries,
            bytes: self.bytes,
            expired: self.expired,
            by_api: self.apis.listed(text),
            by_model: self.models.listed(text),
            by_namespace: self.namespaces.listed(text),
            by_tenant: self.tenants.listed(digits),
            by_age: ages
                .map(|((name, _), (entries, bytes))| Group {
                    name: (*name).to_owned(),
                    entries,
                    bytes,
                })
                .collect(),
            truncated,
            server: None,
        }
    }
}

/// Entries and bytes by name.
#[derive(Default)]
struct Names {
    sums: HashMap<Box<[u8]>, (u64, u64)>,
    rest: (u64, u64),
}

impl Names {
    fn add(&mut self, name: &[u8], bytes: u64) {
        if !self.sums.contains_key(name) && self.sums.len() < COUNTED_MAX {
            self.sums.insert(name.into(), (0, 0));
        }
        let sums = self.sums.get_mut(name).unwrap_or(&mut self.rest);
        sums.0 += 1;
        sums.1 += bytes;
    }

    fn listed(self, write: fn(&[u8]) -> String) -> Vec<Group> {
        let mut groups: Vec<Group> = self
            .sums
            .into_iter()
            .map(|(name, (entries, bytes))| Group {
                name: write(&name),
                entries,
                bytes,
            })
            .collect();
        groups.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        let (mut entries, mut bytes) = self.rest;
        for group in groups.drain(LISTED_MAX.min(groups.len())..) {
            entries += group.entries;
            bytes += group.bytes;
        }
        if entries > 0 {
            let name = REST.to_owned();
            groups.push(Group {
                name,
                entries,
                bytes,
            });
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::store::about::About;
    use crate::store::operate::Row;

    fn entry(model: &str, bytes: u32, stored_ms: u64) -> Entry {
        Entry {
            key: Key::from_bytes([1; 32]),
            row: Row {
                stored_ms,
                expires_ms: stored_ms + HOUR_MS,
                generation: 0,
                bytes,
                about: About::new("chat", Some(model), None, [0xab; 8], [0; 8]),
            },
        }
    }

    #[test]
    fn entries_are_counted_by_what_they_have_in_common() {
        let now = 1000 * HOUR_MS;
        let mut counting = Counting::new(now);
        counting.add(&entry("small", 10, now));
        counting.add(&entry("large", 100, now - 2 * HOUR_MS));
        counting.add(&entry("small", 10, now - 900 * HOUR_MS));
        let stats = counting.finish(false);
        assert_eq!((stats.entries, stats.bytes, stats.expired), (3, 120, 2));
        let group = |name: &str, entries, bytes| Group {
            name: name.into(),
            entries,
            bytes,
        };
        assert_eq!(
            stats.by_model,
            [group("large", 1, 100), group("small", 2, 20)]
        );
        assert_eq!(stats.by_api, [group("chat", 3, 120)]);
        assert_eq!(stats.by_namespace, [group("", 3, 120)]);
        assert_eq!(stats.by_tenant, [group("abababababababab", 3, 120)]);
        let ages: Vec<u64> = stats.by_age.iter().map(|group| group.entries).collect();
        assert_eq!(ages, [1, 1, 0, 0, 1]);
    }

    #[test]
    fn clients_cannot_make_the_lists_long() {
        let mut counting = Counting::new(0);
        let names = COUNTED_MAX + 500;
        for n in 0..names {
            counting.add(&entry(&format!("model-{n}"), 1, 0));
        }
        counting.add(&entry("model-7", 1, 0));
        let models = counting.finish(false).by_model;
        assert_eq!(models.len(), LISTED_MAX + 1);
        assert_eq!(models[0].name, "model-7");
        assert_eq!(models[LISTED_MAX].name, REST);
        assert_eq!(models[LISTED_MAX].entries as usize, names - LISTED_MAX);
    }
}

//! A list of entries: which, and what is said of each.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::times;
use crate::store::about::About;
use crate::store::operate::Entry;

/// Entries listed where nothing is said about it.
pub const LIMIT_DEFAULT: usize = 100;
/// Entries listed at most, some 300 bytes each.
pub const LIMIT_MAX: usize = 1000;

/// Which entries: those that fit everything said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The API's label in the metrics.
    pub api: Option<String>,
    /// The model as clients named it.
    pub model: Option<String>,
    /// The namespace; empty: in none.
    pub namespace: Option<String>,
    /// Digits that the tenant begins with.
    pub tenant: Option<String>,
    /// Stored before that, in milliseconds since the Unix epoch.
    pub stored_before_ms: Option<u64>,
    /// How many.
    pub limit: usize,
}

/// A list of entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Newest first, give or take a segment of the disk.
    pub entries: Vec<Line>,
    /// There are more.
    pub truncated: bool,
}

/// One entry, without its body.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The key, as in `x-llm-cache-key`.
    pub key: String,
    /// The API's label in the metrics.
    pub api: String,
    /// The model as the client named it.
    pub model: String,
    /// The namespace.
    pub namespace: String,
    /// The beginning of the tenant's digest.
    pub tenant: String,
    /// When it was stored.
    pub stored: String,
    /// Until when it is fresh.
    pub expires: String,
    /// Whether it is.
    pub fresh: bool,
    /// Seconds since it was stored.
    pub age_seconds: u64,
    /// Bytes, before compression.
    pub bytes: u64,
}

impl Filter {
    /// Reads a query such as `model=gpt-4o&limit=10`.
    pub fn read(query: &str, now_ms: u64) -> Result<Filter, String> {
        let mut filter = Filter {
            api: None,
            model: None,
            namespace: None,
            tenant: None,
            stored_before_ms: None,
            limit: LIMIT_DEFAULT,
        };
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&name) {
                return Err(format!("`{name}` is given twice"));
            }
            // Entries keep the beginning of a long name.
            let kept = || About::new(&value, Some(&value), Some(&value), [0; 8], [0; 8]);
            match &*name {
                "api" => filter.api = Some(kept().api.into()),
                "model" => filter.model = Some(kept().model.into()),
                "namespace" => filter.namespace = Some(kept().namespace.into()),
                "tenant" => filter.tenant = Some(tenant_digits(&value)?),
                "older_than" => filter.stored_before_ms = Some(times::ago(&value, now_ms)?),
                "limit" => filter.limit = limit(&value)?,
                _ => {
                    return Err(format!(
                        "there is no `{name}`: use model, api, namespace, tenant, older_than or limit"
                    ));
                }
            }
            seen.push(name);
        }
        Ok(filter)
    }

    fn fits(&self, entry: &Entry) -> bool {
        let (row, about) = (&entry.row, &entry.row.about);
        let same =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.api, &about.api)
            && same(&self.model, &about.model)
            && same(&self.namespace, &about.namespace)
            && self
                .tenant
                .as_deref()
                .is_none_or(|digits| hex::encode(about.tenant).starts_with(digits))
            && self.stored_before_ms.is_none_or(|ms| row.stored_ms < ms)
    }
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!("`limit` is not between 1 and {LIMIT_MAX}")),
    }
}

fn tenant_digits(text: &str) -> Result<String, String> {
    let digits = text.to_ascii_lowercase();
    let good = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    match good {
        true => Ok(digits),
        false => Err("`tenant` is not 1 to 16 hexadecimal digits".to_owned()),
    }
}

/// Gathers what fits until there is enough.
pub struct Gathering {
    filter: Filter,
    now_ms: u64,
    listing: Listing,
}

impl Gathering {
    /// Nothing gathered yet.
    pub fn new(filter: Filter, now_ms: u64) -> Gathering {
        Gathering {
            filter,
            now_ms,
            listing: Listing::default(),
        }
    }

    /// Looks at one more.
    pub fn add(&mut self, entry: &Entry) -> ControlFlow<()> {
        if !self.filter.fits(entry) {
            return ControlFlow::Continue(());
        }
        if self.listing.entries.len() >= self.filter.limit {
            self.listing.truncated = true;
            return ControlFlow::Break(());
        }
        self.listing.entries.push(line(entry, self.now_ms));
        ControlFlow::Continue(())
    }

    /// The list.
    pub fn finish(mut self, broken_off: bool) -> Listing {
        self.listing.truncated |= broken_off;
        self.listing
    }
}

fn line(entry: &Entry, now_ms: u64) -> Line {
    let (row, about) = (&entry.row, &entry.row.about);
    Line {
        key: entry.key.to_string(),
        api: about.api.to_string(),
        model: about.model.to_string(),
        namespace: about.namespace.to_string(),
        tenant: hex::encode(about.tenant),
        stored: times::written(row.stored_ms),
        expires: times::written(row.expires_ms),
        fresh: now_ms < row.expires_ms,
        age_seconds: now_ms.saturating_sub(row.stored_ms) / 1000,
        bytes: row.bytes.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::store::operate::Row;

    const NOW: u64 = 1_000_000_000;

    fn entry(model: &str, stored_ms: u64) -> Entry {
        Entry {
            key: Key::from_bytes([1; 32]),
            row: Row {
                stored_ms,
                expires_ms: NOW + 1,
                generation: 0,
                bytes: 7,
                about: About::new("chat", Some(model), Some("evals"), [0xab; 8], [0; 8]),
            },
        }
    }

    fn gathered(query: &str, entries: &[Entry]) -> Listing {
        let mut gathering = Gathering::new(Filter::read(query, NOW).unwrap(), NOW);
        for entry in entries {
            if gathering.add(entry).is_break() {
                break;
            }
        }
        gathering.finish(false)
    }

    #[test]
    fn everything_that_is_said_must_fit() {
        let entries = [entry("gpt-4o", NOW - 5000), entry("o3", NOW - 50)];
        for (query, count) in [
            ("", 2),
            ("model=gpt-4o", 1),
            ("model=gpt-4", 0),
            ("api=chat&namespace=evals", 2),
            ("api=embeddings", 0),
            ("namespace=", 0),
            ("tenant=abab", 2),
            ("tenant=ABABABABABABABAB", 2),
            ("tenant=abac", 0),
            ("older_than=1s", 1),
            ("older_than=0s&model=o3", 1),
            ("limit=1000", 2),
        ] {
            let listing = gathered(query, &entries);
            assert_eq!(listing.entries.len(), count, "{query}");
            assert!(!listing.truncated);
        }
        let listing = gathered("limit=1", &entries);
        assert_eq!((listing.entries.len(), listing.truncated), (1, true));
        let long = "m".repeat(300);
        let listing = gathered(&format!("model={long}"), &[entry(&long, NOW)]);
        assert_eq!(listing.entries.len(), 1);
        let listing = gathered("limit=1", &entries);
        let line = &listing.entries[0];
        assert_eq!((line.age_seconds, line.bytes, line.fresh), (5, 7, true));
        assert_eq!(line.tenant, "abababababababab");
    }

    #[test]
    fn a_query_that_is_not_understood_is_refused() {
        for (query, word) in [
            ("modle=x", "modle"),
            ("model=a&model=b", "twice"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=ten", "limit"),
            ("tenant=xyz", "tenant"),
            ("tenant=", "tenant"),
            ("tenant=00112233445566778", "tenant"),
            ("older_than=7", "length of time"),
        ] {
            let why = Filter::read(query, NOW).unwrap_err();
            assert!(why.contains(word), "{query}: {why}");
        }
    }
}

//! For how long an answer is fresh, and what an answer that no longer is can still be used for.

use std::time::Duration;

use wildmatch::WildMatch;

use crate::config::{self, Freshness};

/// The times of every request: the configured rules, then the times for all others.
pub struct FreshnessRules {
    rules: Vec<Rule>,
    otherwise: Freshness,
}

struct Rule {
    upstream: Option<String>,
    api: Option<String>,
    models: Vec<WildMatch>,
    freshness: Freshness,
}

impl FreshnessRules {
    /// The rules of a configuration.
    pub fn new(config: &config::Cache) -> FreshnessRules {
        let rules = config.rules.iter().map(|rule| Rule {
            upstream: rule.upstream.clone(),
            api: rule.api.clone(),
            models: rule.models.iter().map(|m| WildMatch::new(m)).collect(),
            freshness: rule.freshness,
        });
        FreshnessRules {
            rules: rules.collect(),
            otherwise: config.freshness,
        }
    }

    /// The times of a request: those of the first rule that fits.
    pub fn of(&self, upstream: &str, api: &str, model: Option<&str>) -> Freshness {
        let is = |wanted: &Option<String>, value| wanted.as_deref().is_none_or(|w| w == value);
        let fits = |rule: &&Rule| {
            let fits = |pattern: &WildMatch| model.is_some_and(|model| pattern.matches(model));
            is(&rule.upstream, upstream)
                && is(&rule.api, api)
                && (rule.models.is_empty() || rule.models.iter().any(fits))
        };
        let rule = self.rules.iter().find(fits);
        rule.map_or(self.otherwise, |rule| rule.freshness)
    }
}

/// What a stored answer can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is fresh.
    Fresh,
    /// To be served at once, while it is asked for anew.
    WhileRevalidating,
    /// To be served where the upstream fails.
    IfError,
    /// For nothing.
    Gone,
}

/// What an answer that is fresh until `expires_ms` can be used for at `now_ms`, both in
/// milliseconds since the Unix epoch.
pub fn use_of(expires_ms: u64, now_ms: u64, freshness: &Freshness) -> Use {
    let within = |window: Duration| {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        now_ms < expires_ms.saturating_add(window)
    };
    if now_ms < expires_ms {
        Use::Fresh
    } else if within(freshness.stale_while_revalidate) {
        Use::WhileRevalidating
    } else if within(freshness.stale_if_error) {
        Use::IfError
    } else {
        Use::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(ttl: u64, revalidate: u64, error: u64) -> Freshness {
        Freshness {
            ttl: Duration::from_secs(ttl),
            stale_while_revalidate: Duration::from_secs(revalidate),
            stale_if_error: Duration::from_secs(error),
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rule = |upstream: Option<&str>, api: Option<&str>, models: &[&str], ttl| Rule {
            upstream: upstream.map(str::to_owned),
            api: api.map(str::to_owned),
            models: models.iter().map(|m| WildMatch::new(m)).collect(),
            freshness: secs(ttl, 0, 0),
        };
        let rules = FreshnessRules {
            rules: vec![
                rule(Some("a"), Some("chat"), &["gpt-*", "o1"], 1),
                rule(None, Some("embeddings"), &[], 2),
                rule(Some("a"), None, &[], 3),
            ],
            otherwise: secs(4, 0, 0),
        };
        for (upstream, api, model, ttl) in [
            ("a", "chat", Some("gpt-5"), 1),
            ("a", "chat", Some("o1"), 1),
            ("a", "chat", Some("o1-mini"), 3),
            ("a", "chat", None, 3),
            ("b", "chat", Some("gpt-5"), 4),
            ("a", "embeddings", Some("gpt-5"), 2),
            ("b", "embeddings", None, 2),
        ] {
            let found = rules.of(upstream, api, model);
            assert_eq!(found, secs(ttl, 0, 0), "{upstream} {api} {model:?}");
        }
    }

    #[test]
    fn windows_begin_where_freshness_ends() {
        for (now, freshness, expected) in [
            (9_999, secs(1, 0, 0), Use::Fresh),
            (10_000, secs(1, 0, 0), Use::Gone),
            (10_000, secs(1, 1, 0), Use::WhileRevalidating),
            (10_999, secs(1, 1, 5), Use::WhileRevalidating),
            (11_000, secs(1, 1, 5), Use::IfError),
            (14_999, secs(1, 1, 5), Use::IfError),
            (15_000, secs(1, 1, 5), Use::Gone),
            (u64::MAX, secs(1, u64::MAX, 0), Use::Gone),
        ] {
            assert_eq!(use_of(10_000, now, &freshness), expected, "{now}");
        }
    }
}

//! Which answers clients were given lately: what one that retries may be retrying away from.

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::key::Key;

/// Answers that are remembered, some 100 bytes each.
const DELIVERED_MAX: usize = 64 * 1024;
/// For how long: what SDKs wait for an answer at most by default (ten minutes), so that no retry of
/// theirs comes later.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The keys of answers that reached a client to the end. One that was stored but reached nobody, as
/// when a client gave up waiting, is what its retry is for.
pub struct Delivered(Cache<Key, Instant>);

impl Default for Delivered {
    /// Nothing yet.
    fn default() -> Delivered {
        Delivered(Cache::new(DELIVERED_MAX))
    }
}

impl Delivered {
    /// Notes that a client has the answer of `key`.
    pub fn note(&self, key: Key) {
        self.0.insert(key, Instant::now());
    }

    /// Whether a client was given the answer of `key` lately.
    pub fn lately(&self, key: &Key) -> bool {
        self.0.get(key).is_some_and(|at| at.elapsed() < REMEMBERED)
    }
}

//! The cache as the proxy sees it: look up, join, and keep what was judged good.
//!
//! Pingora's own caching phases run for the request that fills (see `proxy/fill.rs`): its storage
//! is [`Cache`], its miss handler is the recorder in `record_miss.rs`. Followers and hits are
//! answered from here directly, since they need what pingora's hit path does not offer: following
//! from before the first byte, racing the client's disconnect, and telling an end from a break.

use crate::key::Key;
use crate::metrics::Metrics;
use crate::store::Store;
pub use crate::store::now_ms;
use crate::store::record::Record;
use crate::tenant::Tenant;
pub use delivered::Delivered;
use flight::Flight;
use flights::{FlightLimits, Flights, Joined, Lead};
use std::sync::Arc;

mod delivered;
pub mod fleet;
pub mod flight;
pub mod flights;
pub mod record_miss;
pub mod replay;
pub mod storage;

/// Tiers and flights. One per server, leaked at the start because pingora wants its storage to
/// live for ever, and closed explicitly.
pub struct Cache {
    store: Store,
    flights: Arc<Flights>,
    delivered: Delivered,
    metrics: Arc<Metrics>,
}

impl Cache {
    /// A cache over an open store.
    pub fn new(store: Store, limits: FlightLimits, metrics: Arc<Metrics>) -> Cache {
        let flights = Flights::new(limits, metrics.clone());
        Cache {
            store,
            flights,
            delivered: Delivered::default(),
            metrics,
        }
    }

    /// The entry of `key`, fresh or not, from memory or from disk.
    pub async fn lookup(&self, key: &Key) -> Option<Arc<Record>> {
        let (record, tier) = self.store.get(key).await?;
        self.metrics.tier_hits(tier).inc();
        Some(record)
    }

    /// Follows the fill of `key`, or begins one unless the answer has come meanwhile.
    pub fn join(&self, key: Key, tenant: Tenant) -> Joined {
        let stored = || self.store.get_hot(&key).filter(|r| r.is_fresh(now_ms()));
        let purged = |flight: &Flight| self.is_purged(&key, flight);
        self.flights.join(key, tenant, stored, purged)
    }

    /// Follows the fill of `key`, or begins one whatever is stored.
    pub fn join_anew(&self, key: Key, tenant: Tenant) -> Joined {
        let purged = |flight: &Flight| self.is_purged(&key, flight);
        self.flights.join(key, tenant, || None, purged)
    }

    /// Whether there was a purge of what is on its way since its upstream was asked.
    fn is_purged(&self, key: &Key, flight: &Flight) -> bool {
        flight.asked_about().is_some_and(|(generation, about)| {
            // It has no time yet, and is newer than any that a purge by age can name.
            self.store.has_purged(key, about, u64::MAX, *generation)
        })
    }

    /// Begins a fill whatever is stored or on its way.
    pub fn begin(&self, key: Key, tenant: Tenant) -> Lead {
        self.flights.begin(key, tenant)
    }

    /// Begins a fill for one client only, whose answer is not kept.
    pub fn alone(&self, tenant: Tenant) -> Lead {
        self.flights.alone(tenant)
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Which answers clients were given lately.
    pub fn delivered(&self) -> &Delivered {
        &self.delivered
    }
}

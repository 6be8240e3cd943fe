//! The table of flights: who asks for a key that is on its way joins instead of asking again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::flight::{End, Flight, Follower};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::store::record::Record;
use crate::tenant::Tenant;

/// Bounds of the table and of what is in it.
#[derive(Debug, Clone, Copy)]
pub struct FlightLimits {
    /// Flights that can be joined at once; more are filled on their own.
    pub flights_max: usize,
    /// Longest answer that is recorded.
    pub answer_bytes_max: usize,
    /// How long a failed answer is shared with those who come just after it.
    pub error_linger: Duration,
}

/// All flights that can be joined.
pub struct Flights {
    table: Mutex<HashMap<Key, Arc<Flight>>>,
    limits: FlightLimits,
    metrics: Arc<Metrics>,
}

/// What joining led to.
pub enum Joined {
    /// Nobody is asking: the caller must fill.
    Lead(Lead),
    /// Somebody is asking already.
    Follow(Follower),
    /// The answer was finished since the caller looked.
    Stored(Arc<Record>),
}

/// The duty to fill a flight, and the first seat to follow it.
pub struct Lead {
    /// To be held by whoever fills.
    pub guard: FillGuard,
    /// The answer, as every other follower gets it.
    pub follower: Follower,
}

impl Flights {
    /// An empty table.
    pub fn new(limits: FlightLimits, metrics: Arc<Metrics>) -> Arc<Flights> {
        Arc::new(Flights {
            table: Mutex::default(),
            limits,
            metrics,
        })
    }

    /// Joins the flight of `key`, or begins one. `stored` looks in memory once more: an answer is
    /// in the tiers before its flight leaves this table, so one of the two finds it. What is on its way
    /// and `purged` is for those who asked before the purge.
    pub fn join(
        self: &Arc<Self>,
        key: Key,
        tenant: Tenant,
        stored: impl FnOnce() -> Option<Arc<Record>>,
        purged: impl Fn(&Flight) -> bool,
    ) -> Joined {
        let mut table = self.table.lock();
        if let Some(flight) = table.get(&key)
            && self.may_join(flight, tenant)
            && !purged(flight)
            && let Some(follower) = flight.follow()
        {
            return Joined::Follow(follower);
        }
        if let Some(record) = stored() {
            return Joined::Stored(record);
        }
        if table.len() >= self.limits.flights_max && !table.contains_key(&key) {
            drop(table);
            return Joined::Lead(self.alone(tenant));
        }
        let flight = Flight::new(self.limits.answer_bytes_max, tenant);
        table.insert(key, flight.clone());
        drop(table);
        Joined::Lead(self.lead(flight, Some(key)))
    }

    /// Begins a flight although one may exist. Others can join it if none did.
    pub fn begin(self: &Arc<Self>, key: Key, tenant: Tenant) -> Lead {
        let flight = Flight::new(self.limits.answer_bytes_max, tenant);
        let mut table = self.table.lock();
        let free = table.get(&key).is_none_or(|f| f.ended().is_some());
        if free && table.len() < self.limits.flights_max {
            table.insert(key, flight.clone());
            drop(table);
            return self.lead(flight, Some(key));
        }
        drop(table);
        self.lead(flight, None)
    }

    /// Begins a flight that nobody can join.
    pub fn alone(self: &Arc<Self>, tenant: Tenant) -> Lead {
        self.lead(Flight::new(self.limits.answer_bytes_max, tenant), None)
    }

    fn lead(self: &Arc<Self>, flight: Arc<Flight>, key: Option<Key>) -> Lead {
        self.metrics.fills_in_flight.inc();
        let follower = flight.seat();
        Lead {
            guard: FillGuard {
                flight,
                key,
                flights: self.clone(),
            },
            follower,
        }
    }

    /// An ended flight stays in the table for a moment if it ended badly, so that a failing
    /// upstream is not asked once per request of a burst. Errors about one credential are no
    /// business of another.
    fn may_join(&self, flight: &Flight, tenant: Tenant) -> bool {
        match flight.ended() {
            None => flight.is_open(),
            Some((_, ago)) => {
                flight.tenant() == tenant
                    && ago < self.limits.error_linger
                    && self.worth_sharing(flight)
            }
        }
    }

    fn worth_sharing(&self, flight: &Flight) -> bool {
        match flight.ended() {
            Some((End::Failed(_), _)) => true,
            Some((End::Complete, _)) => flight
                .head()
                .is_some_and(|h| h.status == 429 || h.status >= 500),
            _ => false,
        }
    }

    fn remove(&self, key: &Key, flight: &Arc<Flight>) {
        let mut table = self.table.lock();
        if table.get(key).is_some_and(|f| Arc::ptr_eq(f, flight)) {
            table.remove(key);
        }
    }
}

/// Held by whoever fills. However the filling ends, followers learn of it and the table forgets.
pub struct FillGuard {
    flight: Arc<Flight>,
    key: Option<Key>,
    flights: Arc<Flights>,
}

impl FillGuard {
    /// Whether others can join it. A fill that nobody waits for is only worth it then.
    pub fn is_open_to_others(&self) -> bool {
        self.key.is_some()
    }

    /// The flight to fill.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        self.flights.metrics.fills_in_flight.dec();
        // Does nothing after a proper end.
        self.flight.end(End::Broken("fill-aborted"));
        let Some(key) = self.key else { return };
        let linger = self.flights.limits.error_linger;
        let runtime = tokio::runtime::Handle::try_current();
        match runtime {
            Ok(runtime) if !linger.is_zero() && self.flights.worth_sharing(&self.flight) => {
                let (flights, flight) = (self.flights.clone(), self.flight.clone());
                runtime.spawn(async move {
                    tokio::time::sleep(linger).await;
                    flights.remove(&key, &flight);
                });
            }
            _ => self.flights.remove(&key, &self.flight),
        }
    }
}

//! One question, one call, in a whole fleet: the replica that takes the lease asks and publishes what comes,
//! the others follow it live.
//!
//! A lease that cannot be had, or a shared tier that does not answer, costs a deadline at most; then a
//! replica asks for itself, as it would without a fleet.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::flight::{End, Flight, Head};
use super::flights::{Joined, Lead};
use super::{Cache, now_ms};
use crate::coding::Coding;
use crate::key::Key;
use crate::metrics::Tier;
use crate::store::about::About;
use crate::store::record::Record;
use crate::store::shared::{Found, LEASE, Token};
use publish::Told;

mod beside;
mod follow;
mod frame;
mod publish;

/// A lease is renewed this often: three may get lost.
const RENEW_EVERY: Duration = Duration::from_millis(LEASE.as_millis() as u64 / 4);
/// A follower elsewhere says so this often, and counts as one for three times as long.
const WATCHED_EVERY: Duration = Duration::from_secs(1);

/// Why a flight ended whose answer elsewhere was none for others: to be asked for here.
pub const ASK_HERE: &str = "ask-here";

/// What claiming a question led to.
pub enum Claimed {
    /// The answer was there.
    Stored(Arc<Record>),
    /// This replica asks.
    Lead(Lead, Option<Lease>),
    /// Another replica asks; this is how to go on.
    Joined(Joined),
}

/// A lease of the fleet. Dropped before anything is published it is given back.
pub struct Lease {
    cache: &'static Cache,
    key: Key,
    token: Token,
    /// It is being published, or certainly not ours.
    kept: bool,
}

/// What the fleet is asked for.
pub struct Question {
    /// Until when it may wait for the shared tier.
    pub until: Instant,
    /// Of which purges this replica knows.
    pub generation: u64,
    /// What it is about.
    pub about: Arc<About>,
    /// The content coding of its body.
    pub coding: Option<Coding>,
}

impl Cache {
    /// Asks the fleet before an upstream is asked: for the answer, or for the leave to ask.
    pub async fn claim(&'static self, key: Key, lead: Lead, question: Question) -> Claimed {
        let Some(shared) = self.store.shared() else {
            return Claimed::Lead(lead, None);
        };
        // One that nobody can join is not for the fleet either.
        let token = shared.token(question.generation);
        let Some(token) = token.filter(|_| lead.guard.is_open_to_others()) else {
            return match timeout_at(question.until, self.fetch(&key)).await {
                Ok(Some(record)) => Claimed::Stored(record),
                Ok(None) | Err(_) => Claimed::Lead(lead, None),
            };
        };
        // From here on, for it may be ours although nobody says so, or this request may end.
        let mut lease = Lease {
            cache: self,
            key,
            token,
            kept: false,
        };
        match shared.claim(&key, &token, question.until).await {
            Found::Lease => {
                shared.publishes(key);
                Claimed::Lead(lead, Some(lease))
            }
            Found::Answer(record) => {
                lease.kept = true;
                match self.take_in(*record, question.generation, Tier::Shared) {
                    Some(record) => {
                        // For those who follow meanwhile.
                        give(lead.guard.flight(), &record).await;
                        Claimed::Stored(record)
                    }
                    None => Claimed::Lead(lead, None),
                }
            }
            Found::Elsewhere(holder) => {
                lease.kept = true;
                if shared.has_purged(&holder, &key, &question.about) {
                    // What is on its way there is older than a purge.
                    return Claimed::Lead(lead, None);
                }
                let Lead { guard, follower } = lead;
                let flight = guard.flight();
                flight.asks_about(question.generation, question.about);
                if let Some(coding) = question.coding {
                    flight.sent_as(coding);
                }
                shared.spawn(follow::follow(self, key, holder, guard));
                Claimed::Joined(Joined::Follow(follower))
            }
            Found::Nothing => Claimed::Lead(lead, None),
        }
    }

    /// An answer of the shared tier, made one of this replica.
    pub async fn fetch(&self, key: &Key) -> Option<Arc<Record>> {
        let shared = self.store.shared()?;
        let generation = self.store.generation();
        let record = shared.get(key).await?;
        self.take_in(record, generation, Tier::Shared)
    }

    /// Makes an answer from elsewhere one of this replica. `generation`: of this replica, from before it was
    /// compared with the purges of the fleet.
    fn take_in(&self, mut record: Record, generation: u64, from: Tier) -> Option<Arc<Record>> {
        record.generation = generation;
        let record = self.store.take_in(record)?;
        if !record.is_fresh(now_ms()) {
            return None;
        }
        self.metrics.tier_hits(from).inc();
        Some(record)
    }
}

/// Gives an answer that was found to those who follow a flight.
async fn give(flight: &Flight, record: &Record) {
    if let Some(usage) = record.usage {
        flight.set_usage(usage);
    }
    flight.begin(Head {
        status: record.status,
        headers: record.headers.clone(),
        shared_headers: record.headers.clone(),
        content_length: (!record.stream).then_some(record.body.len() as u64),
        stored_ms: Some(record.stored_ms),
    });
    flight.push(record.body.clone(), false).await;
    flight.end(End::Complete);
}

impl Lease {
    /// Publishes what the flight gets, until its end.
    pub fn publish(self, flight: Arc<Flight>) {
        self.tell(flight, Told::Nothing);
    }

    fn tell(mut self, flight: Arc<Flight>, told: Told) {
        self.kept = true;
        let (cache, key, token) = (self.cache, self.key, self.token);
        if let Some(shared) = cache.store.shared() {
            shared.spawn(publish::publish(cache, key, token, flight, told));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (cache, key, token) = (self.cache, self.key, self.token);
        if let Some(shared) = cache.store.shared() {
            shared.has_published(&key);
            shared.spawn(async move {
                if let Some(shared) = cache.store.shared() {
                    shared.end_lease(&key, &token).await;
                }
            });
        }
    }
}

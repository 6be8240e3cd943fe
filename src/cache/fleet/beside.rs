//! What lies beside the answer itself in the shared tier, and below it in the bucket: its parts, and the same
//! in other forms.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::publish::Told;
use super::{Lease, give};
use crate::cache::Cache;
use crate::cache::flights::Lead;
use crate::key::Key;
use crate::metrics::Tier;
use crate::store::record::Record;

impl Cache {
    /// What the shared tier has of these parts until then, made parts of this replica.
    pub async fn fetch_parts(&self, keys: &[Key], until: Instant) -> Vec<Option<Arc<Record>>> {
        let Some(shared) = self.store.shared() else {
            return Vec::new();
        };
        let generation = self.store.generation();
        let parts = shared.parts(keys, until).await.into_iter();
        parts
            .map(|part| self.take_in(part?, generation, Tier::Shared))
            .collect()
    }

    /// The same for whole answers, a few of them.
    pub async fn fetch_all(&self, keys: &[Key], until: Instant) -> Vec<Option<Arc<Record>>> {
        let fetches = keys.iter().map(|key| timeout_at(until, self.fetch(key)));
        let fetched = join_all(fetches).await.into_iter();
        fetched.map(|record| record.ok().flatten()).collect()
    }

    /// What the bucket has of these answers, a few of them, until then, made answers of this replica.
    pub async fn fetch_cold(&self, keys: &[Key], until: Instant) -> Vec<Option<Arc<Record>>> {
        let Some(shared) = self.store.shared() else {
            return Vec::new();
        };
        let generation = self.store.generation();
        let fetches = keys.iter().map(async |key| {
            let record = shared.get_cold(key, until).await?;
            self.take_in(record, generation, Tier::Objects)
        });
        join_all(fetches).await
    }

    /// Makes an answer of the bucket that is served one of the shared tier, too.
    pub fn share_found(&self, record: Arc<Record>) {
        if let Some(shared) = self.store.shared() {
            shared.offer(record);
        }
    }

    /// Ends a flight with an answer that was found instead: for those who follow it here, and at the replicas
    /// that have met the lease.
    pub async fn give_found(&self, lead: Lead, lease: Option<Lease>, record: &Record) {
        let flight = lead.guard.flight().clone();
        give(&flight, record).await;
        if let Some(lease) = lease {
            let shared = self.store.shared();
            let told = match shared.and_then(|shared| shared.offered(&lease.key)) {
                // It is written under its key, where they find it.
                Some(_) => Told::Nothing,
                // One that was made is not, and who follows already is not known.
                None => Told::All,
            };
            lease.tell(flight, told);
        }
    }
}

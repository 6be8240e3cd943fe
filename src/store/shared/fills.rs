//! Answers on their way: what one replica publishes and the others follow, under a lease.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::client::trouble::Trouble;
use super::{LEASE, Shared, Token, millis};
use crate::key::Key;
use crate::metrics::shared::{LeaseResult, Operation};
use crate::store::about::About;
use crate::store::record::Record;

/// What is published of an answer stays for this long after the last of it.
const PUBLISHED: Duration = Duration::from_secs(30);

impl Shared {
    /// Says that an answer is being published, and that its writing is up to whoever does it.
    pub fn publishes(&self, key: Key) {
        self.published.lock().insert(key, None);
    }

    /// The answer that was offered meanwhile.
    pub fn offered(&self, key: &Key) -> Option<Arc<Record>> {
        self.published.lock().get(key).cloned().flatten()
    }

    /// The end of it.
    pub fn has_published(&self, key: &Key) {
        self.published.lock().remove(key);
    }

    /// Adds to what is published of an answer behind `offset`; returns what there is of it afterwards, which
    /// is something else if there was more or less than that.
    pub async fn publish(
        &self,
        key: &Key,
        token: &Token,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, Trouble> {
        let log = self.names.published(key, token);
        let append = self
            .engine
            .append_at(&log, offset, bytes, millis(PUBLISHED));
        self.timed(Operation::Publish, append).await
    }

    /// What has been published of an answer behind `offset`, and whether its lease still holds.
    pub async fn follow(
        &self,
        key: &Key,
        token: &Token,
        offset: u64,
    ) -> Result<(Bytes, bool), Trouble> {
        let (log, lease) = (self.names.published(key, token), self.names.lease(key));
        let range = self.engine.range_from(&log, offset, &lease);
        let (bytes, holder) = self.timed(Operation::Follow, range).await?;
        Ok((
            bytes,
            holder.is_some_and(|holder| *holder == *token.as_bytes()),
        ))
    }

    /// Says that somebody here follows what is published of an answer.
    pub async fn watch(&self, key: &Key, token: &Token, lasts: Duration) {
        let watched = self.names.watched(key, token);
        let set = self.engine.set(&watched, b"1", millis(lasts));
        // Unsaid, the leader may stop once its own clients have left.
        let _ = self.timed(Operation::Follow, set).await;
    }

    /// Whether somebody elsewhere follows what is published of an answer. If it cannot be known: yes.
    pub async fn is_watched(&self, key: &Key, token: &Token) -> bool {
        let watched = self.names.watched(key, token);
        let get = self.timed(Operation::Publish, self.engine.get(&watched));
        get.await.map_or(true, |value| value.is_some())
    }

    /// Keeps a lease. One that was lost, with the server's memory or because nobody could be reached, is
    /// taken again if nobody else has it; false if somebody does.
    pub async fn renew(&self, key: &Key, token: &Token) -> Result<bool, Trouble> {
        let lease = self.names.lease(key);
        let (token, ttl) = (token.as_bytes(), millis(LEASE));
        let renew = self.engine.lease_renew(&lease, token, ttl);
        if self.timed(Operation::Lease, renew).await? {
            return Ok(true);
        }
        self.metrics.shared.leases(LeaseResult::Lost).inc();
        let take = self.engine.lease_take(&lease, token, ttl);
        self.timed(Operation::Lease, take).await
    }

    /// Gives a lease back.
    pub async fn end_lease(&self, key: &Key, token: &Token) {
        let lease = self.names.lease(key);
        let end = self.engine.lease_end(&lease, token.as_bytes());
        // Otherwise it ends by itself.
        let _ = self.timed(Operation::Lease, end).await;
    }

    /// Whether a purge covers an answer that is on its way under a lease.
    pub fn has_purged(&self, token: &Token, key: &Key, about: &About) -> bool {
        // Of what age it is nobody knows: it may have been found.
        self.purges.cover(token.generation(), key, about, 0)
    }
}

//! Parts of answers that another replica got.

use std::sync::Arc;

use tokio::time::Instant;

use crate::cache::Cache;
use crate::key::Key;
use crate::store::record::Record;

impl Cache {
    /// What the shared tier has of these parts until then, made parts of this replica.
    pub async fn fetch_parts(&self, keys: &[Key], until: Instant) -> Vec<Option<Arc<Record>>> {
        let Some(shared) = self.store.shared() else {
            return Vec::new();
        };
        let generation = self.store.generation();
        let parts = shared.parts(keys, until).await.into_iter();
        parts.map(|part| self.take_in(part?, generation)).collect()
    }
}

//! Pingora's hit handler: a record in one piece.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_cache::CacheKey;
use pingora_cache::storage::{HandleHit, Storage};
use pingora_cache::trace::SpanHandle;
use pingora_core::Result;

use crate::store::record::Record;

/// Hands out a record's body once.
pub struct Replay {
    body: Option<Bytes>,
}

impl Replay {
    /// Replays `record` from its beginning.
    pub fn new(record: Arc<Record>) -> Replay {
        Replay {
            body: Some(record.body.clone()),
        }
    }
}

#[async_trait]
impl HandleHit for Replay {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        Ok(self.body.take())
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

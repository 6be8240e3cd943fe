//! `pingora_cache::Storage` over the tiers.

use std::any::Any;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora_cache::key::CacheHashKey;
use pingora_cache::storage::{
    HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType, Storage,
};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{CacheKey, CacheMeta};
use pingora_core::{Error, ErrorType, Result};

use super::record_miss::{RecordMiss, RecorderSlot};
use super::replay::Replay;
use super::{Cache, now_ms};
use crate::key::Key;
use crate::store::record::Record;

/// The pingora key of one of ours; `slot` marks the request of a fill and carries its recorder.
pub fn cache_key(key: &Key, slot: Option<RecorderSlot>) -> CacheKey {
    let mut cache_key = CacheKey::new(key.as_bytes().to_vec(), "");
    if let Some(half) = key.as_bytes().first_chunk::<16>() {
        cache_key.set_primary_bin_override(*half);
    }
    if let Some(slot) = slot {
        cache_key.extensions.insert(slot);
    }
    cache_key
}

#[async_trait]
impl Storage for Cache {
    /// A fill has been looked up before it was begun; to find an entry now would leave its
    /// followers without an answer.
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        if key.extensions.get::<RecorderSlot>().is_some() {
            return Ok(None);
        }
        let Some(key) = <[u8; 32]>::try_from(key.primary_key())
            .ok()
            .map(Key::from_bytes)
        else {
            return Ok(None);
        };
        let Some(record) = Cache::lookup(self, &key).await else {
            return Ok(None);
        };
        if !record.is_fresh(now_ms()) {
            return Ok(None);
        }
        let meta = meta_of(&record)?;
        Ok(Some((meta, Box::new(Replay::new(record)))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let slot = key.extensions.get::<RecorderSlot>();
        let Some(mut recorder) = slot.and_then(|slot| slot.lock().take()) else {
            return Error::e_explain(ErrorType::InternalError, "a fill without a recorder");
        };
        recorder.begin(meta.response_header());
        Ok(Box::new(RecordMiss::new(recorder)))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _purge_type: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        // Pingora names an entry by the first half of its key only, which is not enough to be sure.
        log::debug!(
            "purge of {} refused: half a key names no entry",
            target.key().primary()
        );
        Ok(PurgeOutcome::NotFound)
    }

    async fn update_meta(
        &'static self,
        _key: &CacheKey,
        _meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        // Answers are never revalidated: providers have no validators.
        Ok(false)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

fn meta_of(record: &Record) -> Result<CacheMeta> {
    let mut header = ResponseHeader::build_no_case(record.status, Some(record.headers.len() + 1))?;
    for (name, value) in &record.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    header.insert_header(http::header::CONTENT_LENGTH, record.body.len())?;
    let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    Ok(CacheMeta::new(
        at(record.expires_ms),
        at(record.stored_ms),
        0,
        0,
        header,
    ))
}

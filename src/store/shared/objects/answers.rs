//! From objects to answers, and back.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::super::client::trouble::Trouble;
use super::super::client::value;
use super::super::values::{self, BESIDE_BODY_MAX};
use super::super::writes::{Write, in_lanes};
use super::super::{Shared, now_ms};
use super::{OBJECT_BYTES_MAX, Objects};
use crate::key::Key;
use crate::metrics::objects::Operation;
use crate::store::Store;
use crate::store::record::Record;

/// Writes under way at once.
const WRITES_MAX: usize = 8;

impl Shared {
    /// The answer, if the bucket has it and it comes by then.
    pub async fn get_cold(&self, key: &Key, until: Instant) -> Option<Record> {
        self.look_cold(key, until).await.ok().flatten()
    }

    /// The same; an error if that cannot be known.
    pub async fn look_cold(&self, key: &Key, until: Instant) -> Result<Option<Record>, Trouble> {
        let Some(objects) = &self.objects else {
            return Ok(None);
        };
        // Nothing can be believed before the purges are known.
        self.purges.position().ok_or(Trouble::Unreachable)?;
        let Some(object) = objects.get(key, until).await? else {
            return Ok(None);
        };
        let (first, further) = value::split(&object);
        let bytes_max = self
            .options
            .answer_bytes_max
            .saturating_add(BESIDE_BODY_MAX);
        let checked = async {
            let header = value::header(&first, bytes_max).map_err(values::reason_of)?;
            self.checked(key, header, first, further).await
        };
        Ok(match checked.await {
            // A bucket's rule removes those that are over, some day.
            Ok(record) => record.is_fresh(now_ms()).then_some(record),
            Err(reason) => {
                self.metrics.objects.bad_values(reason).inc();
                let reason = reason.as_str();
                log::debug!("an object is no answer: {reason} key={key}");
                None
            }
        })
    }

    async fn put_cold(&self, objects: &Objects, record: &Arc<Record>) -> bool {
        let encoded = self.encoded(record).await;
        let Some(encoded) = encoded.filter(|encoded| encoded.bytes() <= OBJECT_BYTES_MAX) else {
            // Nothing that is older may come back in its place.
            objects.remove(&record.key).await;
            return false;
        };
        let put = objects.bucket.put(&record.key, encoded.in_one_piece());
        objects.timed(Operation::Put, put).await.is_ok()
    }
}

/// Writes to the bucket what is queued, for ever.
pub async fn write_all(shared: &'static Shared, store: &'static Store) {
    let Some(objects) = &shared.objects else {
        return;
    };
    // Whether it can be used is known, and logged, before anyone needs it.
    let nothing = Key::from_bytes([0; 32]);
    let _ = objects
        .timed(Operation::Get, objects.bucket.get(&nothing))
        .await;
    let Some(writes) = objects.queue.writes() else {
        return;
    };
    let (hand_out, lanes) = in_lanes(writes, WRITES_MAX);
    let lanes = lanes
        .into_iter()
        .map(|lane| write_lane(shared, store, objects, lane));
    join(hand_out, join_all(lanes)).await;
}

async fn write_lane(
    shared: &'static Shared,
    store: &'static Store,
    objects: &'static Objects,
    mut writes: Receiver<Write>,
) {
    while let Some(write) = writes.recv().await {
        match write {
            Write::Put(record) => {
                let purged = store.is_purged(&record);
                if !purged && !shared.put_cold(objects, &record).await {
                    shared.metrics.objects.writes_dropped.inc();
                }
                if !purged && store.is_purged(&record) {
                    // It came behind the removal, perhaps.
                    objects.remove(&record.key).await;
                }
                objects.queue.written(&record);
            }
            Write::Forget(key) => objects.remove(&key).await,
        }
    }
}

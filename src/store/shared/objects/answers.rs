//! From objects to answers, and back.

use std::sync::Arc;

use futures_util::StreamExt;

use super::super::client::value;
use super::super::values::{self, BESIDE_BODY_MAX};
use super::super::writes::Write;
use super::super::{Shared, now_ms};
use super::{OBJECT_BYTES_MAX, Objects};
use crate::key::Key;
use crate::metrics::objects::Operation;
use crate::store::Store;
use crate::store::record::Record;

/// Writes under way at once.
const WRITES_MAX: usize = 8;

impl Shared {
    /// The answer, if the bucket has it. Takes one deadline of the bucket's at most.
    pub async fn get_cold(&self, key: &Key) -> Option<Record> {
        let objects = self.objects.as_ref()?;
        // Nothing can be believed before the purges are known.
        self.purges.position()?;
        let object = objects.get(key).await?;
        let (first, further) = value::split(&object);
        let bytes_max = self
            .options
            .answer_bytes_max
            .saturating_add(BESIDE_BODY_MAX);
        let checked = async {
            let header = value::header(&first, bytes_max).map_err(values::reason_of)?;
            self.checked(key, header, first, further).await
        };
        match checked.await {
            // A bucket's rule removes those that are over, some day.
            Ok(record) => record.is_fresh(now_ms()).then_some(record),
            Err(reason) => {
                self.metrics.objects.bad_values(reason).inc();
                let reason = reason.as_str();
                log::debug!("an object is no answer: {reason} key={key}");
                None
            }
        }
    }

    async fn put_cold(&self, objects: &Objects, record: &Arc<Record>) -> bool {
        let Some(encoded) = self.encoded(record).await else {
            return false;
        };
        if encoded.bytes() > OBJECT_BYTES_MAX {
            return false;
        }
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
    writes
        .for_each_concurrent(WRITES_MAX, async |write| match write {
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
        })
        .await;
}

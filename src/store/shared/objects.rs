//! The bucket below the shared tier: cheap and slow, for answers that a server in memory has let go.
//!
//! What is written there is written behind, and who reads waits one deadline at most. Objects are the
//! values of the shared tier, in one piece: with a checksum, the whole key, and which purges of the fleet came
//! before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::client::breaker::{Breaker, State};
use super::client::trouble::Trouble;
use super::client::value;
use super::values::{self, BESIDE_BODY_MAX};
use super::writes::{Queue, Write};
use super::{Shared, now_ms, result_of};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::metrics::objects::Operation;
use crate::store::Store;
use crate::store::record::Record;
use bucket::Bucket;
pub use bucket::{BucketOptions, Credentials};

mod bucket;

/// The longest object: 32 reads of these are as much memory as there should be on its way.
const OBJECT_BYTES_MAX: usize = 8 << 20;
/// Reads under way at once: with 30 ms each a thousand a second.
const READS_MAX: usize = 32;
/// Writes under way at once.
const WRITES_MAX: usize = 8;
/// Of a message of the bucket, which may be a page.
const MESSAGE_MAX: usize = 300;

/// What the bucket is told.
#[derive(Clone)]
pub struct ObjectsOptions {
    /// Where it is, and who asks.
    pub bucket: BucketOptions,
    /// A read may take so long.
    pub deadline: Duration,
    /// What is fresh for a shorter time is not worth a request.
    pub ttl_min: Duration,
    /// Bytes of answers waiting to be written; beyond it they are not.
    pub write_queue_bytes_max: usize,
}

/// The bucket.
pub struct Objects {
    bucket: Arc<Bucket>,
    options: ObjectsOptions,
    breaker: Breaker,
    reads: Arc<Semaphore>,
    queue: Queue,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// Whether the bucket did what it was asked the last time, so that a change is logged once.
struct Health {
    /// 0: it was asked nothing yet; 1: it did; 2: it did not.
    last: AtomicU8,
    name: String,
}

impl Objects {
    /// Prepares the bucket; connects to nothing yet.
    pub fn new(
        options: ObjectsOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Objects, object_store::Error> {
        Ok(Objects {
            bucket: Arc::new(Bucket::new(&options.bucket, OBJECT_BYTES_MAX)?),
            breaker: Breaker::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            queue: Queue::new(options.write_queue_bytes_max),
            health: Arc::new(Health {
                last: AtomicU8::new(0),
                name: options.bucket.bucket.clone(),
            }),
            options,
            metrics,
        })
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Queues an answer that is to be fresh for long.
    pub fn offer(&self, record: Arc<Record>) {
        let left_ms = record.expires_ms.saturating_sub(now_ms());
        if Duration::from_millis(left_ms) >= self.options.ttl_min && !self.queue.put(record) {
            self.metrics.objects.writes_dropped.inc();
        }
    }

    /// Queues a removal.
    pub fn forget(&self, key: &Key) {
        if !self.queue.forget(*key) {
            self.metrics.objects.writes_dropped.inc();
        }
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        let metrics = &self.metrics.objects;
        metrics.queue_bytes.set(self.queue.bytes() as i64);
        metrics.breaker.set(match self.breaker.state() {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        });
    }

    /// What there is under a key. Takes one deadline at most.
    async fn get(&self, key: &Key) -> Option<Bytes> {
        let began = Instant::now();
        let outcome = self.read(*key).await;
        self.count(Operation::Get, began, &outcome);
        outcome.ok().flatten()
    }

    async fn read(&self, key: Key) -> Result<Option<Bytes>, Trouble> {
        let turn = self.reads.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Trouble::Busy)?;
        let pass = self.breaker.enter().ok_or(Trouble::Open)?;
        let (bucket, health) = (self.bucket.clone(), self.health.clone());
        // Beyond the deadline as well: what is late now leaves a connection for the next one, without
        // which none might ever be in time again.
        let read = tokio::spawn(async move {
            let _turn = turn;
            let read = bucket.get(&key).await;
            health.note(&read);
            read.map_err(|error| trouble_of(&error))
        });
        let outcome = match timeout(self.options.deadline, read).await {
            Ok(read) => read.unwrap_or(Err(Trouble::Unreachable)),
            Err(_) => Err(Trouble::Deadline),
        };
        match &outcome {
            Ok(_) => pass.good(),
            Err(_) => pass.bad(),
        }
        outcome
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, Trouble> {
        let began = Instant::now();
        let outcome = work.await;
        self.health.note(&outcome);
        let outcome = outcome.map_err(|error| trouble_of(&error));
        self.count(operation, began, &outcome);
        outcome
    }

    fn count<T>(&self, operation: Operation, began: Instant, outcome: &Result<T, Trouble>) {
        let metrics = &self.metrics.objects;
        let result = result_of(outcome);
        metrics.operations(operation, result).inc();
        if outcome.is_ok() {
            let secs = began.elapsed().as_secs_f64();
            metrics.operation_seconds(operation).observe(secs);
        }
    }
}

impl Health {
    fn note<T>(&self, outcome: &Result<T, object_store::Error>) {
        let now = if outcome.is_ok() { 1 } else { 2 };
        if self.last.swap(now, Relaxed) == now {
            return;
        }
        let name = &self.name;
        match outcome {
            Ok(_) => log::info!("the bucket {name} is used"),
            Err(error) => log::warn!(
                "the bucket {name} cannot be used for the moment: {}",
                in_short(error)
            ),
        }
    }
}

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
                objects.queue.written(&record);
            }
            Write::Forget(key) => {
                let delete = objects.bucket.delete(&key);
                // What stays is replaced by the next answer, or goes by the bucket's rule.
                let _ = objects.timed(Operation::Delete, delete).await;
            }
        })
        .await;
}

fn trouble_of(error: &object_store::Error) -> Trouble {
    use object_store::Error;
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Trouble::Refused(in_short(error))
        }
        _ => Trouble::Unreachable,
    }
}

/// What is at the bottom of it, in one line that a log can bear.
fn in_short(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = words.char_indices().nth(MESSAGE_MAX) {
        words.truncate(at);
        words.push('…');
    }
    words
}

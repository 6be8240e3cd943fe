//! The bucket below the shared tier: cheap and slow, for answers that a server in memory has let go.
//!
//! What is written there is written behind, and who reads waits one deadline at most. Objects are the
//! values of the shared tier, in one piece: with a checksum, the whole key, and which purges of the fleet came
//! before them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::client::breaker::{Breaker, State};
use super::client::tls;
use super::client::trouble::Trouble;
use super::writes::Queue;
use super::{now_ms, result_of};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::metrics::objects::Operation;
use crate::store::record::Record;
pub use answers::write_all;
use bucket::Bucket;
pub use bucket::{BucketOptions, Credentials};
use health::{Health, trouble_of};

mod answers;
mod bucket;
mod connector;
mod health;

/// The longest object: 32 reads of these are as much memory as there should be on its way.
const OBJECT_BYTES_MAX: usize = 8 << 20;
/// Reads under way at once: with 30 ms each a thousand a second. More wait for their turn, within the deadline.
const READS_MAX: usize = 32;

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

/// Why there is no bucket. All of these are the configuration's fault; a service is not needed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// What it is told does not fit together.
    #[error(transparent)]
    Bucket(#[from] object_store::Error),
    /// These are none.
    #[error("ca_file: {0}")]
    Authorities(std::io::Error),
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

impl Objects {
    /// Prepares the bucket; connects to nothing yet.
    pub fn new(options: ObjectsOptions, metrics: Arc<Metrics>) -> Result<Objects, ObjectsError> {
        if let Some(authorities) = &options.bucket.ca_file {
            // The connector is not as careful.
            tls::roots(Some(authorities)).map_err(ObjectsError::Authorities)?;
        }
        Ok(Objects {
            bucket: Arc::new(Bucket::new(&options.bucket, OBJECT_BYTES_MAX)?),
            breaker: Breaker::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            queue: Queue::new(options.write_queue_bytes_max),
            health: Arc::new(Health::of(&options.bucket.bucket)),
            options,
            metrics,
        })
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Queues an answer that is to be fresh for long. `replaces`: there may be an older one, which must not come
    /// back once this one, not being written, is over.
    pub fn offer(&self, record: Arc<Record>, replaces: bool) {
        let left_ms = record.expires_ms.saturating_sub(now_ms());
        if Duration::from_millis(left_ms) < self.options.ttl_min {
            if replaces {
                self.forget(&record.key);
            }
        } else if !self.queue.put(record) {
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

    /// Removes an object. What stays is replaced by the next answer, or goes by the bucket's rule.
    async fn remove(&self, key: &Key) {
        let delete = self.bucket.delete(key);
        let _ = self.timed(Operation::Delete, delete).await;
    }

    /// Until when who begins to look now waits.
    pub fn until(&self) -> Instant {
        Instant::now() + self.options.deadline
    }

    /// What there is under a key, if it comes by then.
    async fn get(&self, key: &Key, until: Instant) -> Result<Option<Bytes>, Trouble> {
        let began = Instant::now();
        let outcome = self.read(*key, until).await;
        self.count(Operation::Get, began, &outcome);
        outcome
    }

    async fn read(&self, key: Key, deadline: Instant) -> Result<Option<Bytes>, Trouble> {
        let pass = self.breaker.enter().ok_or(Trouble::Open)?;
        // Without one in time the pass says nothing: it was not asked.
        let turn = timeout_at(deadline, self.reads.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Trouble::Busy);
        };
        let (bucket, health) = (self.bucket.clone(), self.health.clone());
        // Beyond the deadline as well: what is late now leaves a connection for the next one, without
        // which none might ever be in time again.
        let read = tokio::spawn(async move {
            let _turn = turn;
            let read = bucket.get(&key).await;
            health.note(Operation::Get, &read);
            read.map_err(|error| trouble_of(&error))
        });
        let outcome = match timeout_at(deadline, read).await {
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
        self.health.note(operation, &outcome);
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

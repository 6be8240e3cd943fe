//! The shared tier: answers on a Redis-protocol server, below memory and disk of many replicas.
//!
//! It is a tier and no dependency: whatever goes wrong with it is a miss within one deadline, and hits of
//! the other tiers never ask it. Values are records like those on disk, in an envelope that says which
//! purges of the fleet came before them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use super::Store;
use super::now_ms;
use super::purge::Covers;
use super::record::Record;
use crate::key::Key;
use crate::metrics::Metrics;
use crate::metrics::shared::{Operation, OperationResult};
pub use claims::Found;
use client::engine::Engine;
use client::options::{EngineError, Options};
use client::trouble::Trouble;
use client::value::{self, Encoded};
use names::Names;
pub use names::Token;
use objects::{Objects, ObjectsError, ObjectsOptions};
pub use place::Place;
use purges::{FleetPurges, UnderWay};

mod claims;
pub mod client;
mod fills;
mod names;
pub mod objects;
mod parts;
mod place;
mod purges;
mod step;
mod values;
mod writes;

/// A write waits this long for a purge of this replica to be known to the fleet.
const BEHIND_MAX: Duration = Duration::from_millis(500);
/// Chunks beside the first at most: of more than these 4 MiB not all would come within a deadline, and they
/// would hold up what else is asked of the server.
const FURTHER_MAX: usize = 7;
/// A lease lives for this long unless it is renewed: a leader that died is missed after so long.
pub const LEASE: Duration = Duration::from_secs(2);

/// What the shared tier is told.
#[derive(Clone)]
pub struct SharedOptions {
    /// Where the servers are, and how to speak to them.
    pub client: Options,
    /// What every key begins with.
    pub prefix: String,
    /// Whether a question is asked once by the whole fleet.
    pub single_flight: bool,
    /// Bytes of answers waiting to be written; beyond it they are not.
    pub write_queue_bytes_max: usize,
    /// The longest answer.
    pub answer_bytes_max: usize,
    /// The bucket for cold answers, if there is one.
    pub objects: Option<ObjectsOptions>,
}

/// Why the tier cannot be as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Its servers.
    #[error("shared: {0}")]
    Engine(#[from] EngineError),
    /// The bucket.
    #[error("objects: {0}")]
    Objects(#[from] ObjectsError),
}

/// The shared tier.
pub struct Shared {
    engine: Engine,
    names: Names,
    options: SharedOptions,
    purges: FleetPurges,
    /// When the purges of the fleet were last looked at.
    stepped_at: Mutex<tokio::time::Instant>,
    /// There is something to tell the fleet.
    untold: Notify,
    queue: writes::Queue,
    parts_turns: Semaphore,
    objects: Option<Objects>,
    /// Answers that whoever publishes them writes himself.
    published: Mutex<HashMap<Key, Option<Arc<Record>>>>,
    runtime: OnceLock<Handle>,
    purges_known: AtomicBool,
    /// Purges of the fleet are carried out, or told to it, that the disk does not know of.
    arrived: Notify,
    began_ms: u64,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// Prepares the tier; connects to nothing yet.
    pub fn new(options: SharedOptions, metrics: Arc<Metrics>) -> Result<Shared, SharedError> {
        let objects = options.objects.clone();
        let objects = objects.map(|objects| Objects::new(objects, metrics.clone()));
        Ok(Shared {
            objects: objects.transpose()?,
            engine: Engine::new(&options.client)?,
            names: Names::new(&options.prefix),
            purges: FleetPurges::default(),
            stepped_at: Mutex::new(tokio::time::Instant::now()),
            untold: Notify::new(),
            queue: writes::Queue::new(options.write_queue_bytes_max),
            parts_turns: Semaphore::new(parts::LOOKS_MAX),
            published: Mutex::default(),
            runtime: OnceLock::new(),
            purges_known: AtomicBool::new(false),
            arrived: Notify::new(),
            began_ms: now_ms(),
            options,
            metrics,
        })
    }

    /// Connects, keeps in step with the fleet's purges and writes what is offered, for as long as the
    /// runtime lives that this is called on.
    pub fn start(&'static self, store: &'static Store) {
        self.engine.start();
        // It is started once.
        let _ = self.runtime.set(Handle::current());
        // What could not be told before a restart.
        for covers in store.untold() {
            self.purges.tell(covers);
        }
        tokio::spawn(step::keep_in_step(self, store));
        tokio::spawn(step::write_down(self, store));
        tokio::spawn(writes::write_all(self, store));
        tokio::spawn(objects::write_all(self, store));
    }

    /// Whether the purges that this replica has missed are known. Until then nothing is believed that was
    /// stored before its start.
    pub fn purges_known(&self) -> bool {
        self.purges_known.load(Relaxed)
    }

    /// Whether a record may have been purged while this replica was down.
    pub fn distrusts(&self, record: &Record) -> bool {
        record.stored_ms < self.began_ms && !self.purges_known()
    }

    /// Queues an answer to be written, unless whoever publishes it does that.
    pub fn offer(&self, record: Arc<Record>) {
        let mut published = self.published.lock();
        match published.get_mut(&record.key) {
            Some(offered) => *offered = Some(record),
            None => {
                drop(published);
                if !self.queue.put(record) {
                    self.drops_write();
                }
            }
        }
    }

    /// The bucket for cold answers, if there is one.
    pub fn objects(&self) -> Option<&Objects> {
        self.objects.as_ref()
    }

    /// Queues a removal.
    pub fn forget(&self, key: &Key) {
        if !self.queue.forget(*key) {
            self.drops_write();
        }
        if let Some(objects) = &self.objects {
            objects.forget(key);
        }
    }

    /// Writes an answer, to be found until it is no longer fresh. False if it could not be written.
    pub async fn put(&self, record: &Arc<Record>) -> bool {
        let left_ms = record.expires_ms.saturating_sub(now_ms());
        if left_ms == 0 {
            return true;
        }
        let encoded = self.encoded(record).await;
        let Some(encoded) = encoded.filter(|encoded| encoded.further.len() <= FURTHER_MAX) else {
            return false;
        };
        let main = self.names.main(&record.key);
        for (nth, chunk) in (1..).zip(&encoded.further) {
            let chunk_key = value::chunk_key(&main, nth);
            let set = self.engine.set(&chunk_key, chunk, left_ms);
            if self.timed(Operation::Put, set).await.is_err() {
                return false;
            }
        }
        let set = self.engine.set(&main, &encoded.main, left_ms);
        self.timed(Operation::Put, set).await.is_ok()
    }

    /// An answer as it is stored, with the purges of the fleet that came before it. `None` if these are not
    /// known.
    async fn encoded(&self, record: &Arc<Record>) -> Option<Encoded> {
        let deadline = Instant::now() + BEHIND_MAX;
        let waits = || self.purges.is_behind(record.generation) && self.is_connected();
        while waits() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let generation = self.purges.generation_of(record.generation)?;
        writes::encode(record, generation).await
    }

    /// Removes an answer.
    async fn remove(&self, key: &Key) {
        let keys = [self.names.main(key)];
        let delete = self.engine.delete(&keys);
        // What stays is no answer, or replaced, and goes by itself.
        let _ = self.timed(Operation::Put, delete).await;
    }

    /// Counts an answer that was not written.
    pub fn drops_write(&self) {
        self.metrics.shared.writes_dropped.inc();
    }

    /// Runs a task beside the engine.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            runtime.spawn(task);
        }
    }

    /// To be held while a purge is carried out and until the fleet is told of it.
    pub fn under_way(&self, covers: &Covers) -> UnderWay<'_> {
        self.purges.under_way(covers)
    }

    /// Tells the fleet of a purge, as soon as it can be reached.
    pub fn tell(&self, covers: Covers) {
        self.purges.tell(covers);
        self.untold.notify_one();
    }

    /// Where this replica is in the fleet's log of purges.
    pub fn place(&self) -> Option<Place> {
        self.purges.place()
    }

    /// Purges that the fleet has not been told of yet.
    pub fn untold(&self) -> Vec<Covers> {
        self.purges.untold()
    }

    /// Whether there are purges that the fleet has not been told of yet.
    pub fn has_untold(&self) -> bool {
        self.purges.has_untold()
    }

    /// Whether a server can be reached at the moment.
    pub fn is_connected(&self) -> bool {
        self.engine.health().connected > 0
    }

    /// Waits until all is written and told that is to be, for a while. What is left then is counted.
    pub async fn settle(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let for_bucket = || self.objects.as_ref().map_or(0, Objects::queued_bytes);
        let settled = || {
            let published = self.published.lock().is_empty();
            let shared = published && self.queue.bytes() == 0 && !self.has_untold();
            (shared || !self.is_connected()) && for_bucket() == 0
        };
        while !settled() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.has_untold() {
            log::error!("the fleet has not been told of all purges; it is after the next start");
        }
        let left = [
            (self.queue.bytes(), "shared"),
            (for_bucket(), "put into the bucket"),
        ];
        for (bytes, done) in left.into_iter().filter(|(bytes, _)| *bytes > 0) {
            log::warn!("{bytes} bytes of answers are not {done} any more");
        }
    }

    /// Until when a request that begins to ask the tier now waits for it, however much it asks.
    pub fn until(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.options.client.deadline
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        let health = self.engine.health();
        let metrics = &self.metrics.shared;
        metrics.breaker.set(health.breaker as i64);
        metrics.servers.set(health.servers as i64);
        metrics.servers_connected.set(health.connected as i64);
        metrics.queue_bytes.set(self.queue.bytes() as i64);
        metrics.purges_known.set(i64::from(self.purges_known()));
        if let Some(objects) = &self.objects {
            objects.observe();
        }
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let began = Instant::now();
        let outcome = work.await;
        let metrics = &self.metrics.shared;
        let result = result_of(&outcome);
        metrics.operations(operation, result).inc();
        if outcome.is_ok() {
            let secs = began.elapsed().as_secs_f64();
            metrics.operation_seconds(operation).observe(secs);
        }
        outcome
    }
}

fn result_of<T>(outcome: &Result<T, Trouble>) -> OperationResult {
    match outcome {
        Ok(_) => OperationResult::Ok,
        Err(Trouble::Deadline) => OperationResult::Deadline,
        Err(Trouble::Unreachable) => OperationResult::Unreachable,
        Err(Trouble::Busy) => OperationResult::Busy,
        Err(Trouble::Open) => OperationResult::Open,
        Err(Trouble::Refused(_)) => OperationResult::Refused,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

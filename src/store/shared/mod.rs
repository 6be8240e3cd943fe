//! The shared tier: answers on a Redis-protocol server, below memory and disk of many replicas.
//!
//! It is a tier and no dependency: whatever goes wrong with it is a miss within one deadline, and hits of
//! the other tiers never ask it. Values are records like those on disk, in an envelope that says which
//! purges of the fleet came before them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Store;
use super::now_ms;
use super::purge::Covers;
use super::record::{Record, RecordError};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::metrics::shared::{BadValue, LeaseResult, Operation, OperationResult};
use client::engine::{Claimed, Engine};
use client::options::{EngineError, Options};
use client::trouble::Trouble;
use client::value::{self, ValueError};
use names::Names;
pub use names::Token;
use purges::FleetPurges;

pub mod client;
mod names;
mod purges;
mod step;
mod writes;

/// A lease lives for this long unless it is renewed: a leader that died is missed after so long.
pub const LEASE: Duration = Duration::from_secs(2);
/// What is published of an answer stays for this long after the last of it.
const PUBLISHED: Duration = Duration::from_secs(30);
/// Beside a body: its headers, its chunk table, its names.
const BESIDE_BODY_MAX: usize = 1 << 20;

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
}

/// The shared tier.
pub struct Shared {
    engine: Engine,
    names: Names,
    options: SharedOptions,
    purges: FleetPurges,
    queue: writes::Queue,
    /// Answers that whoever publishes them writes himself.
    published: Mutex<HashSet<Key>>,
    runtime: OnceLock<Handle>,
    purges_known: AtomicBool,
    /// The disk knows how far the purges of the fleet are carried out.
    written_down: AtomicBool,
    began_ms: u64,
    metrics: Arc<Metrics>,
}

/// What there is for a question.
pub enum Found {
    /// An answer.
    Answer(Box<Record>),
    /// Nothing, and the lease is taken: this replica asks.
    Lease(Token),
    /// Nothing yet: the replica with this lease asks.
    Elsewhere(Token),
    /// Nothing, or no telling.
    Nothing,
}

impl Shared {
    /// Prepares the tier; connects to nothing yet.
    pub fn new(options: SharedOptions, metrics: Arc<Metrics>) -> Result<Shared, EngineError> {
        Ok(Shared {
            engine: Engine::new(&options.client)?,
            names: Names::new(&options.prefix),
            purges: FleetPurges::default(),
            queue: writes::Queue::new(options.write_queue_bytes_max),
            published: Mutex::default(),
            runtime: OnceLock::new(),
            purges_known: AtomicBool::new(false),
            written_down: AtomicBool::new(false),
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
        tokio::spawn(step::keep_in_step(self, store));
        tokio::spawn(writes::write_all(self, store));
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

    /// What there is for a question: an answer, or else the lease to ask it, if `ask` says so. `local`: the
    /// generation of this replica. Takes one deadline at most.
    pub async fn claim(&self, key: &Key, ask: bool, local: u64) -> Found {
        let Some(generation) = self.purges.generation_of(local) else {
            return Found::Nothing;
        };
        let deadline = self.options.client.deadline;
        let found = match ask && self.options.single_flight {
            true => timeout(deadline, self.claim_or_value(key, generation)).await,
            false => timeout(deadline, self.value(key)).await,
        };
        found.unwrap_or(Found::Nothing)
    }

    async fn claim_or_value(&self, key: &Key, generation: u64) -> Found {
        let Some(token) = Token::new(generation) else {
            return Found::Nothing;
        };
        let (main, lease) = (self.names.main(key), self.names.lease(key));
        let claim = self
            .engine
            .claim(&main, &lease, token.as_bytes(), millis(LEASE));
        let leases = |result| self.metrics.shared.leases(result).inc();
        match self.timed(Operation::Claim, claim).await {
            Ok(Claimed::Value(value)) => self.found(key, &main, value).await,
            Ok(Claimed::Taken) => {
                leases(LeaseResult::Taken);
                Found::Lease(token)
            }
            Ok(Claimed::Held(held)) => match Token::read(&held) {
                Some(token) => {
                    leases(LeaseResult::Elsewhere);
                    Found::Elsewhere(token)
                }
                None => {
                    self.bad(key, BadValue::Foreign);
                    Found::Nothing
                }
            },
            Err(Trouble::Refused(why)) => {
                // A key of another type, most likely.
                log::debug!("the shared tier refuses a claim: {why} key={key}");
                self.bad(key, BadValue::Foreign);
                Found::Nothing
            }
            Err(_) => Found::Nothing,
        }
    }

    async fn value(&self, key: &Key) -> Found {
        let main = self.names.main(key);
        match self.timed(Operation::Get, self.engine.get(&main)).await {
            Ok(Some(value)) => self.found(key, &main, value).await,
            Ok(None) => Found::Nothing,
            Err(Trouble::Refused(_)) => {
                self.bad(key, BadValue::Foreign);
                Found::Nothing
            }
            Err(_) => Found::Nothing,
        }
    }

    /// Reads a value and what belongs to it.
    async fn found(&self, key: &Key, main: &[u8], value: Bytes) -> Found {
        match self.read(key, main, &value).await {
            Ok(Some(record)) => Found::Answer(Box::new(record)),
            Ok(None) => Found::Nothing,
            Err(reason) => {
                self.bad(key, reason);
                Found::Nothing
            }
        }
    }

    async fn read(&self, key: &Key, main: &[u8], first: &[u8]) -> Result<Option<Record>, BadValue> {
        let bytes_max = self
            .options
            .answer_bytes_max
            .saturating_add(BESIDE_BODY_MAX);
        let header = value::header(first, bytes_max).map_err(reason_of)?;
        let further: Vec<Vec<u8>> = (1..header.chunks)
            .map(|nth| value::chunk_key(main, nth))
            .collect();
        let mut chunks = Vec::new();
        if !further.is_empty() {
            let get = self.engine.get_many(&further);
            let Ok(found) = self.timed(Operation::Get, get).await else {
                return Ok(None);
            };
            // One may have gone before the others.
            let Some(all) = found.into_iter().collect::<Option<Vec<Bytes>>>() else {
                return Ok(None);
            };
            chunks = all;
        }
        let (header, raw) = value::decode(first, &chunks, bytes_max).map_err(reason_of)?;
        let record = Record::decode_for(key, &raw).map_err(|error| match error {
            RecordError::Version(_) => BadValue::Version,
            RecordError::Key => BadValue::Key,
            _ => BadValue::Damaged,
        })?;
        let Record {
            about, stored_ms, ..
        } = &record;
        match self.purges.cover(header.generation, key, about, *stored_ms) {
            true => Err(BadValue::Purged),
            false => Ok(Some(record)),
        }
    }

    /// Counts what is no answer, and removes it: it would cost every replica its lease.
    fn bad(&self, key: &Key, reason: BadValue) {
        self.metrics.shared.bad_values(reason).inc();
        log::debug!(
            "a value of the shared tier is no answer: {} key={key}",
            reason.as_str()
        );
        self.queue.forget(*key, &self.metrics);
    }

    /// Queues an answer to be written, unless whoever publishes it does that.
    pub fn offer(&self, record: Arc<Record>) {
        if !self.published.lock().contains(&record.key) {
            self.queue.put(record, &self.metrics);
        }
    }

    /// Queues a removal.
    pub fn forget(&self, key: &Key) {
        self.queue.forget(*key, &self.metrics);
    }

    /// Writes an answer, to be found until it is no longer fresh. False if it could not be written.
    pub async fn put(&self, record: &Arc<Record>) -> bool {
        let left_ms = record.expires_ms.saturating_sub(now_ms());
        let Some(generation) = self.purges.generation_of(record.generation) else {
            return false;
        };
        if left_ms == 0 {
            return true;
        }
        let Some(encoded) = writes::encode(record, generation).await else {
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

    /// Removes an answer.
    async fn remove(&self, key: &Key) {
        let keys = [self.names.main(key)];
        let delete = self.engine.delete(&keys);
        // What stays is no answer, or replaced, and goes by itself.
        let _ = self.timed(Operation::Put, delete).await;
    }

    /// Says that an answer is being published, and that its writing is up to whoever does it.
    pub fn publishes(&self, key: Key) {
        self.published.lock().insert(key);
    }

    /// The end of it.
    pub fn has_published(&self, key: &Key) {
        self.published.lock().remove(key);
    }

    /// Adds to what is published of an answer; returns its length afterwards.
    pub async fn publish(&self, key: &Key, token: &Token, bytes: &[u8]) -> Result<u64, Trouble> {
        let log = self.names.published(key, token);
        let append = self.engine.append(&log, bytes, millis(PUBLISHED));
        self.timed(Operation::Publish, append).await
    }

    /// Takes back what is published of an answer, to begin anew.
    pub async fn unpublish(&self, key: &Key, token: &Token) -> Result<(), Trouble> {
        let keys = [self.names.published(key, token)];
        let delete = self.engine.delete(&keys);
        self.timed(Operation::Publish, delete).await.map(drop)
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
    pub fn has_purged(&self, token: &Token, key: &Key, about: &super::about::About) -> bool {
        self.purges.cover(token.generation(), key, about, u64::MAX)
    }

    /// Tells the fleet of a purge, as soon as it can be reached.
    pub fn tell(&self, covers: Covers) {
        self.purges.tell(covers);
    }

    /// Whether there are purges that the fleet has not been told of yet.
    pub fn has_untold(&self) -> bool {
        self.purges.has_untold()
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
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let began = Instant::now();
        let outcome = work.await;
        let result = match &outcome {
            Ok(_) => OperationResult::Ok,
            Err(Trouble::Deadline) => OperationResult::Deadline,
            Err(Trouble::Unreachable) => OperationResult::Unreachable,
            Err(Trouble::Busy) => OperationResult::Busy,
            Err(Trouble::Open) => OperationResult::Open,
            Err(Trouble::Refused(_)) => OperationResult::Refused,
        };
        let metrics = &self.metrics.shared;
        metrics.operations(operation, result).inc();
        if outcome.is_ok() {
            let secs = began.elapsed().as_secs_f64();
            metrics.operation_seconds(operation).observe(secs);
        }
        outcome
    }
}

fn reason_of(error: ValueError) -> BadValue {
    match error {
        ValueError::Foreign => BadValue::Foreign,
        ValueError::Version(_) => BadValue::Version,
        ValueError::Damaged => BadValue::Damaged,
        ValueError::TooLarge(_) => BadValue::TooLarge,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

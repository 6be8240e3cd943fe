//! The one writer: a thread with a queue bounded by bytes and count that drops rather than waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::disk::Disk;
use super::now_ms;
use super::record::Record;
use crate::key::Key;
use crate::metrics::{DropReason, Metrics};

/// Commands waiting at most; the byte limit is the one that matters for large answers.
const QUEUE_LEN_MAX: usize = 16 * 1024;
/// A batch is written once it is this large, or once the queue is empty.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_LEN: usize = 512;
/// Superseded keys that are remembered, 32 bytes each.
const SUPERSEDED_MAX: usize = 64 * 1024;
/// How often the size of the files is compared with the bound.
const SIZE_CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often blob files may be rewritten to get back under the bound.
const RECLAIM_EVERY: Duration = Duration::from_secs(60);

enum Command {
    Put(Arc<Record>),
    Delete(Key),
    Stop,
}

/// Handle of the writer thread.
pub struct Writer {
    queue: SyncSender<Command>,
    shared: Arc<Shared>,
    bytes_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// Queued and not yet on disk; read by look-ups, so that a dropped hot entry is still a hit.
    pending: Mutex<HashMap<Key, Arc<Record>>>,
    /// Keys with an answer that could not be written, and when that was stored. Whatever is older
    /// must not come back when the answer leaves the memory: not from the disk, where it is deleted
    /// at the next opportunity, and not from the queue.
    superseded: Mutex<HashMap<Key, u64>>,
    disk: Arc<Disk>,
    queued_bytes: AtomicUsize,
    closed: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(
        disk: Arc<Disk>,
        bytes_max: usize,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Writer> {
        let (queue, commands) = sync_channel(QUEUE_LEN_MAX);
        let shared = Arc::new(Shared {
            pending: Mutex::new(HashMap::new()),
            superseded: Mutex::new(HashMap::new()),
            disk: disk.clone(),
            queued_bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            metrics,
        });
        let mut work = Work {
            disk,
            shared: shared.clone(),
            full: false,
            failing: false,
            size_checked: Instant::now(),
            reclaimed: None,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || work.run(&commands))?;
        Ok(Writer {
            queue,
            shared,
            bytes_max,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a record. A full queue drops it, which is counted.
    pub fn put(&self, record: Arc<Record>) {
        let weight = record.weight();
        let queued = self.shared.queued_bytes.fetch_add(weight, Relaxed) + weight;
        if queued > self.bytes_max || self.shared.closed.load(Relaxed) {
            self.shared.queued_bytes.fetch_sub(weight, Relaxed);
            self.shared.supersede([(record.key, record.stored_ms)]);
            self.shared
                .metrics
                .store_writes_dropped(DropReason::QueueFull)
                .inc();
            return;
        }
        self.shared
            .pending
            .lock()
            .insert(record.key, record.clone());
        if self.queue.try_send(Command::Put(record.clone())).is_err() {
            self.shared.forget(&record);
            self.shared.supersede([(record.key, record.stored_ms)]);
            self.shared
                .metrics
                .store_writes_dropped(DropReason::QueueFull)
                .inc();
        }
    }

    /// Queues a deletion. With a full queue the entry stays on disk and is not used.
    pub fn delete(&self, key: Key) {
        self.shared.pending.lock().remove(&key);
        if self.queue.try_send(Command::Delete(key)).is_err() {
            self.shared.supersede([(key, now_ms())]);
        }
    }

    /// Queues a deletion of what is on disk, unless a newer record waits to be written.
    pub fn delete_damaged(&self, key: Key) {
        if self.pending(&key).is_none() {
            let _ = self.queue.try_send(Command::Delete(key));
        }
    }

    /// Whether what the disk has for this key is older than an answer that could not be written.
    pub fn is_superseded(&self, key: &Key) -> bool {
        self.shared.superseded.lock().contains_key(key)
    }

    /// A record that waits to be written.
    pub fn pending(&self, key: &Key) -> Option<Arc<Record>> {
        self.shared.pending.lock().get(key).cloned()
    }

    /// Bytes waiting to be written.
    pub fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Relaxed)
    }

    /// Writes what is queued and ends the thread. Blocks.
    pub fn close(&self) {
        self.shared.closed.store(true, Relaxed);
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        // Blocks while the queue is full, which ends because the thread keeps taking from it.
        let _ = self.queue.send(Command::Stop);
        if thread.join().is_err() {
            log::error!("the store's writer thread ended by a panic");
        }
    }
}

impl Shared {
    /// Notes that these keys have an answer, stored at that time, which could not be written.
    fn supersede(&self, answers: impl IntoIterator<Item = (Key, u64)>) {
        for (key, stored_ms) in answers {
            let mut superseded = self.superseded.lock();
            let newest = superseded.entry(key).or_default();
            *newest = stored_ms.max(*newest);
            if superseded.len() > SUPERSEDED_MAX {
                // Too many to remember each: nothing stored until now is believed any more.
                superseded.clear();
                self.disk.distrust(now_ms());
            }
            drop(superseded);
            let mut pending = self.pending.lock();
            if pending.get(&key).is_some_and(|p| p.stored_ms <= stored_ms) {
                pending.remove(&key);
            }
        }
    }

    fn forget(&self, record: &Arc<Record>) {
        self.queued_bytes.fetch_sub(record.weight(), Relaxed);
        let mut pending = self.pending.lock();
        if pending
            .get(&record.key)
            .is_some_and(|p| Arc::ptr_eq(p, record))
        {
            pending.remove(&record.key);
        }
    }
}

/// What the thread knows.
struct Work {
    disk: Arc<Disk>,
    shared: Arc<Shared>,
    full: bool,
    failing: bool,
    size_checked: Instant,
    reclaimed: Option<Instant>,
}

impl Work {
    fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            let Ok(first) = commands.recv() else { return };
            let mut batch = Batch::default();
            let mut open = batch.take(first);
            while open && !batch.is_full() {
                match commands.try_recv() {
                    Ok(command) => open = batch.take(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => open = false,
                }
            }
            let idle = batch.taken.is_empty() && batch.deletes.is_empty();
            if !idle || !self.shared.superseded.lock().is_empty() {
                self.write(&batch);
            }
            if !open {
                return;
            }
        }
    }

    fn write(&mut self, batch: &Batch) {
        let metrics = &self.shared.metrics;
        let superseded = self.shared.superseded.lock().clone();
        let is_newest = |record: &Record| {
            superseded
                .get(&record.key)
                .is_none_or(|at| *at < record.stored_ms)
        };
        let newest = || batch.puts.values().filter(|record| is_newest(record));
        let mut deletes: HashSet<Key> = superseded.keys().copied().collect();
        deletes.extend(&batch.deletes);
        let count = newest().count() as u64;
        let written = if self.full {
            // What cannot be replaced must go: it is out of date.
            deletes.extend(batch.puts.keys());
            self.disk.write([].into_iter(), deletes.iter())
        } else {
            for record in newest() {
                deletes.remove(&record.key);
            }
            self.disk.write(newest(), deletes.iter())
        };
        match &written {
            Ok(()) => {
                // What was superseded once more meanwhile has another time now.
                let mut now_superseded = self.shared.superseded.lock();
                now_superseded.retain(|key, at| superseded.get(key) != Some(at));
                drop(now_superseded);
                if self.full {
                    metrics
                        .store_writes_dropped(DropReason::DiskFull)
                        .inc_by(count);
                } else {
                    metrics.store_writes.inc_by(count);
                }
                if std::mem::take(&mut self.failing) {
                    log::warn!("the disk tier takes writes again");
                }
            }
            Err(e) => {
                self.shared
                    .supersede(batch.puts.values().map(|r| (r.key, r.stored_ms)));
                metrics
                    .store_writes_dropped(DropReason::Error)
                    .inc_by(count);
                if !std::mem::replace(&mut self.failing, true) {
                    log::error!("the disk tier cannot write, answers are kept in memory only: {e}");
                }
            }
        }
        for record in &batch.taken {
            self.shared.forget(record);
        }
        self.keep_bound();
    }

    /// Evicts when the bound is near, and stops writing while the files are beyond it.
    fn keep_bound(&mut self) {
        loop {
            match self.disk.evict() {
                Ok(0) => break,
                Ok(count) => self.shared.metrics.store_evictions.inc_by(count),
                Err(e) => {
                    log::warn!("the disk tier cannot evict: {e}");
                    break;
                }
            }
        }
        if self.size_checked.elapsed() < SIZE_CHECK_EVERY {
            return;
        }
        self.size_checked = Instant::now();
        self.full = self.disk.is_full();
        if self.full && self.reclaimed.is_none_or(|at| at.elapsed() > RECLAIM_EVERY) {
            log::warn!("the disk tier has reached store.disk_bytes_max, reclaiming space");
            self.reclaimed = Some(Instant::now());
            let disk = self.disk.clone();
            // On a thread nobody waits for: it takes long, and closing the database ends it.
            let _ = std::thread::Builder::new()
                .name("store-reclaim".into())
                .spawn(move || disk.reclaim());
        }
    }
}

/// What is written together. Of several commands for one key the last one counts.
#[derive(Default)]
struct Batch {
    puts: HashMap<Key, Arc<Record>>,
    deletes: HashSet<Key>,
    /// Every record taken from the queue, to be released once the batch is through.
    taken: Vec<Arc<Record>>,
    bytes: usize,
}

impl Batch {
    /// Takes a command in; false if it was the last one.
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Put(record) => {
                self.deletes.remove(&record.key);
                self.bytes += record.weight();
                self.taken.push(record.clone());
                self.puts.insert(record.key, record);
            }
            Command::Delete(key) => {
                self.puts.remove(&key);
                self.deletes.insert(key);
            }
            Command::Stop => return false,
        }
        true
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.taken.len() + self.deletes.len() >= BATCH_LEN
    }
}

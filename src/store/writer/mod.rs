//! The one writer: a thread with a queue bounded by bytes and count that drops rather than waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::disk::{Disk, Probe};
use super::now_ms;
use super::record::Record;
use crate::key::Key;
use crate::metrics::{DropReason, Metrics};
use batch::Command;
use work::Work;

mod batch;
mod work;

/// Commands waiting at most; the byte limit is the one that matters for large answers.
const QUEUE_LEN_MAX: usize = 16 * 1024;
/// Superseded keys that are remembered, 40 bytes each.
const SUPERSEDED_MAX: usize = 64 * 1024;

/// Handle of the writer thread.
pub struct Writer {
    queue: SyncSender<Command>,
    shared: Arc<Shared>,
    bytes_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and its handle both use.
struct Shared {
    /// Queued and not yet on disk; read by look-ups, so that a dropped hot entry is still a hit.
    pending: Mutex<HashMap<Key, Arc<Record>>>,
    /// Keys with an answer that could not be written, and when that was stored. Whatever is older
    /// must not come back when the answer leaves the memory: not from the disk, where it is deleted
    /// at the next opportunity, and not from the queue.
    superseded: Mutex<HashMap<Key, u64>>,
    disk: Arc<Disk>,
    queued_bytes: AtomicUsize,
    /// Commands in the queue or being carried out.
    queued: AtomicUsize,
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
            queued: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            metrics,
        });
        let mut work = Work::new(disk, shared.clone());
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
        if !self.send(Command::Put(record.clone())) {
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
        if !self.send(Command::Delete(key)) {
            self.shared.supersede([(key, now_ms())]);
        }
    }

    /// Queues a deletion of what is on disk, unless a newer record waits to be written.
    pub fn delete_damaged(&self, key: Key) {
        if self.pending(&key).is_none() {
            self.send(Command::Delete(key));
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

    /// Answers and removals that have not been carried out.
    pub fn queued(&self) -> usize {
        self.shared.queued.load(Relaxed)
    }

    /// False if the queue is full.
    fn send(&self, command: Command) -> bool {
        // Before it is there to be taken, so that the count never falls below zero.
        self.shared.queued.fetch_add(1, Relaxed);
        let sent = self.queue.try_send(command).is_ok();
        if !sent {
            self.shared.queued.fetch_sub(1, Relaxed);
        }
        sent
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
            let mut pending = self.pending.lock();
            if pending.get(&key).is_some_and(|p| p.stored_ms <= stored_ms) {
                pending.remove(&key);
            }
            drop(pending);
            // Most answers are new: then there is nothing that could come back.
            let queued = self.queued_bytes.load(Relaxed) > 0;
            if !queued && self.disk.is_open() && matches!(self.disk.probe(&key), Probe::Absent) {
                continue;
            }
            let mut superseded = self.superseded.lock();
            let newest = superseded.entry(key).or_default();
            *newest = stored_ms.max(*newest);
            if superseded.len() > SUPERSEDED_MAX {
                // Too many to remember each: nothing stored until now is believed any more.
                superseded.clear();
                self.disk.distrust(now_ms());
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

//! What is to be written to the server: one queue, bounded by bytes and by count, that drops rather than
//! waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Shared;
use super::client::value::{self, Encoded, ID_LEN};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::record::Record;

/// Writes waiting at most; the byte limit is the one that matters for large answers.
const QUEUE_LEN_MAX: usize = 16 * 1024;
/// Writes under way at once: with answers of some milliseconds each more than a server takes.
const WRITES_MAX: usize = 8;
/// Chunks beside the first at most: of more than these 4 MiB not all would come within a deadline, and they
/// would hold up what else is asked of the server.
const FURTHER_MAX: usize = 7;
/// Longer answers are compressed off the thread that speaks to servers.
const IN_PLACE_MAX: usize = 64 * 1024;

enum Write {
    Put(Arc<Record>),
    Forget(Key),
}

/// The queue.
pub struct Queue {
    sender: Sender<Write>,
    receiver: Mutex<Option<Receiver<Write>>>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Queue {
    /// For answers of so many bytes in all.
    pub fn new(bytes_max: usize) -> Queue {
        let (sender, receiver) = channel(QUEUE_LEN_MAX);
        Queue {
            sender,
            receiver: Mutex::new(Some(receiver)),
            bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether half of it or more is taken.
    pub fn is_half_full(&self) -> bool {
        self.bytes() > self.bytes_max / 2 || self.sender.capacity() < QUEUE_LEN_MAX / 2
    }

    /// Queues an answer; drops it, which is counted, if there is no room.
    pub fn put(&self, record: Arc<Record>, metrics: &Metrics) {
        let weight = record.weight();
        let queued = self.bytes.fetch_add(weight, Relaxed) + weight;
        if queued > self.bytes_max || self.sender.try_send(Write::Put(record)).is_err() {
            self.bytes.fetch_sub(weight, Relaxed);
            metrics.shared.writes_dropped.inc();
        }
    }

    /// Queues a removal. Dropped, what should go stays until it ends by itself.
    pub fn forget(&self, key: Key, metrics: &Metrics) {
        if self.sender.try_send(Write::Forget(key)).is_err() {
            metrics.shared.writes_dropped.inc();
        }
    }
}

/// Writes what is queued, for ever.
pub async fn write_all(shared: &'static Shared, store: &'static Store) {
    let Some(receiver) = shared.queue.receiver.lock().take() else {
        return;
    };
    let writes = stream::unfold(receiver, async |mut receiver| {
        let write = receiver.recv().await?;
        Some((write, receiver))
    });
    writes
        .for_each_concurrent(WRITES_MAX, async |write| match write {
            Write::Put(record) => {
                let purged = store.is_purged(&record);
                if !purged && !shared.put(&record).await {
                    shared.metrics.shared.writes_dropped.inc();
                }
                shared.queue.bytes.fetch_sub(record.weight(), Relaxed);
            }
            Write::Forget(key) => shared.remove(&key).await,
        })
        .await;
}

/// An answer as it is stored. `None` if it is too long, even compressed.
pub async fn encode(record: &Arc<Record>, generation: u64) -> Option<Encoded> {
    let mut id = [0; ID_LEN];
    getrandom::fill(&mut id).ok()?;
    let encoded = if record.body.len() <= IN_PLACE_MAX {
        value::encode(&record.encode(), generation, id)
    } else {
        let record = record.clone();
        let work = move || value::encode(&record.encode(), generation, id);
        tokio::task::spawn_blocking(work).await.ok()?
    };
    encoded
        .ok()
        .filter(|encoded| encoded.further.len() <= FURTHER_MAX)
}

//! What is to be written to the server: one queue, bounded by bytes and by count, that drops rather than
//! waits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use futures_util::stream::{self, Stream};
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Shared;
use super::client::value::{self, Encoded, ID_LEN};
use crate::key::Key;
use crate::store::Store;
use crate::store::record::Record;

/// Writes waiting at most; the byte limit is the one that matters for large answers.
const QUEUE_LEN_MAX: usize = 16 * 1024;
/// Writes under way at once: with answers of some milliseconds each more than a server takes.
const WRITES_MAX: usize = 8;
/// Writes that wait behind others of keys that go the same way; their bytes count as queued.
const LANE_LEN: usize = 1024;
/// Longer answers are compressed off the thread that speaks to servers.
const IN_PLACE_MAX: usize = 64 * 1024;

/// What is to be written.
pub enum Write {
    /// An answer.
    Put(Arc<Record>),
    /// That there is none.
    Forget(Key),
}

impl Write {
    fn key(&self) -> &Key {
        match self {
            Write::Put(record) => &record.key,
            Write::Forget(key) => key,
        }
    }
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

    /// Queues an answer. False if there is no room: then it is dropped.
    pub fn put(&self, record: Arc<Record>) -> bool {
        let weight = record.weight();
        let queued = self.bytes.fetch_add(weight, Relaxed) + weight;
        let fits = queued <= self.bytes_max && self.sender.try_send(Write::Put(record)).is_ok();
        if !fits {
            self.bytes.fetch_sub(weight, Relaxed);
        }
        fits
    }

    /// Queues a removal. False if there is no room: then what should go stays until it ends by itself.
    pub fn forget(&self, key: Key) -> bool {
        self.sender.try_send(Write::Forget(key)).is_ok()
    }

    /// What is queued, as it comes. `None` for everyone but the first who asks.
    pub fn writes(&self) -> Option<impl Stream<Item = Write>> {
        let receiver = self.receiver.lock().take()?;
        Some(stream::unfold(receiver, async |mut receiver| {
            let write = receiver.recv().await?;
            Some((write, receiver))
        }))
    }

    /// To be said of each answer that was taken out, once it needs its memory no more.
    pub fn written(&self, record: &Record) {
        self.bytes.fetch_sub(record.weight(), Relaxed);
    }
}

/// Writes what is queued, for ever.
pub async fn write_all(shared: &'static Shared, store: &'static Store) {
    let Some(writes) = shared.queue.writes() else {
        return;
    };
    let (hand_out, lanes) = in_lanes(writes, WRITES_MAX);
    let lanes = lanes
        .into_iter()
        .map(|lane| write_lane(shared, store, lane));
    join(hand_out, join_all(lanes)).await;
}

async fn write_lane(shared: &'static Shared, store: &'static Store, mut writes: Receiver<Write>) {
    while let Some(write) = writes.recv().await {
        match write {
            Write::Put(record) => {
                let purged = store.is_purged(&record);
                if !purged && !shared.put(&record).await {
                    shared.drops_write();
                }
                shared.queue.written(&record);
            }
            Write::Forget(key) => shared.remove(&key).await,
        }
    }
}

/// Hands writes out to so many lanes, those of one key to the same: the last one is to stay.
pub fn in_lanes(
    writes: impl Stream<Item = Write>,
    lanes: usize,
) -> (impl Future<Output = ()>, Vec<Receiver<Write>>) {
    let lanes = (0..lanes.max(1)).map(|_| channel(LANE_LEN));
    let (senders, receivers): (Vec<Sender<Write>>, Vec<Receiver<Write>>) = lanes.unzip();
    let hand_out = async move {
        let mut writes = pin!(writes);
        while let Some(write) = writes.next().await {
            // Digests are spread evenly.
            let first = write.key().as_bytes().first().copied().unwrap_or_default();
            if let Some(sender) = senders.get(usize::from(first) % senders.len()) {
                // Who receives lives as long as this.
                let _ = sender.send(write).await;
            }
        }
    };
    (hand_out, receivers)
}

/// An answer as it is stored. `None` if it is too long for that.
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
    encoded.ok()
}

//! Reads that may have to wait for the disk, off the proxy's threads.
//!
//! Most of them are answered from the system's page cache in microseconds, less than it takes to wake a
//! thread. So one reader serves all that wait, and others come to its help only where it does not get on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::disk::Disk;
use super::record::{Record, RecordError};
use crate::key::Key;
use crate::metrics::Metrics;

/// Readers at once. More only queue up inside the device.
const READERS_MAX: usize = 64;
/// Look-ups that wait for a reader; further ones are misses. A reader gets through them in milliseconds
/// unless the disk is slow, and then most would be given up all the same.
const WAITING_MAX: usize = 4096;
/// A look-up that is not answered for this long gets another reader to help.
const ALONE_MAX: Duration = Duration::from_millis(5);
/// A look-up that the disk does not answer for this long is a miss: by then the upstream may have.
const READ_MAX: Duration = Duration::from_secs(1);

/// What a read comes to: `None` if there is nothing, or if the disk does not say.
type Found = Option<Result<Record, RecordError>>;

/// Reads from one disk. Clones share it.
#[derive(Clone)]
pub struct Reads(Arc<Shared>);

/// What reads a record. Blocks.
type Source = Box<dyn Fn(&Key) -> Result<Option<Vec<u8>>, rocksdb::Error> + Send + Sync>;

struct Shared {
    source: Source,
    queue: Mutex<Queue>,
    /// The last read that was waited for did not come back in time.
    hangs: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Read>,
    readers: usize,
}

struct Read {
    key: Key,
    reply: oneshot::Sender<Found>,
}

impl Reads {
    /// Reads from `disk`.
    pub fn new(disk: Arc<Disk>, metrics: Arc<Metrics>) -> Reads {
        Reads::from(Box::new(move |key| disk.read(key)), metrics)
    }

    fn from(source: Source, metrics: Arc<Metrics>) -> Reads {
        Reads(Arc::new(Shared {
            source,
            queue: Mutex::default(),
            hangs: AtomicBool::new(false),
            metrics,
        }))
    }

    /// Reads a record, for at most [`READ_MAX`]. While the disk hangs, one look-up waits for it and nobody
    /// else.
    pub async fn read(&self, key: Key) -> Found {
        let (reply, mut found) = oneshot::channel();
        if !self.ask(Read { key, reply }) {
            self.0.metrics.store_reads_skipped.inc();
            return None;
        }
        if let Ok(found) = timeout(ALONE_MAX, &mut found).await {
            return found.ok().flatten();
        }
        self.help();
        match timeout(READ_MAX - ALONE_MAX, found).await {
            Ok(found) => found.ok().flatten(),
            Err(_) => {
                self.0.hangs.store(true, Relaxed);
                self.0.metrics.store_reads_skipped.inc();
                None
            }
        }
    }

    /// False if it is not worth waiting.
    fn ask(&self, read: Read) -> bool {
        let mut queue = self.0.queue.lock();
        let hangs = queue.readers > 0 && self.0.hangs.load(Relaxed);
        if hangs || queue.waiting.len() >= WAITING_MAX {
            return false;
        }
        queue.waiting.push_back(read);
        let alone = queue.readers == 0;
        queue.readers += usize::from(alone);
        drop(queue);
        if alone {
            self.begin();
        }
        true
    }

    /// Adds a reader, if there is anything for it to do.
    fn help(&self) {
        let mut queue = self.0.queue.lock();
        let wanted = !queue.waiting.is_empty() && queue.readers < READERS_MAX;
        queue.readers += usize::from(wanted);
        drop(queue);
        if wanted {
            self.begin();
        }
    }

    /// Starts a reader that has been counted. Not under the lock: one that cannot be started takes it.
    fn begin(&self) {
        let reader = Reader {
            shared: self.0.clone(),
            counted: true,
        };
        tokio::task::spawn_blocking(move || reader.serve());
    }
}

/// One of those who read, until nothing waits any more.
struct Reader {
    shared: Arc<Shared>,
    counted: bool,
}

impl Reader {
    fn serve(mut self) {
        while let Some(read) = self.next() {
            // Nobody waits any more for some that were queued.
            if !read.reply.is_closed() {
                let found = self.shared.read(&read.key);
                let _ = read.reply.send(found);
            }
        }
    }

    /// The longest waiting look-up. Who finds none leaves at once, so that the next one begins a reader.
    fn next(&mut self) -> Option<Read> {
        let mut queue = self.shared.queue.lock();
        let read = queue.waiting.pop_front();
        if read.is_none() {
            queue.readers -= 1;
            self.counted = false;
        }
        read
    }
}

impl Drop for Reader {
    /// Only for one that could not be started or did not get to its end. If it was the last, those who
    /// wait are let go: misses.
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        let mut queue = self.shared.queue.lock();
        queue.readers -= 1;
        let left = match queue.readers {
            0 => std::mem::take(&mut queue.waiting),
            _ => VecDeque::new(),
        };
        drop(queue);
        drop(left);
    }
}

impl Shared {
    fn read(&self, key: &Key) -> Found {
        let began = Instant::now();
        let found = (self.source)(key);
        self.hangs.store(false, Relaxed);
        self.metrics
            .store_read_seconds
            .observe(began.elapsed().as_secs_f64());
        match found {
            Ok(bytes) => bytes.map(|bytes| Record::decode_for(key, &bytes)),
            Err(error) => {
                self.metrics.store_read_errors.inc();
                log::debug!("the disk tier cannot read an entry: {error} key={key}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::AtomicUsize;

    fn reads(source: impl Fn() + Send + Sync + 'static) -> Reads {
        let source: Source = Box::new(move |_| {
            source();
            Ok(Some(b"no record".to_vec()))
        });
        Reads::from(source, Arc::new(Metrics::new().unwrap()))
    }

    fn key(n: usize) -> Key {
        Key::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    #[tokio::test]
    async fn a_quick_disk_has_one_reader_and_everyone_is_answered() {
        let under_way = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (now, max) = (under_way.clone(), most.clone());
        let reads = reads(move || {
            max.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
            now.fetch_sub(1, Relaxed);
        });
        for _ in 0..20 {
            let found = join_all((0..100).map(|n| reads.read(key(n)))).await;
            assert!(found.iter().all(|found| matches!(found, Some(Err(_)))));
        }
        // Another one may have helped if this machine was busy elsewhere, and no crowd.
        assert!(most.load(Relaxed) < 10, "{most:?}");
        assert_eq!(reads.0.queue.lock().waiting.len(), 0);
    }

    /// Fifty reads that each take until all fifty are under way.
    #[tokio::test]
    async fn a_slow_disk_is_read_by_many_at_once() {
        let together = Arc::new(std::sync::Barrier::new(50));
        let reads = reads(move || {
            together.wait();
        });
        let found = join_all((0..50).map(|n| reads.read(key(n)))).await;
        assert!(found.iter().all(|found| matches!(found, Some(Err(_)))));
        assert_eq!(reads.0.metrics.store_reads_skipped.get(), 0);
    }

    /// A reader that ends before its time lets go of those who wait, and the next look-up has a new one.
    #[tokio::test]
    async fn a_reader_that_fails_costs_misses_and_nothing_more() {
        let fails = AtomicBool::new(true);
        let reads = reads(move || assert!(!fails.swap(false, Relaxed), "this reader fails"));
        let found = join_all((0..20).map(|n| reads.read(key(n)))).await;
        // Those who came after its end were answered by the next one.
        assert!(found.iter().any(Option::is_none));
        // One that is asked while the reader still ends may be let go with it; not all are.
        while reads.read(key(1)).await.is_none() {}
        assert_eq!(reads.0.queue.lock().waiting.len(), 0);
    }

    /// One waits for a disk that hangs, nobody waits for that one, and all is well once it answers.
    #[tokio::test]
    async fn nobody_waits_for_a_disk_that_hangs() {
        let answers = Arc::new(AtomicBool::new(false));
        let disk = answers.clone();
        let reads = reads(move || {
            while !disk.load(Relaxed) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        assert!(reads.read(key(1)).await.is_none());
        let began = Instant::now();
        assert!(reads.read(key(2)).await.is_none());
        assert!(began.elapsed() < READ_MAX / 2);
        assert_eq!(reads.0.metrics.store_reads_skipped.get(), 2);
        answers.store(true, Relaxed);
        while reads.0.queue.lock().readers > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(reads.read(key(3)).await.is_some());
    }
}

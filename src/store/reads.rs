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

struct Shared {
    disk: Arc<Disk>,
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
        Reads(Arc::new(Shared {
            disk,
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
        if queue.readers == 0 {
            self.begin(&mut queue);
        }
        true
    }

    /// Adds a reader, if there is anything for it to do.
    fn help(&self) {
        let mut queue = self.0.queue.lock();
        if !queue.waiting.is_empty() && queue.readers < READERS_MAX {
            self.begin(&mut queue);
        }
    }

    fn begin(&self, queue: &mut Queue) {
        queue.readers += 1;
        let reader = Reader(self.0.clone());
        tokio::task::spawn_blocking(move || reader.serve());
    }
}

/// One of those who read. It leaves when nothing waits any more, however it ends.
struct Reader(Arc<Shared>);

impl Reader {
    fn serve(self) {
        while let Some(read) = self.next() {
            // Nobody waits any more for some that were queued.
            if !read.reply.is_closed() {
                let found = self.0.read(&read.key);
                let _ = read.reply.send(found);
            }
        }
    }

    /// The longest waiting look-up. The reader counts until it has seen that there is none.
    fn next(&self) -> Option<Read> {
        self.0.queue.lock().waiting.pop_front()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.readers -= 1;
        // What came since it looked for the last time must not wait for the next look-up.
        if queue.readers == 0 && !queue.waiting.is_empty() {
            Reads(self.0.clone()).begin(&mut queue);
        }
    }
}

impl Shared {
    fn read(&self, key: &Key) -> Found {
        let began = Instant::now();
        let found = self.disk.read(key);
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

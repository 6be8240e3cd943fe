//! The store under test, in a directory that is gone afterwards, fed no faster than it writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use llm_cache_server::config::Durability;
use llm_cache_server::metrics::{Metrics, Tier};
use llm_cache_server::store::record::Record;
use llm_cache_server::store::{Store, StoreOptions};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::content::key;
use crate::system::pause;

/// Records in the writer's queue that are never reached, so that its bound of count is not either.
const QUEUED_MAX: u64 = 4096;

#[derive(Clone, Debug, clap::Args)]
pub struct BedArgs {
    /// `store.memory_bytes_max`
    #[arg(long, default_value = "64MiB")]
    pub memory: ByteSize,
    /// `store.write_queue_bytes_max`
    #[arg(long, default_value = "64MiB")]
    pub queue: ByteSize,
    /// Waits while more than half the queue is taken; without it a queue that is full drops writes
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub pace: bool,
    /// Where to make the directory; a disk and not a tmpfs
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub dir: PathBuf,
    /// At which level the store compresses, for the sizes that are computed
    #[arg(long, default_value_t = 3)]
    pub zstd_level: i32,
}

pub struct Bed {
    options: StoreOptions,
    metrics: Arc<Metrics>,
    /// `None` between closing and opening.
    store: Option<Arc<Store>>,
    runtime: Runtime,
    pace: Option<Pace>,
    /// Time spent waiting for the writer.
    pub waited: Duration,
    /// Removed when this is dropped.
    _dir: TempDir,
}

/// What may have been queued since it was last looked.
struct Pace {
    queue_bytes: u64,
    since_bytes: u64,
    since_count: u64,
}

impl Bed {
    pub fn open(args: &BedArgs, disk_bytes_max: u64) -> Bed {
        std::fs::create_dir_all(&args.dir).unwrap();
        let dir = tempfile::tempdir_in(&args.dir).unwrap();
        let options = StoreOptions {
            path: dir.path().join("store"),
            memory_bytes_max: args.memory.0 as usize,
            disk_bytes_max,
            write_queue_bytes_max: args.queue.0 as usize,
            durability: Durability::Process,
            pinned: Vec::new(),
            stale_max: Duration::ZERO,
            on_disk: true,
            shared: None,
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let store = Store::open(&options, metrics.clone()).unwrap();
        Bed {
            options,
            metrics,
            store: Some(Arc::new(store)),
            runtime: Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            pace: args.pace.then_some(Pace {
                queue_bytes: args.queue.0,
                since_bytes: 0,
                since_count: 0,
            }),
            waited: Duration::ZERO,
            _dir: dir,
        }
    }

    pub fn path(&self) -> &Path {
        &self.options.path
    }

    pub fn store(&self) -> &Arc<Store> {
        self.store.as_ref().expect("it is open")
    }

    pub fn get(&self, id: u64) -> Option<(Arc<Record>, Tier)> {
        self.runtime.block_on(self.store().get(&key(id)))
    }

    /// Stores a record as one whose upstream is asked now.
    pub fn put(&mut self, mut record: Record) {
        let weight = record.weight() as u64;
        record.generation = self.store().generation();
        self.store().put(Arc::new(record));
        let Some(pace) = &mut self.pace else { return };
        pace.since_bytes += weight;
        pace.since_count += 1;
        // In small records the writer's bound of count is nearer than the one of bytes.
        let per_record = pace.since_bytes / pace.since_count;
        let half = (pace.queue_bytes / 2).min(QUEUED_MAX * per_record);
        if pace.since_bytes > half / 2 || pace.since_count > QUEUED_MAX {
            pace.since_bytes = 0;
            pace.since_count = 0;
            self.wait_queued(half);
        }
    }

    /// Waits until everything is written.
    pub fn drain(&mut self) {
        self.wait_queued(0);
    }

    fn wait_queued(&mut self, bytes_max: u64) {
        let start = Instant::now();
        while self.queued_bytes() > bytes_max {
            pause(Duration::from_millis(1));
        }
        self.waited += start.elapsed();
    }

    /// Closes the store.
    pub fn close(&mut self) {
        let store = self.store.take().expect("it is open");
        store.close();
    }

    /// Opens it again and says how long that took.
    pub fn reopen(&mut self) -> Duration {
        let start = Instant::now();
        let store = Store::open(&self.options, self.metrics.clone()).unwrap();
        let took = start.elapsed();
        self.store = Some(Arc::new(store));
        took
    }

    fn queued_bytes(&self) -> u64 {
        self.store().observe();
        self.metrics.store_write_queue_bytes.get() as u64
    }

    pub fn entries_on_disk(&self) -> u64 {
        self.store().observe();
        self.metrics.store_entries(Tier::Disk).get() as u64
    }

    /// Every series of a metric with a value that is not zero: its labels, and the value. By name
    /// and not by method, so that a label that is added later is seen.
    pub fn counted(&self, name: &str) -> Vec<(String, u64)> {
        let text = self.metrics.render().unwrap();
        let help = format!("# HELP llm_cache_{name} ");
        assert!(text.contains(&help), "there is no metric {name}");
        let series = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("llm_cache_")?.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let labels = match labels.strip_prefix('{') {
                Some(labels) => labels.trim_end_matches('}'),
                None if labels.is_empty() => "",
                None => return None,
            };
            Some((labels.to_owned(), value.parse::<f64>().ok()? as u64))
        });
        series.filter(|(_, value)| *value > 0).collect()
    }

    /// The same as text: `12 (reason="error")`.
    pub fn counted_text(&self, name: &str) -> String {
        let series = self.counted(name);
        let texts = series.iter().map(|(labels, value)| match labels.as_str() {
            "" => value.to_string(),
            labels => format!("{value} ({labels})"),
        });
        match series.is_empty() {
            true => "0".to_owned(),
            false => texts.collect::<Vec<_>>().join(", "),
        }
    }
}

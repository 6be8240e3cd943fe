//! What the system says of this process and of a directory, and latencies without a list of them.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Resident memory is settled if it moved by less than a per cent for so long.
const SETTLED_SECS: u32 = 4;
const SETTLE_SECS_MAX: u32 = 20;

/// Bytes allocated below a directory, itself included, as `du` counts them: blocks and not
/// lengths, and a file with several names once.
pub fn disk_usage(path: &Path) -> u64 {
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        // A file that is deleted meanwhile takes nothing.
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if seen.insert((meta.dev(), meta.ino())) {
            bytes += meta.blocks() * 512;
        }
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten();
            paths.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    bytes
}

/// Resident memory of this process, now and at its peak. The page cache is not in it, unless
/// files are mapped.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub peak: u64,
}

impl Memory {
    pub fn now() -> Memory {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        };
        Memory {
            resident: field("VmRSS:"),
            peak: field("VmHWM:"),
        }
    }

    /// Begins the peak anew.
    pub fn reset_peak() {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}

/// Bytes this process has written so far: to files and the like, and of these to storage.
pub fn written() -> (u64, u64) {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let field = |name: &str| {
        let value = io.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
    };
    (field("wchar:"), field("write_bytes:"))
}

/// Time this thread has been on a CPU: others that run beside it do not count.
pub fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Empties the page cache of the whole system; only root may.
pub fn drop_page_cache() {
    if let Err(e) = std::fs::write("/proc/sys/vm/drop_caches", "3") {
        println!("the page cache stays as it is: {e}");
    }
}

/// Waits without being woken by anybody.
pub fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// Waits until the allocator has given back what nobody uses, which jemalloc does over ten seconds.
pub fn settle() {
    let (mut before, mut still) = (Memory::now().resident, 0);
    for _ in 0..SETTLE_SECS_MAX {
        pause(Duration::from_secs(1));
        let now = Memory::now().resident;
        still = match now.abs_diff(before) * 100 < before {
            true => still + 1,
            false => 0,
        };
        before = now;
        if still == SETTLED_SECS {
            return;
        }
    }
}

/// Looks at a directory and the memory from time to time.
pub struct Sampler {
    stop: SyncSender<()>,
    thread: JoinHandle<Samples>,
}

/// What it saw.
#[derive(Default)]
pub struct Samples {
    pub disk_bytes: Vec<u64>,
    pub resident_max: u64,
}

impl Sampler {
    pub fn start(path: PathBuf, every: Duration) -> Sampler {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let mut samples = Samples::default();
            loop {
                let last = stopped.recv_timeout(every);
                samples.disk_bytes.push(disk_usage(&path));
                samples.resident_max = samples.resident_max.max(Memory::now().resident);
                if last != Err(RecvTimeoutError::Timeout) {
                    return samples;
                }
            }
        });
        Sampler { stop, thread }
    }

    pub fn stop(self) -> Samples {
        let _ = self.stop.send(());
        self.thread.join().expect("the sampler does not panic")
    }
}

/// Steps between two powers of two: 3 % of precision.
const STEPS_LOG2: u32 = 5;

/// A histogram of times, 16 KiB whatever their number.
pub struct Latencies {
    counts: Vec<u64>,
    count: u64,
}

impl Latencies {
    pub fn new() -> Latencies {
        Latencies {
            counts: vec![0; 64 << STEPS_LOG2],
            count: 0,
        }
    }

    pub fn add(&mut self, time: Duration) {
        let nanos = (time.as_nanos() as u64).max(1 << STEPS_LOG2);
        let power = nanos.ilog2();
        let step = (nanos >> (power - STEPS_LOG2)) as usize & ((1 << STEPS_LOG2) - 1);
        self.counts[((power as usize) << STEPS_LOG2) + step] += 1;
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time that this share of the times does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut left = (self.count as f64 * share).ceil() as u64;
        for (at, count) in self.counts.iter().enumerate() {
            if *count >= left && left > 0 {
                let (power, step) = (at >> STEPS_LOG2, at & ((1 << STEPS_LOG2) - 1));
                let nanos = ((1 << STEPS_LOG2) + step as u64) << (power as u32 - STEPS_LOG2);
                return Duration::from_nanos(nanos);
            }
            left -= count;
        }
        Duration::ZERO
    }

    /// Median and 99th percentile, as the tables have them.
    pub fn p50_p99(&self) -> String {
        if self.count == 0 {
            return "none".to_owned();
        }
        let quantile = |share| crate::table::time(self.quantile(share));
        format!("{} / {}", quantile(0.5), quantile(0.99))
    }
}

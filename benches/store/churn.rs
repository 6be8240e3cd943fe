//! Several times the bound is put while others read: does the directory stay in its bound, and
//! are the right entries kept?

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use llm_cache_server::metrics::Tier;

use crate::bed::{Bed, BedArgs};
use crate::content::{Content, Maker, Sizes};
use crate::policies::{Fifo, Lru, Policy, S3Fifo};
use crate::system::{Latencies, Sampler, Samples, written};
use crate::table::{Table, bytes, percent, time};
use crate::trace::Trace;

/// What the directory may take, per bound.
const OVER_BOUND_MAX: f64 = 1.05;
/// How many points of hit ratio the store may be behind the exact LRU.
const BEHIND_LRU_MAX: f64 = 0.03;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// `store.disk_bytes_max`
    #[arg(long, default_value = "256MiB")]
    bound: ByteSize,
    /// Puts until this many times the bound was put, by size on disk
    #[arg(long, default_value_t = 5.0)]
    times: f64,
    /// `4KB`, or `lognormal:MEDIAN:SIGMA`
    #[arg(long, default_value = "lognormal:4KB:1.0")]
    body: Sizes,
    /// What is in the bodies
    #[arg(long, value_enum, default_value = "mixed")]
    content: Content,
    /// Zipf exponent of the reads
    #[arg(long, default_value_t = 0.9)]
    skew: f64,
    /// Share of requests for keys that are asked for once
    #[arg(long, default_value_t = 0.1)]
    scan: f64,
    /// Number of other keys; four times as many as fit when not given
    #[arg(long)]
    keys: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the directory is looked at
    #[arg(long, default_value = "1s")]
    every: humantime::Duration,
    /// Only computes what LRU, FIFO and S3-FIFO would do
    #[arg(long)]
    simulate_only: bool,
    #[command(flatten)]
    bed: BedArgs,
}

/// How far the run goes.
#[derive(Clone, Copy)]
struct Extent {
    /// Requests until the bound was put once: hits count from here on.
    warm: u64,
    requests: u64,
}

pub fn run(args: &Args) {
    let maker = Maker::new(args.body, args.content, args.bed.zstd_level);
    let mean = maker.stored_bytes_mean();
    let keys = args.keys.unwrap_or(4 * args.bound.0 / mean.max(1)).max(1);
    let trace = Trace::new(args.seed, keys, args.skew, args.scan);
    println!(
        "Bound {}, memory {}, bodies {:?} {:?}, {} on disk on average; {keys} keys with skew {} and \
         {} of requests for keys asked for once; {} × the bound put, paced: {}.",
        bytes(args.bound.0),
        bytes(args.bed.memory.0),
        args.body,
        args.content,
        bytes(mean),
        args.skew,
        percent(args.scan),
        args.times,
        args.bed.pace,
    );
    let (store, extent) = if args.simulate_only {
        (None, extent_of_lru(args, &maker, trace.clone()))
    } else {
        let (hit_ratio, extent) = measure(args, &maker, trace.clone());
        (Some(hit_ratio), extent)
    };
    compare(args, &maker, trace, extent, store);
}

/// What a run saw.
struct Seen {
    warm: Option<u64>,
    requests: u64,
    hits_warm: u64,
    puts: u64,
    put_bytes: u64,
    wrong: u64,
    memory: Latencies,
    disk: Latencies,
    miss: Latencies,
}

/// Runs the store and prints what it took; its hit ratio, and how long the run was.
fn measure(args: &Args, maker: &Maker, mut trace: Trace) -> (f64, Extent) {
    let mut bed = Bed::open(&args.bed, args.bound.0);
    let sampler = Sampler::start(bed.path().to_owned(), *args.every);
    let (before, start) = (written(), Instant::now());
    let mut seen = Seen {
        warm: None,
        requests: 0,
        hits_warm: 0,
        puts: 0,
        put_bytes: 0,
        wrong: 0,
        memory: Latencies::new(),
        disk: Latencies::new(),
        miss: Latencies::new(),
    };
    while (seen.put_bytes as f64) < args.bound.0 as f64 * args.times {
        request(&mut bed, maker, trace.next(), &mut seen);
        if seen.warm.is_none() && seen.put_bytes >= args.bound.0 {
            seen.warm = Some(seen.requests);
        }
    }
    bed.drain();
    let took = start.elapsed();
    let samples = sampler.stop();
    let after = written();
    print_run(args, &bed, &seen, &samples, took);
    println!(
        "Bytes written per byte put, dropped ones included: {:.2} in system calls, {:.2} to storage.",
        (after.0 - before.0) as f64 / seen.put_bytes as f64,
        (after.1 - before.1) as f64 / seen.put_bytes as f64,
    );
    bed.close();
    let warm = seen.warm.unwrap_or(0);
    let extent = Extent {
        warm,
        requests: seen.requests,
    };
    let counted = (seen.requests - warm).max(1);
    (seen.hits_warm as f64 / counted as f64, extent)
}

fn request(bed: &mut Bed, maker: &Maker, id: u64, seen: &mut Seen) {
    let start = Instant::now();
    let found = bed.get(id);
    let took = start.elapsed();
    seen.requests += 1;
    match found {
        Some((record, tier)) => {
            seen.hits_warm += u64::from(seen.warm.is_some());
            seen.wrong += u64::from(!maker.is_body(id, &record.body));
            match tier {
                Tier::Memory => seen.memory.add(took),
                Tier::Disk => seen.disk.add(took),
                // There are none here.
                Tier::Shared | Tier::Objects => {}
            }
        }
        None => {
            seen.miss.add(took);
            seen.puts += 1;
            seen.put_bytes += maker.stored_bytes(id);
            bed.put(maker.record(id));
        }
    }
}

fn print_run(args: &Args, bed: &Bed, seen: &Seen, samples: &Samples, took: Duration) {
    let bound = args.bound.0;
    let over = |bytes: u64| bytes as f64 / bound as f64;
    let max = samples.disk_bytes.iter().copied().max().unwrap_or(0);
    let last = samples.disk_bytes.last().copied().unwrap_or(0);
    let beyond = |&&b: &&u64| over(b) > OVER_BOUND_MAX;
    let verdict = match over(max) <= OVER_BOUND_MAX {
        true => "within 1.05",
        false => "BEYOND 1.05",
    };
    let mut table = Table::new(["Churn", "Value"]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("Directory at most", bytes(max));
    row(
        "Directory / bound at most",
        format!("{:.3}, {verdict}", over(max)),
    );
    row(
        "Samples of it; beyond 1.05",
        format!(
            "{}, every {}; {}",
            samples.disk_bytes.len(),
            args.every,
            samples.disk_bytes.iter().filter(beyond).count()
        ),
    );
    row("Directory / bound at the end", format!("{:.3}", over(last)));
    row("Entries at the end", bed.entries_on_disk().to_string());
    row("RSS at most", bytes(samples.resident_max));
    row(
        "RSS at most - memory",
        bytes(samples.resident_max.saturating_sub(args.bed.memory.0)),
    );
    row("Requests", seen.requests.to_string());
    row("Puts", format!("{} ({})", seen.puts, bytes(seen.put_bytes)));
    row(
        "Writes dropped",
        bed.counted_text("store_writes_dropped_total"),
    );
    row("Entries removed", bed.counted_text("store_removed_total"));
    row(
        "Records found corrupt",
        bed.counted_text("store_corrupt_records_total"),
    );
    row("Wrong bodies", seen.wrong.to_string());
    row(
        "Time; of it waiting for the writer",
        format!("{}; {}", time(took), time(bed.waited)),
    );
    row(
        "Requests a second",
        format!("{:.0}", seen.requests as f64 / took.as_secs_f64()),
    );
    for (name, latencies) in [
        ("Hits in memory, p50 / p99", &seen.memory),
        ("Hits on disk, p50 / p99", &seen.disk),
        ("Misses, p50 / p99", &seen.miss),
    ] {
        row(
            name,
            format!("{} of {}", latencies.p50_p99(), latencies.count()),
        );
    }
    table.print();
}

/// How long the run is if an LRU takes the place of the store.
fn extent_of_lru(args: &Args, maker: &Maker, mut trace: Trace) -> Extent {
    let mut lru = Lru::new(args.bound.0);
    let (mut warm, mut requests, mut put_bytes) = (None, 0, 0);
    while (put_bytes as f64) < args.bound.0 as f64 * args.times {
        let id = trace.next();
        let size = maker.stored_bytes(id);
        requests += 1;
        if !lru.request(id, size) {
            put_bytes += size;
        }
        if warm.is_none() && put_bytes >= args.bound.0 {
            warm = Some(requests);
        }
    }
    Extent {
        warm: warm.unwrap_or(0),
        requests,
    }
}

/// The same requests with exact policies of the same size.
fn compare(args: &Args, maker: &Maker, mut trace: Trace, extent: Extent, store: Option<f64>) {
    let bound = args.bound.0;
    let mut policies: Vec<(&str, Box<dyn Policy>, u64)> = vec![
        ("exact LRU", Box::new(Lru::new(bound)), 0),
        ("plain FIFO", Box::new(Fifo::new(bound)), 0),
        (
            "S3-FIFO, 10 %, 2 uses",
            Box::new(S3Fifo::new(bound, 10, 2)),
            0,
        ),
        (
            "S3-FIFO, 10 %, 1 use",
            Box::new(S3Fifo::new(bound, 10, 1)),
            0,
        ),
        (
            "S3-FIFO, 5 %, 2 uses",
            Box::new(S3Fifo::new(bound, 5, 2)),
            0,
        ),
        ("S3-FIFO, 5 %, 1 use", Box::new(S3Fifo::new(bound, 5, 1)), 0),
    ];
    for request in 0..extent.requests {
        let id = trace.next();
        let size = maker.stored_bytes(id);
        for (_, policy, hits) in &mut policies {
            *hits += u64::from(policy.request(id, size) && request >= extent.warm);
        }
    }
    let counted = (extent.requests - extent.warm).max(1) as f64;
    let lru = policies[0].2 as f64 / counted;
    let fifo = policies[1].2 as f64 / counted;
    println!(
        "\nHit ratios of {counted} requests, once the bound was put. The policies count records as \
         they are compressed (zstd {}), without overhead.",
        args.bed.zstd_level
    );
    let mut table = Table::new(["Policy", "Hit ratio", "Points from LRU", "Points from FIFO"]);
    let mut row = |name: &str, ratio: f64| {
        let points = |other: f64| format!("{:+.1}", (ratio - other) * 100.0);
        table.row([name.to_owned(), percent(ratio), points(lru), points(fifo)]);
    };
    if let Some(ratio) = store {
        row("the store", ratio);
    }
    for (name, _, hits) in &policies {
        row(name, *hits as f64 / counted);
    }
    table.print();
    if let Some(ratio) = store {
        let good = lru - ratio <= BEHIND_LRU_MAX && ratio > fifo;
        println!(
            "Within 3 points of LRU and above FIFO: {}.",
            if good { "yes" } else { "NO" }
        );
    }
}

//! Cost as the store grows: memory, disk, time to open and latency at several fills.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use llm_cache_server::metrics::Tier;

use crate::bed::{Bed, BedArgs};
use crate::content::{Content, Maker, Sizes};
use crate::system::{Latencies, Memory, disk_usage, drop_page_cache, settle};
use crate::table::{Table, bytes, percent, time};
use crate::trace::Rng;

/// Keys that are asked for over and over, for the hits in memory.
const HOT_KEYS: u64 = 256;
const HOT_READS: u64 = 200_000;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Entries at 100 %
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// `4KB`, or `lognormal:MEDIAN:SIGMA`
    #[arg(long, default_value = "4KB")]
    body: Sizes,
    /// What is in the bodies
    #[arg(long, value_enum, default_value = "mixed")]
    content: Content,
    /// `store.disk_bytes_max`; twice what the entries need when not given, so that none is evicted
    #[arg(long)]
    bound: Option<ByteSize>,
    /// Fills to look at, in per cent
    #[arg(long, value_delimiter = ',', default_value = "10,50,100")]
    at: Vec<u64>,
    /// Random reads at each
    #[arg(long, default_value_t = 20_000)]
    reads: u64,
    /// Empties the page cache of the machine before opening (needs root)
    #[arg(long)]
    cold: bool,
    #[command(flatten)]
    bed: BedArgs,
}

/// What is seen at one fill.
struct Stage {
    put: u64,
    entries: u64,
    put_per_second: f64,
    filled: Memory,
    reopened: u64,
    disk_bytes: u64,
    close: Duration,
    open: Duration,
    first: Duration,
    /// Resident after the reads.
    read: u64,
    missing: u64,
    wrong: u64,
    disk: Latencies,
    hot: Latencies,
    absent: Latencies,
}

pub fn run(args: &Args) {
    let maker = Maker::new(args.body, args.content, args.bed.zstd_level);
    let mean = maker.stored_bytes_mean();
    let bound = args
        .bound
        .map_or(2 * args.entries * (mean + 128), |bound| bound.0);
    let mut bed = Bed::open(&args.bed, bound);
    let empty = Memory::now().resident;
    println!(
        "{} entries, bodies {:?} {:?}, {} on disk on average; bound {}, memory {}, paced: {}; RSS \
         with nothing in it {}; page cache {}.",
        args.entries,
        args.body,
        args.content,
        bytes(mean),
        bytes(bound),
        bytes(args.bed.memory.0),
        args.bed.pace,
        bytes(empty),
        if args.cold { "emptied" } else { "as it is" },
    );
    let mut put = 0;
    let mut stages = Vec::new();
    for percent in &args.at {
        let end = args.entries * percent / 100;
        stages.push(stage(args, &maker, &mut bed, put, end));
        put = end;
        eprintln!("{percent} % is done");
    }
    print(args, &stages);
    println!(
        "Writes dropped: {}; removed: {}; corrupt: {}.",
        bed.counted_text("store_writes_dropped_total"),
        bed.counted_text("store_removed_total"),
        bed.counted_text("store_corrupt_records_total"),
    );
    bed.close();
}

fn stage(args: &Args, maker: &Maker, bed: &mut Bed, from: u64, to: u64) -> Stage {
    Memory::reset_peak();
    let start = Instant::now();
    for id in from..to {
        bed.put(maker.record(id));
    }
    bed.drain();
    let put_per_second = (to - from) as f64 / start.elapsed().as_secs_f64();
    let filled = Memory::now();

    let start = Instant::now();
    bed.close();
    let close = start.elapsed();
    if args.cold {
        drop_page_cache();
    }
    let open = bed.reopen();
    let mut rng = Rng::new(to);
    let start = Instant::now();
    let found_first = bed.get(rng.below(to)).is_some();
    let first = start.elapsed();
    settle();
    let mut stage = Stage {
        put: to,
        entries: bed.entries_on_disk(),
        put_per_second,
        filled,
        reopened: Memory::now().resident,
        disk_bytes: disk_usage(bed.path()),
        close,
        open,
        first,
        read: 0,
        missing: u64::from(!found_first),
        wrong: 0,
        disk: Latencies::new(),
        hot: Latencies::new(),
        absent: Latencies::new(),
    };
    read_stage(args, maker, bed, &mut rng, &mut stage);
    stage
}

fn read_stage(args: &Args, maker: &Maker, bed: &Bed, rng: &mut Rng, stage: &mut Stage) {
    for _ in 0..args.reads {
        let id = rng.below(stage.put);
        let start = Instant::now();
        let found = bed.get(id);
        let took = start.elapsed();
        match found {
            Some((record, tier)) => {
                stage.wrong += u64::from(!maker.is_body(id, &record.body));
                if tier == Tier::Disk {
                    stage.disk.add(took);
                }
            }
            None => stage.missing += 1,
        }
        let start = Instant::now();
        let found = bed.get(u64::MAX / 2 + id);
        stage.absent.add(start.elapsed());
        stage.wrong += u64::from(found.is_some());
    }
    stage.read = Memory::now().resident;
    let hot: Vec<u64> = (0..HOT_KEYS).map(|_| rng.below(stage.put)).collect();
    for read in 0..HOT_READS {
        let id = hot[(read % HOT_KEYS) as usize];
        let start = Instant::now();
        let found = bed.get(id);
        let took = start.elapsed();
        if let Some((_, Tier::Memory)) = found {
            stage.hot.add(took);
        }
    }
}

fn print(args: &Args, stages: &[Stage]) {
    let mut head = vec!["Fill".to_owned()];
    head.extend(args.at.iter().map(|percent| format!("{percent} %")));
    let last_over_first = stages.len() > 1;
    if last_over_first {
        head.push("Last / first".to_owned());
    }
    let mut table = Table::from_head(head);
    let mut row = |name: &str, figure: &dyn Fn(&Stage) -> f64, text: &dyn Fn(f64) -> String| {
        let figures: Vec<f64> = stages.iter().map(figure).collect();
        let mut cells = vec![name.to_owned()];
        cells.extend(figures.iter().map(|&f| text(f)));
        if last_over_first {
            let (first, last) = (figures[0], figures[figures.len() - 1]);
            cells.push(match first > 0.0 {
                true => format!("{:.2}", last / first),
                false => String::new(),
            });
        }
        table.row(cells);
    };
    let size = |f: f64| bytes(f as u64);
    let count = |f: f64| format!("{f:.0}");
    let secs = |f: f64| time(Duration::from_secs_f64(f));
    let quantile = |latencies: &Latencies, share| latencies.quantile(share).as_secs_f64();
    let memory = args.bed.memory.0 as f64;
    row("Entries put", &|s| s.put as f64, &count);
    row("Entries counted on disk", &|s| s.entries as f64, &count);
    row("Puts a second", &|s| s.put_per_second, &count);
    row("Bytes on disk", &|s| s.disk_bytes as f64, &size);
    row(
        "Bytes on disk per entry",
        &|s| s.disk_bytes as f64 / s.put as f64,
        &count,
    );
    row("RSS when filled", &|s| s.filled.resident as f64, &size);
    row(
        "RSS at its peak while filling",
        &|s| s.filled.peak as f64,
        &size,
    );
    row("RSS when opened", &|s| s.reopened as f64, &size);
    row("RSS after the reads", &|s| s.read as f64, &size);
    let highest = |s: &Stage| s.filled.peak.max(s.read) as f64;
    row(
        "RSS at most - memory",
        &|s| (highest(s) - memory).max(0.0),
        &size,
    );
    row(
        "RSS when opened, bytes per entry",
        &|s| s.reopened as f64 / s.put as f64,
        &|f| format!("{f:.1}"),
    );
    row("Time to close", &|s| s.close.as_secs_f64(), &secs);
    row("Time to open", &|s| s.open.as_secs_f64(), &secs);
    row("First look-up", &|s| s.first.as_secs_f64(), &secs);
    row("Hit on disk, p50", &|s| quantile(&s.disk, 0.5), &secs);
    row("Hit on disk, p99", &|s| quantile(&s.disk, 0.99), &secs);
    row("Hit in memory, p50", &|s| quantile(&s.hot, 0.5), &secs);
    row("Hit in memory, p99", &|s| quantile(&s.hot, 0.99), &secs);
    row("Absent, p50", &|s| quantile(&s.absent, 0.5), &secs);
    row("Absent, p99", &|s| quantile(&s.absent, 0.99), &secs);
    let reads = args.reads as f64;
    row(
        "Reads found on disk",
        &|s| s.disk.count() as f64 / reads,
        &percent,
    );
    row(
        "Reads of entries that are missing",
        &|s| s.missing as f64,
        &count,
    );
    row("Wrong answers", &|s| s.wrong as f64, &count);
    table.print();
    if let [first, .., last] = stages {
        let entries = (last.put - first.put) as f64;
        let slope =
            |figure: fn(&Stage) -> u64| (figure(last) as f64 - figure(first) as f64) / entries;
        println!(
            "Memory per entry added: {:.1} bytes when opened, {:.1} bytes when filled.",
            slope(|s| s.reopened),
            slope(|s| s.filled.resident),
        );
    }
}

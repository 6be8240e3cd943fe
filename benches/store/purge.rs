//! Purging all under load: how long it takes, and that nothing of it is served again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use llm_cache_server::store::purge::Covers;
use llm_cache_server::store::record::Record;

use crate::bed::{Bed, BedArgs};
use crate::content::{Content, Maker, Sizes};
use crate::system::{Latencies, pause};
use crate::table::{Table, bytes, time};
use crate::trace::Rng;

const PURGE_MAX: Duration = Duration::from_millis(100);
/// More than the load puts.
const LOAD_ENTRIES_MAX: u64 = 200_000;
/// Load before the purge and after it.
const LOAD: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Entries to purge
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// `4KB`, or `lognormal:MEDIAN:SIGMA`
    #[arg(long, default_value = "4KB")]
    body: Sizes,
    /// What is in the bodies
    #[arg(long, value_enum, default_value = "mixed")]
    content: Content,
    #[command(flatten)]
    bed: BedArgs,
}

/// What the threads of the load tell each other.
#[derive(Default)]
struct Load {
    purged: AtomicBool,
    ended: AtomicBool,
    /// Ids below are put.
    put: AtomicU64,
    /// Ids below were put before the purge was asked for.
    put_before: AtomicU64,
    served_before: AtomicU64,
    served_after: AtomicU64,
}

pub fn run(args: &Args) {
    let maker = Maker::new(args.body, args.content, args.bed.zstd_level);
    // Nothing is to be evicted, so that what is gone was purged.
    let bound = 3 * (args.entries + LOAD_ENTRIES_MAX) * (maker.stored_bytes_mean() + 512);
    let mut bed = Bed::open(&args.bed, bound);
    for id in 0..args.entries {
        bed.put(maker.record(id));
    }
    bed.drain();
    let entries = bed.entries_on_disk();
    println!(
        "{entries} entries, bodies {:?} {:?}; memory {}; a reader and a writer beside the purge.",
        args.body,
        args.content,
        bytes(args.bed.memory.0),
    );
    let load = Load::default();
    load.put.store(args.entries, SeqCst);
    let (before, took, after) = under_load(&bed, &maker, &load);
    let purged = load.put_before.load(SeqCst);
    let still = still_there(&bed, purged);
    // What was put after the purge is not part of it.
    let put = load.put.load(SeqCst);
    let lost = (put - put.abs_diff(purged).min(1_000)..put)
        .filter(|id| *id > purged + 1 && bed.get(*id).is_none())
        .count();
    bed.close();
    let open = bed.reopen();
    let still_after_restart = still_there(&bed, purged);

    let mut table = Table::new(["Purge-all", "Value"]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row(
        "The call took",
        format!(
            "{}, {}",
            time(took),
            match took < PURGE_MAX {
                true => "under 100 ms",
                false => "NOT UNDER 100 ms",
            }
        ),
    );
    let served = load.served_before.load(SeqCst);
    row("Entries", purged.to_string());
    row("Served by the reader before", served.to_string());
    row(
        "Purged and served by the reader",
        load.served_after.load(SeqCst).to_string(),
    );
    row(
        "Purged and served when each is asked for",
        still.to_string(),
    );
    row("The same after a restart", still_after_restart.to_string());
    row("Put after the purge and lost, of 1000", lost.to_string());
    row("Look-up before, p50 / p99", before.p50_p99());
    row("Look-up after, p50 / p99", after.p50_p99());
    row("Time to open afterwards", time(open));
    table.print();
    bed.close();
}

/// Reads and writes on two threads, purges in the middle; latencies before, the time the purge
/// took, and latencies after.
fn under_load(bed: &Bed, maker: &Maker, load: &Load) -> (Latencies, Duration, Latencies) {
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(bed, load));
        scope.spawn(|| write(bed, maker, load));
        pause(LOAD);
        load.put_before.store(load.put.load(SeqCst), SeqCst);
        let start = Instant::now();
        bed.store().purge(Covers::All).unwrap();
        let took = start.elapsed();
        load.purged.store(true, SeqCst);
        pause(LOAD);
        load.ended.store(true, SeqCst);
        let (before, after) = reader.join().expect("the reader does not panic");
        (before, took, after)
    })
}

fn read(bed: &Bed, load: &Load) -> (Latencies, Latencies) {
    let (mut before, mut after) = (Latencies::new(), Latencies::new());
    let mut rng = Rng::new(0);
    while !load.ended.load(SeqCst) {
        let purged = load.purged.load(SeqCst);
        let known = match purged {
            true => load.put_before.load(SeqCst),
            false => load.put.load(SeqCst),
        };
        let start = Instant::now();
        let found = bed.get(rng.below(known)).is_some();
        let took = start.elapsed();
        match purged {
            true => after.add(took),
            false => before.add(took),
        }
        if found {
            let served = match purged {
                true => &load.served_after,
                false => &load.served_before,
            };
            served.fetch_add(1, SeqCst);
        }
    }
    (before, after)
}

fn write(bed: &Bed, maker: &Maker, load: &Load) {
    let mut id = load.put.load(SeqCst);
    while !load.ended.load(SeqCst) {
        let generation = bed.store().generation();
        let record = Record {
            generation,
            ..maker.record(id)
        };
        bed.store().put(Arc::new(record));
        id += 1;
        load.put.store(id, SeqCst);
        if id.is_multiple_of(16) {
            pause(Duration::from_millis(1));
        }
    }
}

/// How many of the ids below are served.
fn still_there(bed: &Bed, end: u64) -> usize {
    (0..end).filter(|id| bed.get(*id).is_some()).count()
}

//! What a hit and a miss are made of: records, look-ups in memory, the judge of a stream.

// A measurement that cannot go on says where it stopped.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llm_cache_server::key::Key;
use llm_cache_server::store::Store;
use llm_cache_server::store::record::Record;

#[path = "../parts/answers.rs"]
mod answers;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORDS: u64 = 1000;

fn codec(c: &mut Criterion) {
    let record = answers::record(1);
    let encoded = record.encode();
    let mut group = c.benchmark_group("record/2KB");
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    group.bench_function("encode", |b| b.iter(|| black_box(&record).encode()));
    group.bench_function("decode", |b| {
        b.iter(|| Record::decode_for(&record.key, black_box(&encoded)).expect("a record"));
    });
    group.finish();
}

/// Look-ups in memory, so many in all, on some threads at once; the time from first to last.
fn look_up(store: &Arc<Store>, keys: &Arc<Vec<Key>>, threads: u64, count: u64) -> Duration {
    let together = Arc::new(Barrier::new(threads as usize));
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let (store, keys, together) = (store.clone(), keys.clone(), together.clone());
            std::thread::spawn(move || {
                // Each begins elsewhere, and all meet at the same keys again and again.
                let mut turns = keys.iter().cycle().skip((number * 37) as usize);
                together.wait();
                let began = Instant::now();
                for _ in 0..count.div_ceil(threads) {
                    let key = turns.next().expect("keys without end");
                    black_box(store.get_hot(key).expect("all are in memory"));
                }
                (began, Instant::now())
            })
        })
        .collect();
    let times: Vec<_> = workers
        .into_iter()
        .map(|worker| worker.join().expect("a worker does not panic"))
        .collect();
    let first = times.iter().map(|(began, _)| *began).min();
    let last = times.iter().map(|(_, ended)| *ended).max();
    last.expect("a thread") - first.expect("a thread")
}

fn contention(c: &mut Criterion) {
    let (store, _dir) = answers::store(RECORDS);
    let keys: Arc<Vec<Key>> = Arc::new((0..RECORDS).map(answers::key).collect());
    let mut group = c.benchmark_group("get_hot");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 2, 4] {
        let name = BenchmarkId::new("threads", threads);
        group.bench_function(name, |b| {
            b.iter_custom(|count| look_up(&store, &keys, threads, count));
        });
    }
    group.finish();
    store.close();
}

fn judge(c: &mut Criterion) {
    let events = answers::stream();
    let whole = events.concat().into_bytes();
    let mut group = c.benchmark_group("judge/50KB");
    group.throughput(Throughput::Bytes(whole.len() as u64));
    group.bench_function("by event", |b| {
        b.iter(|| answers::judge(black_box(&events)))
    });
    // As a connection gives it if the upstream is quick: cut anywhere.
    let pieces: Vec<&[u8]> = whole.chunks(4000).collect();
    group.bench_function("by 4 KB", |b| b.iter(|| answers::judge(black_box(&pieces))));
    group.finish();
}

criterion_group!(benches, codec, contention, judge);
criterion_main!(benches);

//! From a body to its digest: canonical text and BLAKE3 of chat requests, by size, with keys in
//! the order of the canonical text and out of it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llm_cache_server::key::canonical::{Sorting, canonicalize};

#[path = "parts/chat.rs"]
mod chat;

const SIZES: [(&str, usize); 4] = [
    ("1KB", 1_000),
    ("10KB", 10_000),
    ("100KB", 100_000),
    ("1MB", 1_000_000),
];

fn digest(c: &mut Criterion) {
    for (order, sorted) in [("sorted", true), ("shuffled", false)] {
        let mut group = c.benchmark_group(format!("digest/{order}"));
        for (name, len) in SIZES {
            let body = chat::body(len, sorted);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_with_input(
                BenchmarkId::from_parameter(name),
                body.as_bytes(),
                |b, body| {
                    b.iter(|| {
                        canonicalize(black_box(body), chat::IGNORED, Sorting::Everywhere)
                            .map(|canonical| canonical.digest_without(&[]))
                    });
                },
            );
        }
        group.finish();
    }
}

criterion_group!(benches, digest);
criterion_main!(benches);

//! From a body to its digest: canonical text and BLAKE3 of chat requests, by size, with keys in
//! the order of the canonical text and out of it; and the same bytes once more, which the memo knows.

// A measurement that cannot go on says where it stopped.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::HeaderMap;
use llm_cache_server::api::{Api, Place};
use llm_cache_server::key::canonical::{Sorting, canonicalize};
use llm_cache_server::proxy::body::Whole;
use llm_cache_server::proxy::question::{Asker, Questions};
use llm_cache_server::tenant::Tenant;

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

/// Bodies come in pieces of this size.
const PIECE: usize = 64 * 1024;

fn memo(c: &mut Criterion) {
    let questions = Arc::new(Questions::new(16 << 20).expect("random numbers"));
    let tenant = Tenant::of(&HeaderMap::new(), None);
    let asker = || Asker {
        tenant,
        api: Api::OpenAiChat,
        place: Place {
            path: "chat/completions",
            ..Place::default()
        },
        content_type: "application/json",
    };
    let mut group = c.benchmark_group("memo");
    for (name, len) in SIZES {
        let body = Bytes::from(chat::body(len, false));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_batched_ref(
                || {
                    body.chunks(PIECE)
                        .map(|piece| body.slice_ref(piece))
                        .collect()
                },
                // Only a body of more than a megabyte is waited for.
                |whole: &mut Whole| questions.read(asker(), whole).now_or_never(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, digest, memo);
criterion_main!(benches);

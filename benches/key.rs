//! From a body to its digest: canonical text and BLAKE3 of chat requests, by size, with keys in
//! the order of the canonical text and out of it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llm_cache_server::key::canonical::{Sorting, canonicalize};

const SIZES: [(&str, usize); 4] = [
    ("1KB", 1_000),
    ("10KB", 10_000),
    ("100KB", 100_000),
    ("1MB", 1_000_000),
];

/// About as long as one turn of a conversation, with the escapes of prose in Markdown.
const TURN: &str = r#"Answer from the documents below, and name the one you used.\n\n## Shipping\n- Orders before noon leave the same day.\n- Ask for \"express\" if it is urgent; \u20ac 5 more.\n\n## Returns\nWithin thirty days, in the original box. Refunds take a week, sometimes two."#;

const IGNORED: &[&str] = &["user", "metadata", "prompt_cache_key", "safety_identifier"];

/// A chat request of about `len` bytes.
fn body(len: usize, sorted: bool) -> String {
    let message = |i: usize| {
        let role = if i.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        match sorted {
            true => format!(r#"{{"content":"{i}: {TURN}","role":"{role}"}}"#),
            false => format!(r#"{{"role":"{role}","content":"{i}: {TURN}"}}"#),
        }
    };
    let messages: Vec<String> = (0..len / message(0).len()).map(message).collect();
    let messages = messages.join(",");
    match sorted {
        true => format!(
            r#"{{"messages":[{messages}],"model":"gpt-4o","stream":true,"temperature":0.7,"user":"u"}}"#
        ),
        false => format!(
            r#"{{"user":"u","model":"gpt-4o","temperature":0.7,"messages":[{messages}],"stream":true}}"#
        ),
    }
}

fn digest(c: &mut Criterion) {
    for (order, sorted) in [("sorted", true), ("shuffled", false)] {
        let mut group = c.benchmark_group(format!("digest/{order}"));
        for (name, len) in SIZES {
            let body = body(len, sorted);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_with_input(
                BenchmarkId::from_parameter(name),
                body.as_bytes(),
                |b, body| {
                    b.iter(|| {
                        canonicalize(black_box(body), IGNORED, Sorting::Everywhere)
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

//! Compression by measurement: what realistic answers become, and what it costs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use llm_cache_server::store::record::{Chunk, Record};

use crate::content::{add_prose, record};
use crate::system::thread_cpu;
use crate::table::{Table, bytes};
use crate::trace::Rng;

/// How many generated answers of each kind.
const GENERATED: u64 = 1_000;
/// Each figure is taken over at least this much time on the CPU.
const CPU_MIN: Duration = Duration::from_millis(500);
/// What a data block of RocksDB holds before it is compressed.
const BLOCK_BYTES: usize = 16 << 10;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Levels of zstd
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,3",
        allow_hyphen_values = true
    )]
    levels: Vec<i32>,
}

struct Corpus {
    name: &'static str,
    /// Encoded records, as the store compresses them.
    values: Vec<Vec<u8>>,
}

pub fn run(args: &Args) {
    println!(
        "zstd {}, each record compressed for itself, with its headers; blocks: records \
         of one kind together, {} and more. Time on the CPU per MB of records.",
        zstd::zstd_safe::version_string(),
        bytes(BLOCK_BYTES as u64),
    );
    let mut table = Table::new([
        "Answers",
        "Number",
        "Mean bytes",
        "Codec",
        "Ratio",
        "Compress, ms/MB",
        "Decompress, ms/MB",
    ]);
    for corpus in corpora() {
        let total: usize = corpus.values.iter().map(Vec::len).sum();
        let mut row = |codec: &str, measured: Option<Measured>| {
            let figure = |f: fn(&Measured) -> f64, digits: usize| {
                let value = measured.as_ref().map_or(0.0, f);
                format!("{value:.digits$}")
            };
            table.row([
                corpus.name.to_owned(),
                corpus.values.len().to_string(),
                (total / corpus.values.len()).to_string(),
                codec.to_owned(),
                measured
                    .as_ref()
                    .map_or("1.00".to_owned(), |m| format!("{:.2}", m.ratio)),
                figure(|m| m.compress_ms_per_mb, 2),
                figure(|m| m.decompress_ms_per_mb, 2),
            ]);
        };
        row("none", None);
        for level in &args.levels {
            row(
                &format!("zstd {level}"),
                Some(measure(&corpus.values, *level)),
            );
        }
        if total / corpus.values.len() < 1024 {
            let blocks = in_blocks(&corpus.values);
            for level in &args.levels {
                row(
                    &format!("zstd {level}, blocks"),
                    Some(measure(&blocks, *level)),
                );
            }
        }
    }
    table.print();
}

struct Measured {
    ratio: f64,
    compress_ms_per_mb: f64,
    decompress_ms_per_mb: f64,
}

fn measure(values: &[Vec<u8>], level: i32) -> Measured {
    let mut compressor = zstd::bulk::Compressor::new(level).expect("a level of zstd");
    let mut decompressor = zstd::bulk::Decompressor::new().expect("zstd");
    let total: usize = values.iter().map(Vec::len).sum();
    let longest = values.iter().map(Vec::len).max().unwrap_or(0);
    let compressed: Vec<Vec<u8>> = values
        .iter()
        .map(|value| compressor.compress(value).expect("it fits"))
        .collect();
    // What does not get smaller is stored as it is.
    let stored: usize = values
        .iter()
        .zip(&compressed)
        .map(|(value, compressed)| value.len().min(compressed.len()))
        .sum();
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(longest));
    let compress_ms_per_mb = ms_per_mb(total, || {
        for value in values {
            out.clear();
            let len = compressor.compress_to_buffer(value, &mut out);
            std::hint::black_box(len.expect("it fits"));
        }
    });
    let mut out = Vec::with_capacity(longest);
    let decompress_ms_per_mb = ms_per_mb(total, || {
        for value in &compressed {
            out.clear();
            let len = decompressor.decompress_to_buffer(value, &mut out);
            std::hint::black_box(len.expect("it is what was compressed"));
        }
    });
    Measured {
        ratio: total as f64 / stored as f64,
        compress_ms_per_mb,
        decompress_ms_per_mb,
    }
}

fn ms_per_mb(bytes: usize, mut work: impl FnMut()) -> f64 {
    work();
    let start = thread_cpu();
    let mut done = 0;
    loop {
        work();
        done += bytes;
        let took = thread_cpu() - start;
        if took >= CPU_MIN {
            return took.as_secs_f64() * 1e3 / (done as f64 / 1e6);
        }
    }
}

fn in_blocks(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut blocks = vec![Vec::new()];
    for value in values {
        let last = blocks.last_mut().expect("there is one");
        last.extend_from_slice(value);
        if last.len() >= BLOCK_BYTES {
            blocks.push(Vec::new());
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

fn corpora() -> Vec<Corpus> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = |name, folder: &str, stream: bool| Corpus {
        name,
        values: files_in(&tests.join(folder), stream),
    };
    let made = |name, stream, make: fn(&mut Rng) -> Vec<u8>| Corpus {
        name,
        values: (0..GENERATED)
            .map(|id| encoded(id, make(&mut Rng::new(id)), stream))
            .collect(),
    };
    vec![
        files("transcripts, JSON", "transcripts", false),
        files("transcripts, streams", "transcripts", true),
        files("forms, JSON", "forms", false),
        files("forms, streams", "forms", true),
        made("chat, 200 B", false, |rng| chat(rng, 200)),
        made("chat, 1 to 8 KB", false, |rng| {
            let len = 1_000 + rng.below(7_000) as usize;
            chat(rng, len)
        }),
        made("chat streams, 1 to 8 KB of text", true, chat_stream),
        made("embeddings, 1536 numbers", false, embedding),
        made("embeddings, 1536 in base64", false, embedding_base64),
        made("random bytes, 4 KB", false, |rng| {
            (0..512).flat_map(|_| rng.next().to_le_bytes()).collect()
        }),
    ]
}

fn files_in(folder: &Path, stream: bool) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("a file of the repository").path();
            let is_stream = path
                .extension()
                .is_some_and(|e| e == "sse" || e == "ndjson");
            if path.is_dir() {
                folders.push(path);
            } else if is_stream == stream && path.extension().is_some_and(|e| e != "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: &PathBuf| std::fs::read(path).expect("a file of the repository");
    (0..)
        .zip(&paths)
        .map(|(id, path)| encoded(id, read(path), stream))
        .collect()
}

/// The record of a body, with the headers and chunks it would have.
fn encoded(id: u64, body: Vec<u8>, stream: bool) -> Vec<u8> {
    let mut rng = Rng::new(id ^ 0x0068_6561_6465_7273);
    let content_type = match stream {
        true => "text/event-stream; charset=utf-8",
        false => "application/json",
    };
    let request_id = format!("req_{:016x}{:016x}", rng.next(), rng.next());
    let ends = body.windows(2).enumerate().filter(|(_, w)| w == b"\n\n");
    let chunks = match stream {
        true => ends
            .map(|(at, _)| Chunk {
                end: at as u32 + 2,
                at_ms: at as u32 / 8 + rng.below(20) as u32,
            })
            .collect(),
        false => Vec::new(),
    };
    Record {
        headers: vec![
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (
                header::HeaderName::from_static("x-request-id"),
                HeaderValue::from_str(&request_id).expect("hexadecimal"),
            ),
        ],
        stream,
        chunks,
        ..record(id, Bytes::from(body))
    }
    .encode()
}

fn chat(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut text = Vec::new();
    add_prose(&mut text, len, rng);
    let text = String::from_utf8_lossy(&text);
    format!(
        r#"{{"id":"chatcmpl-{:016x}","object":"chat.completion","created":17{:08},"model":"gpt-4o-2024-08-06","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}},"service_tier":"default","system_fingerprint":"fp_{:010x}"}}"#,
        rng.next(),
        rng.below(100_000_000),
        rng.below(4_000),
        len / 4,
        rng.below(8_000),
        rng.below(1 << 40),
    )
    .into_bytes()
}

/// An event per word, as providers send it.
fn chat_stream(rng: &mut Rng) -> Vec<u8> {
    let len = 1_000 + rng.below(7_000) as usize;
    let mut text = Vec::new();
    add_prose(&mut text, len, rng);
    let text = String::from_utf8_lossy(&text).into_owned();
    let head = format!(
        r#"{{"id":"chatcmpl-{:016x}","object":"chat.completion.chunk","created":17{:08},"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_{:010x}","choices":["#,
        rng.next(),
        rng.below(100_000_000),
        rng.below(1 << 40),
    );
    let words = text.split_inclusive(' ').map(|word| {
        format!(
            "data: {head}{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"obfuscation\":\"{:x}\"}}\n\n",
            rng.next()
        )
    });
    let mut out = words.collect::<String>().into_bytes();
    out.extend_from_slice(b"data: [DONE]\n\n");
    out
}

/// Of length one, as providers give them.
fn vector(rng: &mut Rng) -> Vec<f32> {
    let raw: Vec<f64> = (0..1536).map(|_| rng.normal()).collect();
    let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt();
    raw.iter().map(|x| (x / length) as f32).collect()
}

fn embedding_of(vector: &str) -> Vec<u8> {
    format!(
        r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":{vector}}}],"model":"text-embedding-3-small","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#
    )
    .into_bytes()
}

fn embedding(rng: &mut Rng) -> Vec<u8> {
    let numbers: Vec<String> = vector(rng).iter().map(f32::to_string).collect();
    embedding_of(&format!("[{}]", numbers.join(",")))
}

fn embedding_base64(rng: &mut Rng) -> Vec<u8> {
    use base64::Engine;
    let bytes: Vec<u8> = vector(rng).iter().flat_map(|x| x.to_le_bytes()).collect();
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    embedding_of(&format!("\"{text}\""))
}

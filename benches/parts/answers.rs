//! Answers: judged while they stream, and stored.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, header};
use llm_cache_server::api::{Api, Facts, Form, Variant, Worth};
use llm_cache_server::config::Durability;
use llm_cache_server::key::Key;
use llm_cache_server::metrics::Metrics;
use llm_cache_server::store::about::About;
use llm_cache_server::store::record::Record;
use llm_cache_server::store::{Store, StoreOptions, now_ms};
use tempfile::TempDir;

/// Events of a stream of 50 KB.
pub const EVENTS: usize = 200;
const MIB: usize = 1 << 20;

/// A streamed chat completion, event by event.
pub fn stream() -> Vec<String> {
    let event = |choice: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-00000001\",\"object\":\"chat.completion.chunk\",\
             \"created\":1700000000,\"model\":\"gpt-4o-mini\",\"system_fingerprint\":\"fp_mock\",\
             \"choices\":[{{\"index\":0,{choice},\"logprobs\":null}}]}}\n\n"
        )
    };
    let word = |i: usize| {
        event(&format!(
            "\"delta\":{{\"content\":\" word {i}, which is as long as a few tokens are\"}},\
             \"finish_reason\":null"
        ))
    };
    let mut events: Vec<String> = (0..EVENTS).map(word).collect();
    events.push(event("\"delta\":{},\"finish_reason\":\"stop\""));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// Judges a stream that comes in these pieces; it must be found complete.
pub fn judge<T: AsRef<[u8]>>(pieces: &[T]) {
    let facts = Facts {
        model: Some("gpt-4o-mini".to_owned()),
        form: Form::Stream,
        variant: Variant::Stream,
        ..Facts::default()
    };
    let judge = Api::OpenAiChat.judge(&facts, Form::Stream, Worth::default());
    let mut judge = judge.expect("chat answers as a stream");
    pieces.iter().for_each(|piece| judge.push(piece.as_ref()));
    assert_eq!(judge.finish().keep, Ok(()));
}

/// An answer of 2 KB under a key of its own.
pub fn record(id: u64) -> Record {
    let stored_ms = now_ms();
    let value = HeaderValue::from_static;
    Record {
        key: key(id),
        generation: 0,
        about: Arc::new(About::new(
            "chat",
            Some("gpt-4o-mini"),
            None,
            [7; 8],
            [9; 8],
        )),
        stored_ms,
        expires_ms: stored_ms + 24 * 3600 * 1000,
        status: 200,
        stream: false,
        headers: vec![
            (header::CONTENT_TYPE, value("application/json")),
            (header::SERVER, value("mock")),
        ],
        body: Bytes::from(vec![b'a'; 2000]),
        chunks: Vec::new(),
        usage: Some((200, 400)),
    }
}

pub fn key(id: u64) -> Key {
    let digest = blake3::hash(&id.to_le_bytes());
    Key::from_bytes(*digest.as_bytes())
}

/// A store with so many records, all in memory. It is gone with the directory.
pub fn store(records: u64) -> (Arc<Store>, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = StoreOptions {
        path: dir.path().join("store"),
        memory_bytes_max: 256 * MIB,
        disk_bytes_max: 256 * MIB as u64,
        write_queue_bytes_max: 64 * MIB,
        durability: Durability::None,
        pinned: Vec::new(),
        stale_max: std::time::Duration::ZERO,
        on_disk: true,
        shared: None,
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let store = Store::open(&options, metrics).expect("a store");
    (0..records).for_each(|id| store.put(Arc::new(record(id))));
    (Arc::new(store), dir)
}

//! A purge of everything does not take longer with a million entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{HeaderValue, header::CONTENT_TYPE};
use llm_cache_server::config::Durability;
use llm_cache_server::key::Key;
use llm_cache_server::metrics::Metrics;
use llm_cache_server::store::about::About;
use llm_cache_server::store::record::Record;
use llm_cache_server::store::{Store, StoreOptions, now_ms};

use super::*;

const ENTRIES: u64 = 1_000_000;
/// Questions that clients ask meanwhile.
const ASKED: usize = 500;
const CLIENTS: usize = 8;
const PURGED_WITHIN: Duration = Duration::from_millis(100);

fn key(n: u64) -> Key {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..16].copy_from_slice(&n.to_be_bytes());
    Key::from_bytes(bytes)
}

/// Fills the store of a server that does not run.
async fn fill(proxy: &Proxy) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let options = StoreOptions {
        path: proxy.path("data"),
        on_disk: true,
        memory_bytes_max: 64 << 20,
        disk_bytes_max: 20 << 30,
        write_queue_bytes_max: 64 << 20,
        durability: Durability::None,
        pinned: Vec::new(),
        stale_max: Duration::ZERO,
        shared: None,
    };
    let store = Store::open(&options, metrics.clone()).unwrap();
    let about = Arc::new(About::new("chat", Some(MODEL), None, [7; 8], [9; 8]));
    for n in 0..ENTRIES {
        let now = now_ms();
        store.put(Arc::new(Record {
            key: key(n),
            stored_ms: now,
            expires_ms: now + 3_600_000,
            generation: store.generation(),
            about: about.clone(),
            status: 200,
            stream: false,
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body: format!("{{\"answer\":{n},\"filling\":\"{}\"}}", "x".repeat(150)).into(),
            chunks: Vec::new(),
            usage: None,
        }));
        if n % 1000 == 0 {
            let bound = Duration::from_secs(60);
            within(bound, "the queue is short", || {
                store.observe();
                let queued = metrics.store_write_queue_bytes.get();
                std::future::ready(match queued < 4 << 20 {
                    true => Ok(()),
                    false => Err(format!("{queued} bytes")),
                })
            })
            .await;
        }
    }
    store.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fills a store with a million entries"]
async fn a_million_entries_are_purged_at_once_under_load_and_do_not_come_back() {
    let _turn = alone().await;
    let origin = origin().start().await;
    let mut proxy = proxy()
        .upstream(&origin)
        .set("store.disk_bytes_max", "20GiB")
        .start()
        .await;
    proxy.sigterm();
    proxy.exits_within(ms(20_000)).await;
    let began = Instant::now();
    fill(&proxy).await;
    eprintln!("filled in {:?}", began.elapsed());
    let began = Instant::now();
    proxy.start_again().await;
    eprintln!("ready in {:?}", began.elapsed());
    let began = Instant::now();
    let stats = looked(&proxy, "/cache/stats").await;
    eprintln!("counted in {:?}", began.elapsed());
    assert_eq!(stats["entries"], ENTRIES);
    let asks: Vec<Ask> = (0..ASKED)
        .map(|n| chat(&format!("one of many {n}")))
        .collect();
    for ask in &asks {
        proxy.ask(ask).await.is(200, "miss");
    }
    written(&proxy, ENTRIES as usize + ASKED).await;
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = async || {
        let mut h1 = proxy.h1().await;
        while !over.load(Relaxed) {
            let n = asked.fetch_add(1, Relaxed);
            h1.ask(&asks[n % ASKED]).await.is_clean(200);
        }
    };
    let purging = async {
        let before = asked.load(Relaxed);
        within(ms(20_000), "clients ask", || {
            std::future::ready(match asked.load(Relaxed) > before + 1000 {
                true => Ok(()),
                false => Err(String::new()),
            })
        })
        .await;
        let mut h1 = H1::connect(proxy.admin).await;
        let ask = post("/cache/purge", &json!({"all": true}));
        let ask = ask.header("host", &proxy.admin.to_string());
        let began = Instant::now();
        h1.ask(&ask).await.is_clean(200);
        let took = began.elapsed();
        let now = asked.load(Relaxed);
        within(ms(20_000), "clients ask", || {
            std::future::ready(match asked.load(Relaxed) > now + 1000 {
                true => Ok(()),
                false => Err(String::new()),
            })
        })
        .await;
        over.store(true, Relaxed);
        took
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(|_| client()));
    let (took, _) = tokio::join!(purging, clients);
    eprintln!("purged in {took:?}");
    assert!(took < PURGED_WITHIN, "{took:?}");
    // Each question was paid for once more, and nothing but those is left.
    origin.was_called(2 * ASKED);
    let began = Instant::now();
    let stats = looked(&proxy, "/cache/stats").await;
    eprintln!("counted in {:?}", began.elapsed());
    assert!(
        stats["entries"].as_u64().unwrap() <= ASKED as u64,
        "{stats}"
    );
    proxy.kill9();
    proxy.exits_within(ms(5_000)).await;
    proxy.start_again().await;
    let stats = looked(&proxy, "/cache/stats").await;
    assert!(
        stats["entries"].as_u64().unwrap() <= ASKED as u64,
        "{stats}"
    );
    for n in (0..ENTRIES).step_by(10_007) {
        let path = format!("/cache/entries/{}", key(n));
        operate(&proxy, get(&path)).await.is_error(404);
    }
}

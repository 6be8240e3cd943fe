//! For how long an answer is used: fresh, stale while it is asked for anew, stale where the upstream
//! fails, and not at all by a client that retries away from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use llm_cache_server::config::Durability;
use llm_cache_server::key::Key;
use llm_cache_server::metrics::Metrics;
use llm_cache_server::store::record::Record;
use llm_cache_server::store::{Store, StoreOptions};

use crate::harness::*;

const HOUR_MS: u64 = 3_600_000;

/// A provider whose answers have this status as long as it is not 200.
async fn failing(status: &Arc<AtomicU16>) -> Origin {
    let status = status.clone();
    let answer = move |call: &Call| match status.load(Ordering::SeqCst) {
        200 => llm::any(call),
        status => Reply::error(status, "not now"),
    };
    origin().answer(answer).start().await
}

/// Makes the entries of these keys older, in the files of a server that has ended.
async fn age(proxy: &Proxy, keys: &[Key], expired_ms_ago: u64) {
    let options = StoreOptions {
        path: proxy.path("data"),
        on_disk: true,
        memory_bytes_max: 64 << 20,
        disk_bytes_max: 1 << 30,
        write_queue_bytes_max: 16 << 20,
        durability: Durability::Process,
        pinned: Vec::new(),
        stale_max: Duration::ZERO,
        shared: None,
    };
    let store = Store::open(&options, Arc::new(Metrics::new().unwrap())).unwrap();
    for key in keys {
        let (record, _) = store.get(key).await.expect("it was kept");
        let age = record.expires_ms - record.stored_ms + expired_ms_ago;
        store.put(Arc::new(Record {
            stored_ms: record.stored_ms - age,
            expires_ms: record.expires_ms - age,
            ..Record::clone(&record)
        }));
    }
    tokio::task::spawn_blocking(move || store.close())
        .await
        .unwrap();
}

/// Asks these questions, ends the server, and starts it again with all entries expired so long ago.
async fn expired(proxy: &mut Proxy, asks: &[Ask], expired_ms_ago: u64) {
    let mut keys = Vec::new();
    for ask in asks {
        let answer = proxy.ask(ask).await;
        let key = answer.is(200, "miss").field("x-llm-cache-key");
        keys.push(Key::from_hex(key.expect("a key")).expect("hex"));
    }
    proxy.sigterm();
    proxy.exits_within(Duration::from_secs(20)).await;
    age(proxy, &keys, expired_ms_ago).await;
    proxy.start_again().await;
}

fn questions(count: usize) -> Vec<Ask> {
    let ask = |n: usize| {
        let question = format!("stale {n}");
        if n.is_multiple_of(2) {
            chat(&question)
        } else {
            chat_stream(&question)
        }
    };
    (0..count).map(ask).collect()
}

#[tokio::test]
async fn an_hour_of_stale_answers_while_the_upstream_is_down_and_one_refresh_per_key() {
    const KEYS: usize = 40;
    const CLIENTS: usize = 8;
    let status = Arc::new(AtomicU16::new(200));
    let origin = failing(&status).await;
    let mut proxy = proxy()
        .upstream(&origin)
        .set("cache.stale_while_revalidate", "2h")
        .set("cache.error_linger", "0s")
        .start()
        .await;
    let asks = questions(KEYS);
    expired(&mut proxy, &asks, HOUR_MS).await;

    status.store(503, Ordering::SeqCst);
    for ask in &asks {
        let answer = proxy.ask(ask).await;
        answer
            .is(200, "stale")
            .says("hit")
            .says("detail=stale-while-revalidate");
        let status = answer.cache_status();
        let ttl = status
            .iter()
            .find_map(|p| p.strip_prefix("ttl=")?.parse::<i64>().ok());
        let hour = (HOUR_MS / 1000) as i64;
        assert!(
            ttl.is_some_and(|ttl| ttl <= -hour && ttl > -hour - 300),
            "{status:?}"
        );
        let age: u64 = answer.field("age").expect("an age").parse().unwrap();
        assert!(age >= HOUR_MS / 1000, "{age}");
    }
    // Every failed refresh has ended before the upstream is back.
    let failures = "llm_cache_upstream_errors_total{upstream=\"openai\",kind=\"status_5xx\"}";
    proxy.reaches(failures, KEYS as f64).await;
    proxy.falls_to("llm_cache_fills_in_flight", 0.0).await;

    status.store(200, Ordering::SeqCst);
    let before = origin.count();
    let burst = (0..CLIENTS).map(|_| ask_all(&proxy, &asks));
    for answer in join_all(burst).await.into_iter().flatten() {
        let outcome = answer.outcome();
        assert!(["stale", "hit"].contains(&outcome), "{}", answer.dump());
    }
    let stored = || async {
        let fresh = join_all(asks.iter().map(|ask| proxy.ask(ask))).await;
        match fresh
            .iter()
            .filter(|answer| answer.outcome() == "hit")
            .count()
        {
            KEYS => Ok(()),
            hits => Err(format!("{hits} of {KEYS} are fresh")),
        }
    };
    within(Duration::from_secs(10), "every key is fresh again", stored).await;
    assert_eq!(origin.count() - before, KEYS, "one refresh per key");
}

#[tokio::test]
async fn a_failing_upstream_is_stood_in_for() {
    for failure in [500, 502, 503, 529, 429] {
        let status = Arc::new(AtomicU16::new(200));
        let origin = failing(&status).await;
        let mut proxy = proxy()
            .upstream(&origin)
            .set("cache.error_linger", "0s")
            .start()
            .await;
        let asks = questions(2);
        expired(&mut proxy, &asks, HOUR_MS).await;
        status.store(failure, Ordering::SeqCst);
        for ask in &asks {
            let answer = proxy.ask(ask).await;
            answer
                .is(200, "stale")
                .says("fwd=stale")
                .says("detail=stale-if-error");
            answer.says(&format!("fwd-status={failure}"));
        }
        // Who does not want an old answer gets the failure.
        let young = asks[0].clone().cache_control("max-age=60");
        assert_eq!(proxy.ask(&young).await.head.status, failure);
        let fresh = asks[0].clone().cache_control("no-cache");
        assert_eq!(proxy.ask(&fresh).await.head.status, failure);
        // A refusal of the question itself is an answer.
        status.store(400, Ordering::SeqCst);
        assert_eq!(proxy.ask(&asks[0]).await.is_clean(400).outcome(), "miss");
        status.store(200, Ordering::SeqCst);
        proxy.ask(&asks[0]).await.is(200, "miss").says("fwd=stale");
        proxy.ask(&asks[0]).await.is(200, "hit");
    }
}

#[tokio::test]
async fn an_unreachable_or_silent_upstream_is_stood_in_for() {
    let gate = Gate::closed();
    let held = gate.clone();
    let silent = Arc::new(AtomicU16::new(200));
    let silence = silent.clone();
    let origin = origin()
        .answer(move |call| match silence.load(Ordering::SeqCst) {
            200 => llm::any(call),
            _ => llm::any(call).held(&held),
        })
        .start()
        .await;
    let mut proxy = proxy()
        .config(|c| {
            let short = serde_json::json!({"timeouts": {"first_byte": "300ms"}});
            c.upstream("openai", &origin, short);
        })
        .set("cache.error_linger", "0s")
        .start()
        .await;
    let asks = questions(2);
    expired(&mut proxy, &asks, HOUR_MS).await;
    silent.store(0, Ordering::SeqCst);
    proxy
        .ask(&asks[0])
        .await
        .is(200, "stale")
        .says("detail=stale-if-error");
    gate.open();
    drop(origin);
    let refused = async || {
        let answer = proxy.ask(&asks[1]).await;
        let status = answer.cache_status();
        match status.iter().any(|part| part == "detail=stale-if-error") {
            true => Ok(()),
            false => Err(answer.dump()),
        }
    };
    within(Duration::from_secs(5), "the upstream is gone", refused).await;
    proxy.ask(&chat("never asked")).await.is_error(502);
}

#[tokio::test]
async fn an_answer_that_is_too_old_is_gone() {
    let status = Arc::new(AtomicU16::new(200));
    let origin = failing(&status).await;
    let mut proxy = proxy()
        .upstream(&origin)
        .set("cache.stale_while_revalidate", "30m")
        .set("cache.stale_if_error", "59m")
        .start()
        .await;
    let asks = questions(1);
    expired(&mut proxy, &asks, HOUR_MS).await;
    status.store(503, Ordering::SeqCst);
    assert_eq!(proxy.ask(&asks[0]).await.is_clean(503).outcome(), "miss");
    let cached = asks[0].clone().cache_control("only-if-cached");
    proxy.ask(&cached).await.is_error(504);
}

#[tokio::test]
async fn times_follow_the_first_rule_that_fits() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.ttl", "10d")
        .set(
            "cache.rules",
            serde_json::json!([
                {"api": "embeddings", "ttl": "300d"},
                {"upstream": "openai", "models": ["gpt-*"], "ttl": "1h"},
            ]),
        )
        .start()
        .await;
    let hours = async |ask: Ask| {
        proxy.ask(&ask).await.is(200, "miss");
        let hit = proxy.ask(&ask).await;
        let status = hit.is(200, "hit").cache_status();
        let ttl = status
            .iter()
            .find_map(|p| p.strip_prefix("ttl=")?.parse::<f64>().ok());
        (ttl.expect("a ttl") / 3600.0).round() as u64
    };
    assert_eq!(hours(embeddings(&["a"])).await, 300 * 24);
    assert_eq!(hours(chat("by model")).await, 1);
    assert_eq!(hours(messages("claude", false)).await, 10 * 24);
    // What the client asks for counts, up to the maximum.
    let ask = |ttl: &str| chat(&format!("ttl {ttl}")).header("x-llm-cache-ttl", ttl);
    assert_eq!(hours(ask("2h")).await, 2);
    assert_eq!(hours(ask("10800")).await, 3);
    assert_eq!(hours(ask("400d")).await, 30 * 24);
    assert!(
        origin
            .calls()
            .iter()
            .all(|c| c.header("x-llm-cache-ttl").is_none())
    );
    proxy
        .ask(&ask("0"))
        .await
        .is(200, "bypass")
        .says("detail=no-store");
    let refused = proxy.ask(&ask("soon")).await;
    assert!(
        refused.is_error(400).text().contains("x-llm-cache-ttl"),
        "{}",
        refused.dump()
    );
}

#[tokio::test]
async fn a_retry_gets_a_new_answer_only_where_it_was_given_the_stored_one() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| match call.number {
            1 => llm::any(call).held(&held),
            _ => llm::any(call),
        })
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("retried");
    let retry = ask.clone().header("x-stainless-retry-count", "1");
    // A client that gave up waiting: the answer came after it had left.
    {
        let mut h1 = proxy.h1().await;
        let request = [head_of(&ask).into_bytes(), body_of(&ask)].concat();
        h1.write(&request).await.unwrap();
        origin.called(1).await;
    }
    proxy.falls_to("llm_cache_followers", 0.0).await;
    gate.open();
    proxy
        .reaches("llm_cache_store_entries{tier=\"memory\"}", 1.0)
        .await;
    assert_eq!(proxy.ask(&retry).await.is(200, "hit").call(), 1);
    // It has that answer now, and retries all the same.
    assert_eq!(proxy.ask(&retry).await.is(200, "refresh").call(), 2);
    assert_eq!(proxy.ask(&ask).await.is(200, "hit").call(), 2);
    let first = ask.header("x-stainless-retry-count", "0");
    assert_eq!(proxy.ask(&first).await.is(200, "hit").call(), 2);
}

#[tokio::test]
async fn retries_can_be_told_to_take_the_stored_answer() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.retries", "hit")
        .start()
        .await;
    let retry = chat("retried").header("x-stainless-retry-count", "1");
    proxy.ask(&retry).await.is(200, "miss");
    proxy.ask(&retry).await.is(200, "hit");
    origin.was_called(1);
}

//! Single texts of embeddings: what one replica knows of a batch, the others need not ask for.

use std::time::Instant;

use super::*;
use crate::by_item::{batch, embedded, inputs, texts};
use crate::operating::purge;

/// Texts by number, as a request.
fn of(range: std::ops::Range<usize>) -> Ask {
    batch(&texts(range), json!({}))
}

async fn two(origin: &Origin, nodes: &[String]) -> [Proxy; 2] {
    let fleet = fleet(2, origin, nodes).await;
    fleet.try_into().unwrap_or_else(|_| unreachable!())
}

/// How often the server asked its shared tier for values.
async fn gets(replica: &Proxy) -> f64 {
    let metrics = replica.metrics().await;
    metrics.value("llm_cache_shared_operations_total{operation=\"get\"}")
}

#[tokio::test]
async fn of_texts_that_another_replica_knows_none_is_asked_for() {
    let origin = origin().answer(embedded).start().await;
    let cluster = RedisCluster::start().await;
    let [one, other] = two(&origin, &cluster.node_names()).await;
    one.ask(&of(0..100)).await.is(200, "miss");
    stored(&cluster.masters, 101).await;
    // All of them, from three servers, and in another order.
    let mut known = texts(20..80);
    known.reverse();
    let ask = batch(&known, json!({}));
    let hit = other.ask(&ask).await;
    hit.is(200, "hit");
    assert!(hit.field("age").is_some(), "{}", hit.dump());
    assert_eq!(shared_hits(&other).await, 60.0);
    origin.was_called(1);
    let uncached = other.ask(&ask.clone().cache_control("no-store")).await;
    assert_eq!(hit.json()["data"], uncached.json()["data"]);
    // Some of them, beside new ones and some that it has itself by now.
    let partly = other.ask(&of(70..110)).await;
    partly.is(200, "miss").says("detail=items-30-of-40");
    assert_eq!(inputs(&origin).await, 10);
    let uncached = other.ask(&of(70..110).cache_control("no-store")).await;
    assert_eq!(partly.json()["data"], uncached.json()["data"]);
    // What it has been given is its own.
    let asked = gets(&other).await;
    other.ask(&of(20..100)).await.is(200, "hit");
    assert_eq!(gets(&other).await, asked);
    // The new ones are the first one's as well.
    stored(&cluster.masters, 112).await;
    one.ask(&of(95..110)).await.is(200, "hit");
    origin.was_called(4);
}

#[tokio::test]
async fn a_text_is_known_elsewhere_from_a_batch_and_a_batch_from_its_texts() {
    let origin = origin().answer(embedded).start().await;
    let redis = Redis::start().await;
    let [one, other] = two(&origin, &[redis.node()]).await;
    one.ask(&of(0..3)).await.is(200, "miss");
    stored([&redis], 4).await;
    other.ask(&of(1..2)).await.is(200, "hit");
    for n in 5..8 {
        other.ask(&of(n..n + 1)).await.is(200, "miss");
    }
    stored([&redis], 10).await;
    one.ask(&of(5..8)).await.is(200, "hit");
    // One that is nobody else's to know.
    other.ask(&of(0..3).bearer("another")).await.is(200, "miss");
    other
        .ask(&batch(&texts(0..3), json!({"dimensions": 3})))
        .await
        .is(200, "miss");
    origin.was_called(6);
}

#[tokio::test]
async fn a_batch_that_another_replica_got_is_one_value() {
    let origin = origin().answer(embedded).start().await;
    let redis = Redis::start().await;
    let [one, other] = two(&origin, &[redis.node()]).await;
    let miss = one.ask(&of(0..50)).await;
    miss.is(200, "miss");
    stored([&redis], 51).await;
    let asked = gets(&other).await;
    assert_eq!(other.ask(&of(0..50)).await.is(200, "hit").body, miss.body);
    assert_eq!(gets(&other).await, asked + 1.0);
    assert_eq!(shared_hits(&other).await, 1.0);
}

#[tokio::test]
async fn of_a_thousand_texts_those_that_are_known_elsewhere_are_not_asked_for() {
    let origin = origin().answer(embedded).start().await;
    let cluster = RedisCluster::start().await;
    let [one, other] = two(&origin, &cluster.node_names()).await;
    one.ask(&of(0..900)).await.is(200, "miss");
    stored(&cluster.masters, 901).await;
    let began = Instant::now();
    let partly = other.ask(&of(0..1000)).await;
    partly.is(200, "miss").says("detail=items-900-of-1000");
    println!("900 of 1000 texts were there after {:?}", began.elapsed());
    assert_eq!(inputs(&origin).await, 100);
}

#[tokio::test]
async fn texts_that_are_purged_or_damaged_are_asked_for() {
    let origin = origin().answer(embedded).start().await;
    let redis = Redis::start().await;
    let [one, other] = two(&origin, &[redis.node()]).await;
    one.ask(&of(0..10)).await.is(200, "miss");
    stored([&redis], 11).await;
    for (node, key) in answers([&redis]).await {
        let value = node.ask_bytes(&[b"GET", &key]).await.bytes();
        let at = (value.len() - 1).to_string();
        node.ask_bytes(&[b"SETRANGE", &key, at.as_bytes(), b"?"])
            .await;
    }
    other.ask(&of(2..6)).await.is(200, "miss");
    assert_eq!(inputs(&origin).await, 4);
    let metrics = other.metrics().await;
    let damaged = "llm_cache_shared_bad_values_total{reason=\"damaged\"}";
    assert_eq!(metrics.value(damaged), 4.0);

    one.ask(&of(20..30)).await.is(200, "miss");
    stored([&redis], 22).await;
    purge(&one, &json!({"model": "text-embedding-3-small"})).await;
    let received = "llm_cache_shared_purges_total{direction=\"received\"}";
    other.reaches(received, 1.0).await;
    other.ask(&of(22..26)).await.is(200, "miss");
    assert_eq!(inputs(&origin).await, 4);
    origin.was_called(4);
}

#[tokio::test]
async fn with_a_redis_that_hangs_a_batch_waits_for_one_deadline() {
    const DEADLINE: Duration = ms(1_000);
    let _turn = alone().await;
    let origin = origin().answer(embedded).start().await;
    let redis = Redis::start().await;
    let fleet = fleet(1, &origin, &[redis.node()]).await;
    fleet[0].ask(&of(0..10)).await.is(200, "miss");
    stored([&redis], 11).await;
    redis.freeze();
    // Nothing of it is known, some of it is.
    for (ask, detail) in [
        (of(100..150), None),
        (of(5..55), Some("detail=items-5-of-50")),
    ] {
        let began = Instant::now();
        let answer = fleet[0].ask(&ask).await;
        answer.is(200, "miss");
        if let Some(detail) = detail {
            answer.says(detail);
        }
        let took = began.elapsed();
        println!("a batch took {took:?} while Redis hangs");
        assert!(took < DEADLINE + DEADLINE / 2, "it took {took:?}");
    }
    // Not even that once it is known.
    let next = AtomicUsize::new(100);
    let no_wait = async || {
        let n = 10 * next.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        fleet[0].ask(&of(n..n + 5)).await.is(200, "miss");
        match began.elapsed() < DEADLINE / 2 {
            true => Ok(()),
            false => Err(format!("it took {:?}", began.elapsed())),
        }
    };
    within(ms(60_000), "a batch that does not wait", no_wait).await;
    fleet[0].ask(&of(5..55)).await.is(200, "hit");
}

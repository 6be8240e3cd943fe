//! An answer that another replica got in one form answers the other one here as well.

use std::time::Instant;

use super::*;
use crate::forms::{keep_all, names, provider, question};
use crate::operating::key_of;

const FOLDER: &str = "tests/forms";
/// Recorded answers of each API that are tried.
const SOME: usize = 3;

async fn keeping(count: usize, origin: &Origin, nodes: &[String]) -> Vec<Proxy> {
    fleet_of(count, || {
        replica(origin, nodes).set("cache.keep", keep_all())
    })
    .await
}

/// A question as a stream and as JSON.
fn both(api: &str, name: &str) -> [Ask; 2] {
    [
        question(api, name, true, api == "chat"),
        question(api, name, false, false),
    ]
}

#[tokio::test]
async fn an_answer_of_another_replica_answers_the_other_form() {
    let origin = provider(FOLDER).await;
    let cluster = RedisCluster::start().await;
    let fleet = keeping(2, &origin, &cluster.node_names()).await;
    let (mut calls, mut answered) = (0, 0);
    for api in ["chat", "responses", "messages"] {
        for name in names(FOLDER, api).iter().take(SOME) {
            for streams_first in [true, false] {
                let tenant = format!("{name} {streams_first}");
                let mut asks = both(api, name).map(|ask| ask.bearer(&tenant));
                if !streams_first {
                    asks.reverse();
                }
                let [first, other] = asks;
                let recorded = fleet[0].ask(&first).await;
                calls += 1;
                if recorded.head.status == 404 {
                    continue;
                }
                recorded.is(200, "miss");
                answered += 1;
                stored(&cluster.masters, answered).await;
                let made = fleet[1].ask(&other).await;
                made.is(200, "hit");
                assert!(made.field("age").is_some(), "{}", made.dump());
                // The form that was found is its own now, and so is the one that was made.
                assert_eq!(shared_hits(&fleet[1]).await, answered as f64);
                assert_eq!(fleet[1].ask(&other).await.is(200, "hit").body, made.body);
                let same = fleet[1].ask(&first).await;
                assert_eq!(same.is(200, "hit").body, recorded.body);
                assert_eq!(shared_hits(&fleet[1]).await, answered as f64);
                // It is what the first replica makes of it.
                assert_eq!(fleet[0].ask(&other).await.is(200, "hit").body, made.body);
                origin.was_called(calls);
            }
        }
    }
    assert!(answered >= 2 * SOME, "only {answered} answers");
    // One entry for all forms, there as well.
    assert_eq!(answers(&cluster.masters).await.len(), answered);
}

#[tokio::test]
async fn a_crowd_at_replicas_that_have_neither_form_asks_nobody() {
    const COUNT: usize = 10;
    let origin = origin().answer(llm::any).start().await;
    let redis = Redis::start().await;
    let fleet = fleet(3, &origin, &[redis.node()]).await;
    for n in 0..COUNT {
        let words = format!("in another form {n}");
        fleet[0].ask(&chat(&words)).await.is(200, "miss");
        stored([&redis], n + 1).await;
        let asks = vec![chat_stream(&words); 5];
        let asking = fleet[1..].iter().map(|replica| ask_all(replica, &asks));
        let crowd = futures_util::future::join_all(asking).await;
        let here = fleet[0].ask(&chat_stream(&words)).await;
        for answer in crowd.iter().flatten() {
            answer.is_clean(200);
            assert_eq!(answer.body, here.body);
        }
        origin.was_called(n + 1);
    }
    for replica in &fleet[1..] {
        let metrics = replica.metrics().await;
        let followed = |how: &str| {
            metrics.value(&format!(
                "llm_cache_shared_followed_total{{result=\"{how}\"}}"
            ))
        };
        println!("{} followed another replica", followed("complete"));
        for how in ["broken", "taken-over", "refused"] {
            assert_eq!(followed(how), 0.0, "{how}");
        }
    }
}

#[tokio::test]
async fn who_meets_the_lease_of_one_that_finds_another_form_gets_it_too() {
    let origin = origin().answer(llm::any).start().await;
    let redis = Redis::start().await;
    let lag = Lag::before(redis.port).await;
    let one = replica(&origin, &[lag.node()]).start().await;
    let other = fleet(2, &origin, &[redis.node()]).await;
    joined(&one).await;
    other[0].ask(&chat("met")).await.is(200, "miss");
    stored([&redis], 1).await;
    // The first one has the lease, and takes its time.
    lag.latency(ms(200));
    let ask = chat_stream("met");
    let claimed = async {
        let taken = async || match redis.keys().await.iter().any(|key| key.ends_with(b":l")) {
            true => Ok(()),
            false => Err("nobody has the lease".to_owned()),
        };
        within(ms(10_000), "the lease is taken", taken).await;
        other[1].ask(&ask).await
    };
    let (found, followed) = tokio::join!(one.ask(&ask), claimed);
    found.is(200, "hit");
    assert_eq!(followed.is(200, "coalesced").body, found.body);
    let complete = "llm_cache_shared_followed_total{result=\"complete\"}";
    assert_eq!(other[1].metrics().await.value(complete), 1.0);
    origin.was_called(1);
}

#[tokio::test]
async fn what_would_lose_a_field_is_asked_for_at_another_replica_too() {
    const REFUSED: &str = "tests/forms/refused";
    let origin = provider(REFUSED).await;
    let redis = Redis::start().await;
    let fleet = keeping(2, &origin, &[redis.node()]).await;
    let mut refused = 0;
    for name in names(REFUSED, "chat") {
        let [stream, json] = both("chat", &name);
        fleet[0].ask(&stream).await;
        // Some are not even kept in the form they came in.
        let kept = fleet[0].ask(&stream).await;
        if kept.outcome() == "hit" {
            let key = format!("t:{{{}}}", key_of(&kept)).into_bytes();
            let there = async || match answers([&redis]).await.iter().any(|(_, at)| *at == key) {
                true => Ok(()),
                false => Err("it is not there".to_owned()),
            };
            within(ms(5_000), "an answer is shared", there).await;
            let asked = fleet[1].ask(&json).await;
            assert_eq!(asked.outcome(), "miss", "{name}: {}", asked.dump());
            refused += 1;
        }
    }
    assert!(refused > 0, "nothing was refused");
}

#[tokio::test]
async fn with_a_redis_that_hangs_a_miss_waits_for_one_deadline() {
    const DEADLINE: Duration = ms(1_000);
    let _turn = alone().await;
    let origin = origin().answer(llm::any).start().await;
    let redis = Redis::start().await;
    let fleet = fleet(1, &origin, &[redis.node()]).await;
    redis.freeze();
    for ask in [
        chat("nobody knows"),
        chat_stream("nobody knows that either"),
    ] {
        for (ask, outcome) in [
            (ask.clone().cache_control("only-if-cached"), "bypass"),
            (ask.clone(), "miss"),
            (ask, "hit"),
        ] {
            let began = Instant::now();
            assert_eq!(fleet[0].ask(&ask).await.outcome(), outcome);
            let took = began.elapsed();
            println!("{outcome}: {took:?} while Redis hangs");
            assert!(took < DEADLINE + DEADLINE / 2, "{outcome} took {took:?}");
        }
    }
}

//! Stale answers while they are asked for anew: nobody waits for the fleet before one is served.

use std::time::Instant;

use super::*;

fn with_stale(origin: &Origin, nodes: &[String]) -> ProxyBuilder {
    replica(origin, nodes).set("cache.stale_while_revalidate", "1h")
}

/// The question, the answer to which is to be fresh for so long only.
fn brief(ask: &Ask, ttl: &str) -> Ask {
    ask.clone().header("x-llm-cache-ttl", ttl)
}

/// Waits until a server's answer is a stale one, without having it asked for anew.
async fn expired(replica: &Proxy, ask: &Ask) {
    let ask = ask.clone().cache_control("only-if-cached");
    within(ms(20_000), "a stale answer", async || {
        match replica.ask(&ask).await.is_clean(200).outcome() {
            "stale" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

/// Asks for a stale answer; how long it took.
async fn stale(replica: &Proxy, ask: &Ask) -> Duration {
    let began = Instant::now();
    let answer = replica.ask(ask).await;
    assert_eq!(answer.is(200, "stale").call(), 1);
    began.elapsed()
}

/// Waits until a server has the answer to this call.
async fn has(replica: &Proxy, ask: &Ask, call: usize) {
    within(ms(20_000), "the new answer", async || {
        let answer = replica.ask(ask).await;
        match answer.is_clean(200).call() {
            new if new == call => Ok(()),
            old => Err(format!("that of call {old}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_stale_answer_does_not_wait_for_a_redis_that_hangs() {
    const DEADLINE: Duration = ms(1_000);
    let _turn = alone().await;
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet_of(1, || with_stale(&origin, &[redis.node()])).await;
    let ask = chat("soon stale");
    fleet[0].ask(&brief(&ask, "2s")).await.is(200, "miss");
    stored([&redis], 1).await;
    redis.freeze();
    expired(&fleet[0], &ask).await;
    let took = stale(&fleet[0], &ask).await;
    println!("a stale answer took {took:?} while Redis hangs");
    assert!(took < DEADLINE / 2, "it took {took:?}");
    // It is asked for anew all the same, once.
    has(&fleet[0], &ask, 2).await;
    origin.was_called(2);
}

#[tokio::test]
async fn what_one_replica_asks_anew_the_others_do_not() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.number {
        2 => llm::any(call).held(&held),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let redis = Redis::start().await;
    let fleet = fleet_of(2, || with_stale(&origin, &[redis.node()])).await;
    let ask = chat("stale at both");
    fleet[0].ask(&brief(&ask, "4s")).await.is(200, "miss");
    is_known(&fleet[1], &ask).await;
    fleet[1].ask(&ask).await.is(200, "hit");
    for replica in &fleet {
        expired(replica, &ask).await;
    }
    // Some clocks are a moment behind.
    let gone = async || match answers([&redis]).await.len() {
        0 => Ok(()),
        _ => Err("it is there".to_owned()),
    };
    within(ms(20_000), "it has expired on the shared tier", gone).await;
    for replica in &fleet {
        stale(replica, &ask).await;
    }
    origin.called(2).await;
    gate.open();
    for replica in &fleet {
        has(replica, &ask, 2).await;
    }
    origin.was_called(2);
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_being_asked_anew() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.number {
        2 => llm::any(call).held(&held),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let redis = Redis::start().await;
    let mut fleet = fleet_of(1, || with_stale(&origin, &[redis.node()])).await;
    let ask = chat("stale at the end");
    fleet[0].ask(&brief(&ask, "2s")).await.is(200, "miss");
    stored([&redis], 1).await;
    // It has still to claim it when it is told to stop.
    redis.freeze();
    expired(&fleet[0], &ask).await;
    stale(&fleet[0], &ask).await;
    fleet[0].sigterm();
    origin.called(2).await;
    gate.open();
    assert!(fleet[0].exits_within(ms(20_000)).await.success());
    redis.thaw();
    fleet[0].start_again().await;
    joined(&fleet[0]).await;
    let answer = fleet[0].ask(&ask).await;
    assert_eq!(answer.is(200, "hit").call(), 2);
}

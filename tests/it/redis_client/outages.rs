//! A server that is away, hangs, is slow or comes back.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use llm_cache_server::store::shared::client::breaker::State;
use llm_cache_server::store::shared::client::engine::Engine;
use llm_cache_server::store::shared::client::options::Mode;
use llm_cache_server::store::shared::client::seats::IN_FLIGHT_MAX;
use llm_cache_server::store::shared::client::trouble::Trouble;

use super::*;

/// The deadline as it is shipped.
const SHORT: Duration = ms(30);
/// What the machine may add to a deadline.
const GRACE: Duration = ms(400);

fn hurried(node: String) -> Engine {
    let mut options = options(vec![node], Mode::Single);
    options.deadline = SHORT;
    Engine::new(&options).unwrap()
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn starts_without_a_server_and_finds_it_when_it_appears() {
    let port = Port::free();
    let engine = single(port.addr().to_string());
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(engine.get(b"k").await, Err(Trouble::Unreachable));
        assert!(began.elapsed() < GRACE);
    }
    until("a reason", async || engine.health().error.is_some()).await;
    assert_eq!(engine.health().connected, 0);
    let _redis = Redis::start_on(port).await;
    works(&engine, "k").await;
    assert_eq!(engine.health().error, None);
    assert_eq!(engine.health().breaker, State::Closed);
}

#[tokio::test]
async fn survives_a_server_that_is_killed_and_restarted() {
    let mut redis = Redis::start().await;
    let engine = connected(redis.node()).await;
    for _ in 0..3 {
        redis.kill();
        until("failure", async || engine.get(b"k").await.is_err()).await;
        for _ in 0..100 {
            let began = Instant::now();
            assert!(engine.get(b"k").await.is_err());
            assert!(began.elapsed() < GRACE);
        }
        assert_eq!(engine.get(b"k").await, Err(Trouble::Open));
        redis.start_again().await;
        works(&engine, "k").await;
    }
    assert_eq!(engine.health().breaker, State::Closed);
}

/// A frozen server accepts connections and bytes and answers nothing.
#[tokio::test]
async fn a_frozen_server_costs_one_deadline_and_no_memory() {
    let redis = Redis::start().await;
    let engine = connected(redis.node()).await;
    let hurried = hurried(redis.node());
    works(&hurried, "k").await;
    redis.freeze();

    // As many at once as may be: all of them meet their deadline, later ones the breaker.
    let value = vec![1; 4096];
    let began = Instant::now();
    let outcomes = join_all((0..IN_FLIGHT_MAX).map(|_| hurried.set(b"k", &value, 1000))).await;
    let took = began.elapsed();
    assert!(outcomes.iter().all(|o| *o == Err(Trouble::Deadline)));
    assert!(took < SHORT + GRACE * 3, "{IN_FLIGHT_MAX} took {took:?}");
    assert_eq!(hurried.health().breaker, State::Open);
    assert_eq!(hurried.health().in_flight, 0);

    let before = resident();
    let mut longest = Duration::ZERO;
    let mut outcomes = stream::iter(0..50_000)
        .map(|_| async {
            let began = Instant::now();
            let outcome = hurried.set(b"k", &value, 1000).await;
            tokio::task::yield_now().await;
            (outcome, began.elapsed())
        })
        .buffer_unordered(100);
    while let Some((outcome, took)) = outcomes.next().await {
        assert!(outcome.is_err());
        longest = longest.max(took);
    }
    assert!(longest < SHORT + GRACE, "{longest:?}");
    let grown = resident().saturating_sub(before);
    assert!(
        grown < 32 * 1024 * 1024,
        "{grown} bytes for 50,000 operations"
    );

    // The probes alone, over some seconds: the connection that does not answer is given up.
    let began = Instant::now();
    while began.elapsed() < ms(4000) {
        let asked = Instant::now();
        assert!(engine.get(b"k").await.is_err());
        assert!(asked.elapsed() < DEADLINE + GRACE);
        tokio::time::sleep(ms(5)).await;
    }
    redis.thaw();
    works(&engine, "k").await;
    works(&hurried, "k").await;
    assert_eq!(engine.health().breaker, State::Closed);
}

#[tokio::test]
async fn latency_opens_the_breaker_and_its_end_closes_it() {
    let redis = Redis::start().await;
    let lag = Lag::before(redis.port).await;
    let engine = connected(lag.node()).await;
    lag.latency(ms(500));
    let mut deadlines = 0;
    while engine.health().breaker != State::Open {
        let began = Instant::now();
        // On a machine that is busy the connection is given up meanwhile.
        let outcome = engine.get(b"k").await;
        assert!(matches!(
            outcome,
            Err(Trouble::Deadline | Trouble::Unreachable)
        ));
        assert!(began.elapsed() < DEADLINE + GRACE);
        deadlines += 1;
    }
    assert!(deadlines <= 10, "{deadlines}");
    // Probes fail for as long as it lasts.
    let began = Instant::now();
    while began.elapsed() < ms(3000) {
        assert!(engine.get(b"k").await.is_err());
        tokio::time::sleep(ms(10)).await;
    }
    lag.clear();
    let began = Instant::now();
    works(&engine, "k").await;
    assert!(began.elapsed() < ms(6000), "{:?}", began.elapsed());
    // Late answers were nobody else's.
    for nth in 0..100 {
        let (key, value) = (format!("k{nth}"), format!("v{nth}"));
        engine
            .set(key.as_bytes(), value.as_bytes(), 1000)
            .await
            .unwrap();
        assert_eq!(engine.get(key.as_bytes()).await.unwrap().unwrap(), value);
    }
}

/// Answers that come after their operation has gone are not taken for answers to others.
#[tokio::test]
async fn late_answers_are_nobody_elses() {
    let redis = Redis::start().await;
    let lag = Lag::before(redis.port).await;
    let engine = connected(lag.node()).await;
    for nth in 0..50 {
        redis
            .ask(&["SET", &format!("k{nth}"), &format!("v{nth}")])
            .await;
    }
    for round in 0..200 {
        // Around the deadline; the breaker stays closed as long as enough come in time.
        lag.latency(if round % 4 == 0 {
            ms(49 + round % 5)
        } else {
            ms(0)
        });
        let keys: Vec<String> = (0..50).map(|nth| format!("k{nth}")).collect();
        let values = join_all(keys.iter().map(|key| engine.get(key.as_bytes()))).await;
        for (nth, value) in values.iter().enumerate() {
            if let Ok(value) = value {
                assert_eq!(value.as_deref(), Some(format!("v{nth}").as_bytes()));
            }
        }
    }
}

#[tokio::test]
async fn a_network_that_stalls_breaks_or_refuses_is_survived() {
    let redis = Redis::start().await;
    let lag = Lag::before(redis.port).await;
    let engine = connected(lag.node()).await;
    let acts: [fn(&Lag); 3] = [Lag::stall, Lag::cut, Lag::refuse];
    for act in acts {
        act(&lag);
        until("failure", async || engine.get(b"k").await.is_err()).await;
        for _ in 0..50 {
            let began = Instant::now();
            let _ = engine.get(b"k").await;
            assert!(began.elapsed() < DEADLINE + GRACE);
        }
        lag.clear();
        works(&engine, "k").await;
    }
}

#[tokio::test]
async fn more_than_may_be_under_way_is_refused_at_once() {
    let redis = Redis::start().await;
    let engine = connected(redis.node()).await;
    redis.freeze();
    let all = join_all((0..2 * IN_FLIGHT_MAX).map(|_| engine.get(b"k"))).await;
    let busy = all.iter().filter(|o| **o == Err(Trouble::Busy)).count();
    assert_eq!(busy, IN_FLIGHT_MAX);
    redis.thaw();
    works(&engine, "k").await;
}

/// Callers that go away, as clients do, leave nothing behind.
#[tokio::test]
async fn callers_that_go_away_leave_nothing_behind() {
    let redis = Redis::start().await;
    let lag = Lag::before(redis.port).await;
    let engine = connected(lag.node()).await;
    lag.latency(ms(20));
    for _ in 0..200 {
        let asking = join_all((0..20).map(|_| engine.get(b"k")));
        let _ = tokio::time::timeout(ms(1), asking).await;
    }
    lag.clear();
    works(&engine, "k").await;
    assert_eq!(engine.health().in_flight, 0);
    assert_eq!(engine.health().breaker, State::Closed);
}

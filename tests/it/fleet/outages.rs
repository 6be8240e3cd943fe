//! The shared tier is slow, hangs, dies, fails over: misses cost a deadline at most, hits nothing,
//! and no request fails.

use std::time::Instant;

use super::*;

/// What a miss may cost more than its deadline on a machine that is busy with other stories.
const MISS_WITHIN: Duration = ms(500);
/// Alone on a machine, a miss costs its deadline and this.
const SLACK: Duration = ms(50);
const DEADLINE: Duration = ms(30);

/// Servers with the deadline as it is shipped.
async fn hurried(count: usize, origin: &Origin, nodes: &[String]) -> Vec<Proxy> {
    fleet_of(count, || {
        replica(origin, nodes).set("shared.deadline", SHIPPED)
    })
    .await
}

/// Asks one at a time: how long the slowest took. Every answer has this outcome.
async fn slowest(replica: &Proxy, asks: &[Ask], outcome: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut h1 = replica.h1().await;
    for ask in asks {
        let began = Instant::now();
        h1.ask(ask).await.is(200, outcome);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

fn questions(tag: &str, count: usize) -> Vec<Ask> {
    (0..count)
        .map(|n| match n % 3 {
            0 => chat_stream(&format!("{tag} {n}")),
            _ => chat(&format!("{tag} {n}")),
        })
        .collect()
}

/// While the shared tier is of no use: hits are hits, misses are answered and soon.
async fn goes_on(replica: &Proxy, known: &[Ask], tag: &str) {
    let new = questions(tag, 40);
    let misses = slowest(replica, &new, "miss").await;
    let hits = slowest(replica, known, "hit").await;
    slowest(replica, &new, "hit").await;
    println!("{tag}: the slowest miss took {misses:?}, the slowest hit {hits:?}");
    assert!(misses < MISS_WITHIN, "{tag}: a miss took {misses:?}");
    assert!(hits < MISS_WITHIN, "{tag}: a hit took {hits:?}");
    if misses > DEADLINE + SLACK {
        println!("{tag}: that is more than a deadline and {SLACK:?}");
    }
    // Many at once are no worse.
    let crowd = questions(&format!("{tag}, at once"), 100);
    let began = Instant::now();
    for answer in ask_all(replica, &crowd).await {
        answer.is(200, "miss");
    }
    let took = began.elapsed();
    println!("{tag}: {} misses at once took {took:?}", crowd.len());
    assert!(took < ms(5_000), "{tag}: misses at once took {took:?}");
    replica.admin_get("/readyz").await.is_clean(200);
}

#[tokio::test]
async fn without_redis_at_the_start_it_starts_and_uses_it_once_it_is_there() {
    let origin = origin().start().await;
    let port = Port::free();
    let nodes = [port.addr().to_string()];
    let ready = || {
        replica(&origin, &nodes)
            .set("shared.deadline", SHIPPED)
            .start()
    };
    let began = Instant::now();
    let fleet = [ready().await, ready().await];
    assert!(began.elapsed() < ms(10_000), "a start waits for Redis");
    let known = questions("before Redis", 10);
    slowest(&fleet[0], &known, "miss").await;
    goes_on(&fleet[0], &known, "Redis is not there").await;
    let metrics = fleet[0].metrics().await;
    assert_eq!(metrics.value("llm_cache_shared_purges_known"), 0.0);
    assert_eq!(metrics.value("llm_cache_shared_servers_connected"), 0.0);
    let _redis = Redis::start_on(port).await;
    for replica in &fleet {
        joined(replica).await;
    }
    sharing(&fleet[0], &fleet[1]).await;
    sharing(&fleet[1], &fleet[0]).await;
    slowest(&fleet[0], &known, "hit").await;
}

#[tokio::test]
async fn a_redis_that_hangs_costs_misses_a_deadline_and_hits_nothing() {
    let _turn = alone().await;
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = hurried(2, &origin, &[redis.node()]).await;
    let known = questions("known", 20);
    slowest(&fleet[0], &known, "miss").await;
    redis.freeze();
    goes_on(&fleet[0], &known, "Redis hangs").await;
    goes_on(&fleet[1], &[], "Redis hangs for another").await;
    redis.thaw();
    for replica in &fleet {
        joined(replica).await;
    }
    sharing(&fleet[0], &fleet[1]).await;
}

#[tokio::test]
async fn so_does_one_that_is_half_a_second_away() {
    let _turn = alone().await;
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let lag = Lag::before(redis.port).await;
    let fleet = hurried(2, &origin, &[lag.node()]).await;
    let known = questions("known", 20);
    slowest(&fleet[0], &known, "miss").await;
    lag.latency(ms(500));
    goes_on(&fleet[0], &known, "500 ms away").await;
    lag.clear();
    for replica in &fleet {
        joined(replica).await;
    }
    sharing(&fleet[0], &fleet[1]).await;
}

#[tokio::test]
async fn so_does_one_whose_connections_break_and_stall() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let lag = Lag::before(redis.port).await;
    let fleet = hurried(2, &origin, &[lag.node()]).await;
    let known = questions("known", 20);
    slowest(&fleet[0], &known, "miss").await;
    for (tag, fault) in [
        ("cut", Lag::cut as fn(&Lag)),
        ("stalled", Lag::stall),
        ("refused", Lag::refuse),
    ] {
        fault(&lag);
        goes_on(&fleet[0], &known, tag).await;
        lag.clear();
        sharing(&fleet[0], &fleet[1]).await;
    }
}

/// An answer is on its way from one replica to another when Redis dies, to come back empty: at once,
/// or when all is over.
async fn dies_in_mid_stream(back_at_once: bool) {
    let gate = Gate::closed();
    let held = gate.clone();
    let reply = |call: &Call| llm::chat_stream(call, 8);
    let script = move |call: &Call| match call.number {
        1 => reply(call).held_after(3, &held),
        _ if call.streams() => reply(call),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let mut redis = Redis::start().await;
    let fleet = fleet(2, &origin, &[redis.node()]).await;
    let ask = chat_stream("Redis dies");
    let mut leader = fleet[0].h1().await;
    assert_eq!(leader.start(&ask).await.outcome(), "miss");
    leader.until("data:", 3).await;
    let mut beside = fleet[0].h1().await;
    beside.start(&ask).await;
    let mut remote = fleet[1].h1().await;
    remote.start(&ask).await;
    remote.until("data:", 3).await;
    redis.kill();
    if back_at_once {
        redis.start_again().await;
    }
    gate.open();
    for client in [&mut leader, &mut beside] {
        let answer = client.finish().await;
        answer.is_clean(200);
        assert!(is_true_or_broken(&answer, &origin, reply));
    }
    assert_eq!(fleet[0].ask(&ask).await.is(200, "hit").call(), 1);
    // Who followed it elsewhere may have no one to ask how it ends.
    let began = Instant::now();
    let answer = bounded("an end or a break", remote.finish()).await;
    let whole = is_true_or_broken(&answer, &origin, reply);
    println!(
        "elsewhere it is whole: {whole}, after {:?}",
        began.elapsed()
    );
    let answer = fleet[1].ask(&ask).await;
    answer.is_clean(200);
    assert!(is_true_or_broken(&answer, &origin, reply));
    if !back_at_once {
        redis.start_again().await;
    }
    sharing(&fleet[0], &fleet[1]).await;
}

#[tokio::test]
async fn a_redis_that_dies_while_an_answer_is_on_its_way_breaks_it_elsewhere_at_most() {
    dies_in_mid_stream(false).await;
}

#[tokio::test]
async fn so_does_one_that_comes_back_without_a_memory() {
    dies_in_mid_stream(true).await;
}

#[tokio::test]
async fn a_master_that_dies_is_replaced_and_no_request_fails() {
    let origin = origin().start().await;
    let mut cluster = RedisCluster::with_replicas().await;
    let fleet = hurried(2, &origin, &cluster.node_names()).await;
    let known = questions("before", 40);
    slowest(&fleet[0], &known, "miss").await;
    stored(&cluster.masters, 30).await;
    cluster.masters[0].kill();
    for round in 0..5 {
        let new = questions(&format!("during {round}"), 20);
        slowest(&fleet[0], &new, "miss").await;
        slowest(&fleet[0], &known, "hit").await;
    }
    let promoted = async || {
        let info = cluster.replicas[0].ask(&["INFO", "replication"]).await;
        match info.text() {
            info if info.contains("role:master") => Ok(()),
            info => Err(info),
        }
    };
    within(ms(15_000), "a failover", promoted).await;
    // All slots, so questions of all kinds, one after the other.
    for _ in 0..12 {
        sharing(&fleet[0], &fleet[1]).await;
    }
    for ask in &known {
        fleet[1].ask(ask).await.is_clean(200);
    }
}

#[tokio::test]
async fn a_cluster_that_is_gone_altogether_is_missed_by_no_request() {
    let origin = origin().start().await;
    let mut cluster = RedisCluster::start().await;
    let fleet = hurried(2, &origin, &cluster.node_names()).await;
    let known = questions("known", 20);
    slowest(&fleet[0], &known, "miss").await;
    for node in &cluster.masters {
        node.freeze();
    }
    goes_on(&fleet[0], &known, "the cluster hangs").await;
    for node in &cluster.masters {
        node.thaw();
    }
    for _ in 0..6 {
        sharing(&fleet[0], &fleet[1]).await;
    }
    for node in &mut cluster.masters {
        node.kill();
    }
    goes_on(&fleet[0], &known, "the cluster is dead").await;
    for node in &mut cluster.masters {
        node.start_again().await;
    }
    for _ in 0..6 {
        sharing(&fleet[1], &fleet[0]).await;
    }
}

#[tokio::test]
async fn what_is_on_disk_is_not_served_until_the_purges_are_known() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let mut fleet = fleet(2, &origin, &[redis.node()]).await;
    let (asked, unasked) = (chat("asked meanwhile"), chat_stream("not asked meanwhile"));
    for ask in [&asked, &unasked] {
        fleet[0].ask(ask).await.is(200, "miss");
    }
    fleet[0]
        .reaches("llm_cache_store_entries{tier=\"disk\"}", 2.0)
        .await;
    stored([&redis], 2).await;
    // The shared tier forgets them, so that later hits are the disk's.
    for (node, key) in answers([&redis]).await {
        node.ask_bytes(&[b"DEL", &key]).await;
    }
    fleet[0].sigterm();
    assert!(fleet[0].exits_within(ms(20_000)).await.success());
    redis.freeze();
    fleet[0].start_again().await;
    assert!(!serves(&fleet[0], &asked).await);
    assert_eq!(fleet[0].ask(&asked).await.is(200, "miss").call(), 3);
    // What it has learnt since is its own.
    assert_eq!(fleet[0].ask(&asked).await.is(200, "hit").call(), 3);
    redis.thaw();
    joined(&fleet[0]).await;
    assert_eq!(fleet[0].ask(&unasked).await.is(200, "hit").call(), 2);
    assert_eq!(fleet[0].ask(&asked).await.is(200, "hit").call(), 3);
    origin.was_called(3);
}

#[tokio::test]
async fn local_hits_do_not_ask_the_shared_tier() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(1, &origin, &[redis.node()]).await;
    let known = questions("local", 20);
    slowest(&fleet[0], &known, "miss").await;
    stored([&redis], known.len()).await;
    let asked = async || {
        let metrics = fleet[0].metrics().await;
        let operation = |name: &str| {
            metrics.value(&format!(
                "llm_cache_shared_operations_total{{operation=\"{name}\"}}"
            ))
        };
        ["claim", "get", "put", "publish", "follow", "lease"].map(operation)
    };
    let before = asked().await;
    for _ in 0..3 {
        slowest(&fleet[0], &known, "hit").await;
    }
    assert_eq!(asked().await, before);
}

//! Replicas without a disk: memory and the shared tier are all they have.

use std::collections::BTreeSet;

use super::*;

fn stateless(origin: &Origin, nodes: &[String]) -> ProxyBuilder {
    replica(origin, nodes).set("store.disk", "off")
}

/// Names of everything in a server's directory but what the harness writes there.
fn files(replica: &Proxy) -> BTreeSet<String> {
    let entries = std::fs::read_dir(replica.path("")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names
        .filter(|name| !["config.yaml", "run.stdout", "run.stderr"].contains(&name.as_str()))
        .collect()
}

#[tokio::test]
async fn a_stateless_replica_writes_nothing_and_starts_with_what_the_fleet_knows() {
    let origin = origin().start().await;
    let cluster = RedisCluster::start().await;
    let nodes = cluster.node_names();
    let mut fleet = fleet_of(2, || stateless(&origin, &nodes)).await;
    let asks = [chat("stateless"), chat_stream("stateless too")];
    let mut misses = Vec::new();
    for ask in &asks {
        let miss = fleet[0].ask(ask).await;
        miss.is(200, "miss");
        assert_eq!(fleet[0].ask(ask).await.is(200, "hit").body, miss.body);
        misses.push(miss);
    }
    stored(&cluster.masters, asks.len()).await;
    fleet[0].restart().await;
    joined(&fleet[0]).await;
    for replica in &fleet {
        for (ask, miss) in asks.iter().zip(&misses) {
            let hit = replica.ask(ask).await;
            assert_eq!(hit.is(200, "hit").body, miss.body);
        }
        assert_eq!(shared_hits(replica).await, asks.len() as f64);
        assert_eq!(files(replica), BTreeSet::new(), "written by it");
    }
    origin.was_called(asks.len());
}

#[tokio::test]
async fn stateless_replicas_and_those_with_a_disk_are_one_fleet() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let nodes = [redis.node()];
    let one = stateless(&origin, &nodes).start().await;
    let other = replica(&origin, &nodes).start().await;
    joined(&one).await;
    joined(&other).await;
    sharing(&one, &other).await;
    sharing(&other, &one).await;
    let ask = chat("of both");
    one.ask(&ask).await.is(200, "miss");
    is_known(&other, &ask).await;
    crate::operating::purge(&other, &json!({"all": true})).await;
    is_gone(ms(5_000), &one, &ask).await;
    assert_eq!(one.ask(&ask).await.is_clean(200).outcome(), "miss");
}

#[tokio::test]
async fn without_redis_a_stateless_replica_serves_from_memory() {
    let origin = origin().start().await;
    let mut redis = Redis::start().await;
    let nodes = [redis.node()];
    let fleet = fleet_of(1, || stateless(&origin, &nodes)).await;
    redis.kill();
    let ask = chat("from memory");
    fleet[0].ask(&ask).await.is(200, "miss");
    fleet[0].ask(&ask).await.is(200, "hit");
    fleet[0].admin_get("/readyz").await.is_clean(200);
    redis.start_again().await;
    joined(&fleet[0]).await;
    assert_eq!(files(&fleet[0]), BTreeSet::new());
}

#[tokio::test]
async fn a_crowd_at_stateless_replicas_costs_one_call() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::chat_stream(call, 10).held(&held))
        .start()
        .await;
    let redis = Redis::start().await;
    let nodes = [redis.node()];
    let fleet = fleet_of(3, || stateless(&origin, &nodes)).await;
    let asks = vec![chat_stream("stateless crowd"); 10];
    let opened = async {
        all_following(&fleet, asks.len()).await;
        gate.open();
    };
    let asking = fleet.iter().map(|replica| ask_all(replica, &asks));
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asking), opened);
    origin.was_called(1);
    let whole = llm::chat_stream(&origin.last(), 10).bytes();
    for answer in answers.iter().flatten() {
        assert_eq!(answer.is_clean(200).body, whole);
    }
}

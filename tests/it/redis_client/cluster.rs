//! A cluster that loses nodes, moves slots and is laid out anew.

use llm_cache_server::store::shared::client::breaker::State;
use llm_cache_server::store::shared::client::engine::Engine;
use llm_cache_server::store::shared::client::options::Mode;

use super::*;

/// A key on each of three masters.
pub async fn keys(cluster: &RedisCluster) -> [String; 3] {
    let mut keys = [const { String::new() }; 3];
    for nth in 0..100 {
        let key = format!("key{nth}");
        let master = cluster.master_of(&key).await;
        keys[master] = key;
    }
    assert!(keys.iter().all(|key| !key.is_empty()));
    keys
}

#[tokio::test]
async fn a_killed_master_is_replaced_by_its_replica() {
    let mut cluster = RedisCluster::with_replicas().await;
    let engine = clustered(&cluster).await;
    let keys = keys(&cluster).await;
    for key in &keys {
        engine
            .set(key.as_bytes(), b"before", 600_000)
            .await
            .unwrap();
        let master = &cluster.masters[cluster.master_of(key).await];
        assert!(matches!(
            master.ask(&["WAIT", "1", "2000"]).await,
            Resp::Int(1..)
        ));
    }
    cluster.masters[0].kill();
    // The others serve all the while, and the new master is found long before the layout is asked
    // for anyway.
    let began = Instant::now();
    let mut failed = 0;
    until("the failover", async || {
        for key in &keys[1..] {
            assert_eq!(engine.get(key.as_bytes()).await.unwrap().unwrap(), "before");
        }
        let found = engine.get(keys[0].as_bytes()).await;
        failed += u32::from(found.is_err());
        found.is_ok_and(|value| value.is_some())
    })
    .await;
    assert!(failed > 0);
    works(&engine, &keys[0]).await;
    assert!(began.elapsed() < ms(10_000), "{:?}", began.elapsed());
}

/// A failover that an operator asks for: both nodes stay, with their parts exchanged.
#[tokio::test]
async fn a_planned_failover_is_followed() {
    let cluster = RedisCluster::with_replicas().await;
    let engine = clustered(&cluster).await;
    let keys = keys(&cluster).await;
    for round in 0..2 {
        let next = match round {
            0 => &cluster.replicas[0],
            _ => &cluster.masters[0],
        };
        let mut begun = None;
        until("the parts to be exchanged", async || {
            // The others do not vote twice in a short time, and a failover gives up after 5 s.
            if begun.is_none_or(|begun: Instant| begun.elapsed() > ms(6000)) {
                begun = Some(Instant::now());
                next.ask(&["CLUSTER", "FAILOVER"]).await;
            }
            for key in &keys {
                // Some fail while the parts are exchanged: how many is the server's business.
                let _ = engine.set(key.as_bytes(), b"v", 60_000).await;
            }
            let info = next.info("replication").await;
            info.contains("role:master")
        })
        .await;
        for key in &keys {
            works(&engine, key).await;
        }
        until("closed breakers", async || {
            engine.health().breaker == State::Closed
        })
        .await;
        until("the other to follow", async || {
            let nodes = [&cluster.masters[0], &cluster.replicas[0]];
            let mut following = false;
            for node in nodes {
                let info = node.info("replication").await;
                following |= info.contains("master_link_status:up");
            }
            following
        })
        .await;
    }
}

#[tokio::test]
async fn a_killed_master_without_a_replica_costs_its_slots_only() {
    let mut cluster = RedisCluster::start().await;
    let engine = clustered(&cluster).await;
    let keys = keys(&cluster).await;
    cluster.masters[1].kill();
    until("failure", async || {
        engine.get(keys[1].as_bytes()).await.is_err()
    })
    .await;
    for nth in 0..500 {
        assert!(engine.get(keys[1].as_bytes()).await.is_err());
        for other in [&keys[0], &keys[2]] {
            let value = nth.to_string();
            engine
                .set(other.as_bytes(), value.as_bytes(), 60_000)
                .await
                .unwrap();
            assert_eq!(engine.get(other.as_bytes()).await.unwrap().unwrap(), value);
        }
        tokio::time::sleep(ms(4)).await;
    }
    cluster.masters[1].start_again().await;
    works(&engine, &keys[1]).await;
}

/// A node that hangs is worse than one that is dead; the others' slots do not notice it.
#[tokio::test]
async fn a_frozen_master_costs_its_slots_only() {
    let cluster = RedisCluster::start().await;
    let engine = clustered(&cluster).await;
    let keys = keys(&cluster).await;
    cluster.masters[2].freeze();
    for _ in 0..500 {
        assert!(engine.get(keys[2].as_bytes()).await.is_err());
        for other in &keys[..2] {
            engine.get(other.as_bytes()).await.unwrap();
        }
        tokio::time::sleep(ms(4)).await;
    }
    assert!(engine.health().breaker != State::Closed);
    cluster.masters[2].thaw();
    works(&engine, &keys[2]).await;
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_without_an_error() {
    let cluster = RedisCluster::start().await;
    let engine = clustered(&cluster).await;
    moving_slot(&cluster, &engine).await;
}

/// A slot moves to another master while its keys are used.
pub async fn moving_slot(cluster: &RedisCluster, engine: &Engine) {
    let keys = keys(cluster).await;
    let key = keys[0].as_str();
    engine
        .set(key.as_bytes(), b"moving", 600_000)
        .await
        .unwrap();
    let [from, to] = [&cluster.masters[0], &cluster.masters[1]];
    let (from_id, to_id) = (
        from.ask(&["CLUSTER", "MYID"]).await.text(),
        to.ask(&["CLUSTER", "MYID"]).await.text(),
    );
    let slot = cluster.slot(key).await.to_string();
    to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])
        .await;
    from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])
        .await;
    assert_eq!(engine.get(key.as_bytes()).await.unwrap().unwrap(), "moving");
    let port = to.port.to_string();
    from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"])
        .await;
    // ASK, for reads, writes and several commands at once.
    let tagged = format!("{{{key}}}more");
    assert_eq!(engine.get(key.as_bytes()).await.unwrap().unwrap(), "moving");
    assert_eq!(
        engine
            .append_at(key.as_bytes(), 6, b"!", 600_000)
            .await
            .unwrap(),
        7
    );
    assert_eq!(
        engine
            .append_at(tagged.as_bytes(), 0, b"new", 600_000)
            .await
            .unwrap(),
        3
    );
    let both = engine.get_many(&[key, &tagged], 0).await.unwrap();
    assert_eq!(both[0].as_ref().unwrap(), "moving!");
    assert_eq!(both[1].as_ref().unwrap(), "new");
    assert!(
        engine
            .lease_take(format!("{{{key}}}l").as_bytes(), b"t", 60_000)
            .await
            .unwrap()
    );
    for node in [to, from, &cluster.masters[2]] {
        node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])
            .await;
    }
    // MOVED.
    for _ in 0..100 {
        assert_eq!(
            engine.get(key.as_bytes()).await.unwrap().unwrap(),
            "moving!"
        );
        assert_eq!(
            engine
                .append_at(tagged.as_bytes(), 3, b"", 600_000)
                .await
                .unwrap(),
            3
        );
    }
}

#[tokio::test]
async fn values_are_read_from_replicas_if_wanted() {
    let cluster = RedisCluster::with_replicas().await;
    let mut options = options(vec![cluster.masters[0].node()], Mode::Cluster);
    options.read_replicas = true;
    let engine = Engine::new(&options).unwrap();
    let keys = keys(&cluster).await;
    for key in &keys {
        works(&engine, key).await;
    }
    until("all to be connected", async || {
        engine.health().connected == 6
    })
    .await;
    let reads = async |node: &Redis| {
        let stats = node.info("commandstats").await;
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_getrange:"));
        let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
        calls.map_or(0, |calls| calls.parse::<u64>().unwrap())
    };
    let before = reads(&cluster.masters[0]).await;
    for _ in 0..50 {
        assert_eq!(engine.get(keys[0].as_bytes()).await.unwrap().unwrap(), "v");
    }
    assert_eq!(reads(&cluster.masters[0]).await, before);
    assert!(reads(&cluster.replicas[0]).await >= 50);
    // A stream is read where it is written.
    engine
        .range_from(keys[0].as_bytes(), 0, keys[0].as_bytes())
        .await
        .unwrap();
    assert_eq!(reads(&cluster.masters[0]).await, before + 2);
    // Without its replica a master answers for itself.
    cluster.replicas[0].freeze();
    works(&engine, &keys[0]).await;
    cluster.replicas[0].thaw();
}

#[tokio::test]
async fn a_whole_cluster_that_stops_is_found_again() {
    let mut cluster = RedisCluster::start().await;
    let engine = clustered(&cluster).await;
    for node in &mut cluster.masters {
        node.kill();
    }
    let keys = ["a", "b", "c", "d"];
    until("failure", async || engine.get(b"a").await.is_err()).await;
    for node in &mut cluster.masters {
        node.start_again().await;
    }
    for key in keys {
        works(&engine, key).await;
    }
}

#[tokio::test]
async fn a_cluster_need_not_be_there_at_the_start() {
    let ports = Port::with_bus();
    let nodes = vec![ports.0.addr().to_string()];
    let engine = Engine::new(&options(nodes, Mode::Cluster)).unwrap();
    for _ in 0..50 {
        assert!(engine.get(b"k").await.is_err());
    }
    let node = Redis::member(ports, None).await;
    assert!(engine.get(b"k").await.is_err());
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    let mut words = vec!["CLUSTER", "ADDSLOTS"];
    words.extend(slots.iter().map(String::as_str));
    node.ask(&words).await;
    works(&engine, "k").await;
}

//! Who may come in, and how: passwords, ACL users, sentinels, runtimes.

use llm_cache_server::store::shared::client::engine::Engine;
use llm_cache_server::store::shared::client::options::{EngineError, Mode};
use llm_cache_server::store::shared::client::trouble::Trouble;

use super::*;

#[tokio::test]
async fn a_wrong_password_is_said_and_a_right_one_works() {
    let redis = Redis::start_with(&[("requirepass", "secret")]).await;
    for password in [None, Some("wrong")] {
        let engine = engine(redis.node(), |o| o.password = password.map(str::to_owned));
        engine.start();
        until("a reason", async || engine.health().error.is_some()).await;
        assert_eq!(engine.get(b"k").await, Err(Trouble::Unreachable));
        let reason = engine.health().error.unwrap();
        assert!(
            reason.contains("NOAUTH") || reason.contains("authentication failed"),
            "{reason}"
        );
        assert!(!reason.contains("wrong"), "{reason}");
    }
    works(
        &engine(redis.node(), |o| o.password = Some("secret".to_owned())),
        "k",
    )
    .await;
}

/// What such a user needs to be allowed, for the documentation.
const NEEDED: &str = "resetchannels ~llmc:* -@all +getrange +set +del +strlen +append +pexpire +eval +get \
                      +incr +zadd +zrevrange +zremrangebyrank +zrangebyscore +ping";

#[tokio::test]
async fn an_acl_user_with_the_least_rights_is_enough() {
    let redis = Redis::start().await;
    let mut words = vec!["ACL", "SETUSER", "cache", "on", ">pw"];
    words.extend(NEEDED.split_whitespace());
    redis.ask(&words).await;
    let engine = engine(redis.node(), |o| {
        o.username = Some("cache".to_owned());
        o.password = Some("pw".to_owned());
    });
    works(&engine, "llmc:k").await;
    assert!(engine.lease_take(b"llmc:l", b"t", 1000).await.unwrap());
    assert!(engine.lease_renew(b"llmc:l", b"t", 1000).await.unwrap());
    assert!(engine.lease_end(b"llmc:l", b"t").await.unwrap());
    assert_eq!(engine.log_append(b"llmc:{log}", b"e", 5).await.unwrap(), 1);
    assert_eq!(engine.log_since(b"llmc:{log}", 0).await.unwrap().last, 1);
    assert_eq!(engine.append_at(b"llmc:s", 0, b"x", 1000).await.unwrap(), 1);
    // Outside its keys.
    let refused = engine.get(b"other").await;
    assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.starts_with("NOPERM")));
}

/// On a cluster it takes a little more.
#[tokio::test]
async fn an_acl_user_of_a_cluster_needs_little_more() {
    let cluster = RedisCluster::of_one().await;
    let mut words = vec!["ACL", "SETUSER", "cache", "on", ">pw"];
    words.extend(NEEDED.split_whitespace());
    words.extend(["+cluster|slots", "+readonly", "+asking"]);
    cluster.masters[0].ask(&words).await;
    let mut options = options(cluster.node_names(), Mode::Cluster);
    options.username = Some("cache".to_owned());
    options.password = Some("pw".to_owned());
    options.read_replicas = true;
    works(&Engine::new(&options).unwrap(), "llmc:k").await;
}

#[test]
fn what_is_configured_wrongly_is_said() {
    let of = |nodes: &[&str], mode| {
        Engine::new(&options(
            nodes.iter().map(|n| n.to_string()).collect(),
            mode,
        ))
        .err()
    };
    assert!(matches!(
        of(&["a"], Mode::Single),
        Some(EngineError::Node(_))
    ));
    assert!(matches!(
        of(&[], Mode::Cluster),
        Some(EngineError::Nodes(_))
    ));
    assert!(matches!(
        of(&["a:1", "b:1"], Mode::Single),
        Some(EngineError::Nodes(_))
    ));
    let mut tls = options(vec!["a:1".to_owned()], Mode::Single);
    tls.tls = true;
    tls.ca_file = Some("/nonexistent/ca.pem".into());
    assert!(matches!(Engine::new(&tls).err(), Some(EngineError::Tls(_))));
}

/// Which server is the master, and what happens when that changes.
#[tokio::test]
async fn sentinels_name_the_master_and_the_next_one() {
    let first = Redis::start().await;
    let port = first.port.to_string();
    let second = Redis::start_with(&[("replicaof", &format!("127.0.0.1 {port}"))]).await;
    until("the replica to be in step", async || {
        let info = second.info("replication").await;
        info.contains("master_link_status:up")
    })
    .await;
    let sentinel = Plan {
        watched: Some(("cache", first.port)),
        ..Plan::default()
    };
    let sentinel = sentinel.start().await;
    let dead = Port::free();
    let mode = Mode::Sentinel {
        master: "cache".to_owned(),
        username: None,
        password: None,
    };
    let nodes = vec![dead.addr().to_string(), sentinel.node()];
    let engine = Engine::new(&options(nodes, mode)).unwrap();
    works(&engine, "k").await;
    until("the sentinel to know the replica", async || {
        let info = sentinel.info("sentinel").await;
        info.contains("slaves=1")
    })
    .await;
    // A failover that nobody dies of: the old master stays, as a replica.
    until("the sentinel to begin", async || {
        let begun = sentinel.try_ask(&["SENTINEL", "FAILOVER", "cache"]).await;
        matches!(begun, Ok(Resp::Bytes(_)))
    })
    .await;
    until("the old master to follow", async || {
        // A sentinel throws out who is connected to a server that it gives another part.
        let Ok(Resp::Bytes(info)) = first.try_ask(&["INFO", "replication"]).await else {
            return false;
        };
        let info = String::from_utf8(info).unwrap();
        info.contains("role:slave") && info.contains("master_link_status:up")
    })
    .await;
    works(&engine, "k").await;
    let role = second.info("replication").await;
    assert!(role.contains("role:master"));
    // And one because the master hangs.
    second.freeze();
    works(&engine, "k").await;
    let role = first.info("replication").await;
    assert!(role.contains("role:master"));
}

/// Operations may come from another runtime than the one the connection lives on.
#[test]
fn operations_come_from_any_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let home = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let redis = home.block_on(Redis::start());
    let engine = home.block_on(connected(redis.node()));
    std::thread::scope(|scope| {
        for nth in 0..3 {
            let engine = &engine;
            scope.spawn(move || {
                runtime().block_on(async {
                    for round in 0..200 {
                        let (key, value) = (format!("k{nth}"), format!("{round}"));
                        engine
                            .set(key.as_bytes(), value.as_bytes(), 60_000)
                            .await
                            .unwrap();
                        assert_eq!(engine.get(key.as_bytes()).await.unwrap().unwrap(), value);
                    }
                });
            });
        }
    });
    drop(engine);
    home.block_on(async { drop(redis) });
}

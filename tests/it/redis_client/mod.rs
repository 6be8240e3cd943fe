//! The client of the shared tier by itself, against real servers of every kind.

mod access;
mod cluster;
mod operations;
mod outages;
mod tls;

use std::time::Duration;

use llm_cache_server::store::shared::client::engine::Engine;
use llm_cache_server::store::shared::client::options::{Mode, Options};

use tokio::time::{Instant, sleep};

use crate::harness::redis::{Plan, Redis, RedisCluster};
use crate::harness::{Identity, Lag, Port, Resp, ms};

/// For what a server or a cluster does by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between looks at something that has no event to wait for.
const LOOK: Duration = ms(20);

/// Longer than an operation takes on a machine that is busy with something else.
const DEADLINE: Duration = ms(100);

fn options(nodes: Vec<String>, mode: Mode) -> Options {
    Options {
        nodes,
        mode,
        tls: false,
        ca_file: None,
        identity: None,
        username: None,
        password: None,
        read_replicas: false,
        deadline: DEADLINE,
    }
}

fn single(node: String) -> Engine {
    Engine::new(&options(vec![node], Mode::Single)).unwrap()
}

/// Waits until something is so; asks again and again.
async fn until<F: AsyncFnMut() -> bool>(what: &str, mut so: F) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain for: {what}");
        sleep(LOOK).await;
    }
}

fn engine(node: String, change: impl FnOnce(&mut Options)) -> Engine {
    let mut options = options(vec![node], Mode::Single);
    change(&mut options);
    Engine::new(&options).unwrap()
}

/// An engine that reaches its server.
async fn connected(node: String) -> Engine {
    let engine = single(node);
    works(&engine, "up").await;
    engine
}

/// An engine that reaches every master of a cluster.
async fn clustered(cluster: &RedisCluster) -> Engine {
    let engine = Engine::new(&options(cluster.node_names(), Mode::Cluster)).unwrap();
    reaches_all(&engine).await;
    engine
}

async fn reaches_all(engine: &Engine) {
    for nth in 0..40 {
        works(engine, &format!("up{nth}")).await;
    }
}

/// Waits until a key can be written and read.
async fn works(engine: &Engine, key: &str) {
    until(&format!("{key} to be written and read"), async || {
        engine.set(key.as_bytes(), b"v", 60_000).await.is_ok()
            && engine.get(key.as_bytes()).await.is_ok_and(|v| v.is_some())
    })
    .await;
}

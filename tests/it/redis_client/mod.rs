//! The client of the shared tier by itself, against real servers of every kind.

mod access;
mod cluster;
mod operations;
mod outages;
mod servers;

use std::time::Duration;

use llm_cache_server::store::shared::client::engine::Engine;
use llm_cache_server::store::shared::client::options::{Mode, Options};

use crate::harness::Lag;
use servers::{Redis, RedisCluster, until};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Longer than an operation takes on a machine that is busy with something else.
const DEADLINE: Duration = ms(100);

fn options(nodes: Vec<String>, mode: Mode) -> Options {
    Options {
        nodes,
        mode,
        tls: false,
        ca_file: None,
        username: None,
        password: None,
        read_replicas: false,
        deadline: DEADLINE,
    }
}

fn single(node: String) -> Engine {
    Engine::new(&options(vec![node], Mode::Single)).unwrap()
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
    for nth in 0..40 {
        works(&engine, &format!("up{nth}")).await;
    }
    engine
}

/// Waits until a key can be written and read.
async fn works(engine: &Engine, key: &str) {
    until(&format!("{key} to be written and read"), async || {
        engine.set(key.as_bytes(), b"v", 60_000).await.is_ok()
            && engine.get(key.as_bytes()).await.is_ok_and(|v| v.is_some())
    })
    .await;
}

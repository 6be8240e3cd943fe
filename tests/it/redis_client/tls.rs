//! TLS: whom we trust, and who we are to servers that ask.

use llm_cache_server::store::shared::client::engine::Engine;
use llm_cache_server::store::shared::client::options::{
    EngineError, Identity as Own, Mode, Options,
};
use llm_cache_server::store::shared::client::trouble::Trouble;
use tempfile::TempDir;

use super::cluster::{keys, moving_slot};
use super::*;
use crate::harness::PemFiles;

async fn with_tls(identity: &Identity, options: &[(&str, &str)]) -> Redis {
    let plan = Plan {
        identity: Some(identity),
        options,
        ..Plan::default()
    };
    plan.start().await
}

/// Asks for a certificate of everyone.
const ASKING: &[(&str, &str)] = &[("tls-auth-clients", "yes")];

fn trusting(options: &mut Options, files: &PemFiles) {
    options.tls = true;
    options.ca_file = Some(files.authority.clone());
}

fn showing(options: &mut Options, files: &PemFiles) {
    options.identity = Some(Own {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    });
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let identity = Identity::new();
    let dir = TempDir::new().unwrap();
    let files = identity.write(dir.path());
    let redis = with_tls(&identity, &[]).await;
    for host in ["127.0.0.1", "localhost"] {
        let engine = engine(format!("{host}:{}", redis.port), |o| {
            trusting(o, &files);
        });
        works(&engine, "k").await;
        let value = vec![5; 900_000];
        until("a long value", async || {
            engine.set(b"long", &value, 60_000).await.is_ok()
        })
        .await;
        assert_eq!(engine.get(b"long").await.unwrap().unwrap(), value);
    }
    // An authority that nobody here has heard of.
    let other = TempDir::new().unwrap();
    let strangers = Identity::new().write(other.path());
    let engine = engine(redis.node(), |o| {
        trusting(o, &strangers);
    });
    engine.start();
    until("a reason", async || engine.health().error.is_some()).await;
    assert_eq!(engine.get(b"k").await, Err(Trouble::Unreachable));
}

/// The reason why an engine has no connection.
async fn reason(engine: &Engine) -> String {
    engine.start();
    until("a reason", async || engine.health().error.is_some()).await;
    assert_eq!(engine.get(b"k").await, Err(Trouble::Unreachable));
    engine.health().error.unwrap()
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let identity = Identity::new();
    let dir = TempDir::new().unwrap();
    let files = identity.write(dir.path());
    let redis = with_tls(&identity, ASKING).await;
    let known = engine(redis.node(), |o| {
        trusting(o, &files);
        showing(o, &files);
    });
    works(&known, "k").await;
    // Nobody, and somebody whom it does not know.
    let nobody = engine(redis.node(), |o| trusting(o, &files));
    let why = reason(&nobody).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    let other = TempDir::new().unwrap();
    let strangers = Identity::new().write(other.path());
    let stranger = engine(redis.node(), |o| {
        trusting(o, &files);
        showing(o, &strangers);
    });
    let why = reason(&stranger).await;
    assert!(why.contains("fatal alert"), "{why}");
    works(&known, "k").await;
}

/// Sentinels ask as well.
#[tokio::test]
async fn sentinels_that_ask_for_a_certificate_get_ours() {
    let identity = Identity::new();
    let dir = TempDir::new().unwrap();
    let files = identity.write(dir.path());
    let redis = with_tls(&identity, ASKING).await;
    let sentinel = Plan {
        identity: Some(&identity),
        options: ASKING,
        watched: Some(("cache", redis.port)),
        ..Plan::default()
    };
    let sentinel = sentinel.start().await;
    let of = |change: fn(&mut Options, &PemFiles)| {
        engine(sentinel.node(), |o| {
            o.mode = Mode::Sentinel {
                master: "cache".to_owned(),
                username: None,
                password: None,
            };
            trusting(o, &files);
            change(o, &files);
        })
    };
    works(&of(showing), "k").await;
    let why = reason(&of(|_, _| ())).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
}

/// Nodes that are named by their address, redirections to them, and a failover.
#[tokio::test]
async fn a_cluster_speaks_tls_with_everyone() {
    let identity = Identity::new();
    let dir = TempDir::new().unwrap();
    let files = identity.write(dir.path());
    let mut cluster = RedisCluster::with_tls(&identity).await;
    let seed = format!("localhost:{}", cluster.masters[0].port);
    let engine = engine(seed, |o| {
        o.mode = Mode::Cluster;
        trusting(o, &files);
        showing(o, &files);
    });
    reaches_all(&engine).await;
    moving_slot(&cluster, &engine).await;
    let keys = keys(&cluster).await;
    cluster.masters[2].kill();
    until("the failover", async || {
        let info = cluster.replicas[2].info("replication").await;
        info.contains("role:master")
    })
    .await;
    for key in &keys {
        works(&engine, key).await;
    }
}

/// Certificates with names and without addresses: the nodes tell the names.
#[tokio::test]
async fn nodes_of_a_cluster_may_go_by_name() {
    let identity = Identity::of(&["localhost"]);
    let dir = TempDir::new().unwrap();
    let files = identity.write(dir.path());
    let cluster = RedisCluster::with_tls(&identity).await;
    let by_name = |o: &mut Options| {
        o.mode = Mode::Cluster;
        trusting(o, &files);
        showing(o, &files);
    };
    let seed = format!("localhost:{}", cluster.masters[0].port);
    // By its address nobody can be believed.
    let astray = engine(seed.clone(), by_name);
    astray.start();
    until("a name that does not fit", async || {
        let error = astray.health().error;
        error.is_some_and(|error| error.contains("not valid for name"))
    })
    .await;
    for node in cluster.nodes() {
        for (name, value) in [
            ("cluster-announce-hostname", "localhost"),
            ("cluster-preferred-endpoint-type", "hostname"),
        ] {
            node.ask(&["CONFIG", "SET", name, value]).await;
        }
    }
    let engine = engine(seed, by_name);
    reaches_all(&engine).await;
    // Whoever had the addresses learns the names.
    reaches_all(&astray).await;
    moving_slot(&cluster, &engine).await;
}

#[test]
fn a_key_that_is_not_the_certificates_is_said() {
    let [dir, other] = [(); 2].map(|()| TempDir::new().unwrap());
    let files = Identity::new().write(dir.path());
    let strangers = Identity::new().write(other.path());
    let mut options = options(vec!["a:1".to_owned()], Mode::Single);
    trusting(&mut options, &files);
    options.identity = Some(Own {
        certificate: files.certificate.clone(),
        key: strangers.key,
    });
    let error = Engine::new(&options).err().unwrap();
    assert!(matches!(error, EngineError::Tls(_)));
    let text = error.to_string();
    assert!(text.contains("certificate.pem"), "{text}");
}

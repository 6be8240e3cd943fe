//! TLS: whom we trust, and who we are to servers that ask.

use llm_cache_server::store::shared::client::options::Options;
use llm_cache_server::store::shared::client::trouble::Trouble;
use tempfile::TempDir;

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

fn trusting(options: &mut Options, files: &PemFiles) {
    options.tls = true;
    options.ca_file = Some(files.authority.clone());
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

//! Several servers with one cache: what one of them was told, the others know.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::redis::answers;
use crate::harness::*;

mod by_key;
mod forged;
mod forms;
mod leaders;
mod objects;
mod outages;
mod purging;
mod sharing;
mod stale;
mod stateless;
mod streaming;
mod texts;
mod tls;

/// A deadline for stories that are not about time: what is late on a busy machine is a miss by
/// right, and would be taken for one that is wrong.
const UNHURRIED: &str = "1s";
/// The deadline as it is shipped.
const SHIPPED: &str = "30ms";

/// A server that is to share its answers by these nodes; several are a cluster's.
fn replica(origin: &Origin, nodes: &[String]) -> ProxyBuilder {
    let shared = json!({
        "nodes": nodes, "cluster": nodes.len() > 1, "prefix": "t:", "deadline": UNHURRIED,
    });
    proxy().upstream(origin).set("shared", shared)
}

/// So many servers that have reached their nodes.
async fn fleet(count: usize, origin: &Origin, nodes: &[String]) -> Vec<Proxy> {
    fleet_of(count, || replica(origin, nodes)).await
}

/// So many servers of this kind that have reached their nodes.
async fn fleet_of(count: usize, replica: impl Fn() -> ProxyBuilder) -> Vec<Proxy> {
    let starts = (0..count).map(|_| replica().start());
    let fleet = futures_util::future::join_all(starts).await;
    for replica in &fleet {
        joined(replica).await;
    }
    fleet
}

/// Waits until a server has reached all nodes and knows what was purged.
#[track_caller]
fn joined(replica: &Proxy) -> impl Future<Output = ()> {
    let what = "a replica that has reached its nodes and knows the purges";
    within(ms(20_000), what, async || {
        let metrics = replica.metrics().await;
        let known = metrics.value("llm_cache_shared_purges_known");
        let nodes = metrics.value("llm_cache_shared_servers");
        let reached = metrics.value("llm_cache_shared_servers_connected");
        let breaker = metrics.value("llm_cache_shared_breaker");
        match known == 1.0 && nodes >= 1.0 && reached == nodes && breaker == 0.0 {
            true => Ok(()),
            false => Err(format!(
                "purges known: {known}, {reached} of {nodes} nodes reached, breaker: {breaker}"
            )),
        }
    })
}

/// Waits until so many answers are on these nodes.
#[track_caller]
fn stored<'a>(
    nodes: impl IntoIterator<Item = &'a Redis> + Clone,
    count: usize,
) -> impl Future<Output = ()> {
    let what = format!("{count} answers on the shared tier");
    within(ms(20_000), what, move || {
        let nodes = nodes.clone();
        async move {
            match answers(nodes).await.len() {
                enough if enough >= count => Ok(()),
                few => Err(format!("{few} of them")),
            }
        }
    })
}

/// How many hits of this server came from the shared tier.
async fn shared_hits(replica: &Proxy) -> f64 {
    let metrics = replica.metrics().await;
    metrics.value("llm_cache_tier_hits_total{tier=\"shared\"}")
}

/// Waits until this many requests at each server wait for an answer.
async fn all_following(fleet: &[Proxy], each: usize) {
    for replica in fleet {
        replica.following(each).await;
    }
}

/// Waits until a server no longer has an answer.
#[track_caller]
fn is_gone(bound: Duration, replica: &Proxy, ask: &Ask) -> impl Future<Output = ()> {
    within(bound, "a purged answer is gone", async || {
        match serves(replica, ask).await {
            true => Err("it is served".to_owned()),
            false => Ok(()),
        }
    })
}

/// Whether a server has an answer, without an upstream call.
async fn serves(replica: &Proxy, ask: &Ask) -> bool {
    let ask = ask.clone().cache_control("only-if-cached");
    let answer = replica.ask(&ask).await;
    match answer.head.status {
        504 => false,
        _ => {
            answer.is(200, "hit");
            true
        }
    }
}

/// Waits until a server has an answer, which another has written.
#[track_caller]
fn is_known(replica: &Proxy, ask: &Ask) -> impl Future<Output = ()> {
    within(ms(5_000), "an answer is shared", async || {
        match serves(replica, ask).await {
            true => Ok(()),
            false => Err("it is not there".to_owned()),
        }
    })
}

/// Waits until a question asked at the first of two servers is a hit at the second: the shared tier
/// works. Each try is a question nobody asked before.
#[track_caller]
fn sharing<'a>(first: &'a Proxy, second: &'a Proxy) -> impl Future<Output = ()> + 'a {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    within(ms(20_000), "an answer is shared", async move || {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let ask = chat(&format!("is this shared? {next}"));
        first.ask(&ask).await.is_clean(200);
        // It is written behind the answer, and most likely soon.
        for _ in 0..20 {
            if serves(second, &ask).await {
                return Ok(());
            }
            tokio::time::sleep(ms(10)).await;
        }
        Err(format!(
            "at the first: {} at the second: {}",
            said_of_shared(first).await,
            said_of_shared(second).await
        ))
    })
}

/// What a server's metrics say of the shared tier, without zeros.
async fn said_of_shared(replica: &Proxy) -> String {
    let metrics = replica.metrics().await;
    let lines = metrics.text.lines().filter(|line| {
        line.starts_with("llm_cache_shared_") && !line.contains("_seconds") && !line.ends_with(" 0")
    });
    lines.map(|line| format!("\n    {line}")).collect()
}

/// A whole answer to one of the upstream's calls, or a broken one that is the beginning of such.
/// Whether it is whole.
#[track_caller]
fn is_true_or_broken(answer: &Answer, origin: &Origin, reply: impl Fn(&Call) -> Reply) -> bool {
    let wholes: Vec<_> = origin.calls().iter().map(|c| reply(c).bytes()).collect();
    let whole = answer.end == End::Clean;
    let fits = match whole {
        true => wholes.contains(&answer.body),
        false => wholes.iter().any(|whole| whole.starts_with(&answer.body)),
    };
    if !fits || answer.head.status != 200 {
        panic!(
            "not what the upstream said in any of {} calls: {}",
            wholes.len(),
            answer.dump()
        );
    }
    whole
}

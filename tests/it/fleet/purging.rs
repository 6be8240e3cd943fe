//! What is purged at one replica is gone at every other, those that were down or cut off too.

use std::time::Instant;

use serde_json::Value;

use super::*;
use crate::faults::shim::FaultyDisk;
use crate::operating::{chat_with, key_of, looked, purge, written};

/// A purge takes less than a second, on a machine with nothing else to do.
const SOON: Duration = ms(5_000);
/// The answer that is to go and one that is to stay.
const DOOMED: &str = "o3";

fn doomed(tag: &str) -> Ask {
    chat_with(DOOMED, &format!("{tag}: to be purged"))
}

fn spared(tag: &str) -> Ask {
    chat_with("gpt-4o", &format!("{tag}: to stay"))
}

/// Asks at the first replica and makes sure that all others have it in tiers of their own.
async fn known_everywhere(fleet: &[Proxy], ask: &Ask) -> Answer {
    let miss = fleet[0].ask(ask).await;
    miss.is(200, "miss");
    for other in &fleet[1..] {
        is_known(other, ask).await;
        assert_eq!(other.ask(ask).await.is(200, "hit").body, miss.body);
    }
    miss
}

/// Nobody serves the answer of an earlier call; the next one is everybody's.
async fn is_asked_anew(fleet: &[Proxy], origin: &Origin, ask: &Ask) {
    let calls = origin.count();
    for replica in fleet {
        let is_back = serves(replica, ask).await;
        assert!(
            !is_back,
            "a purged answer is back: {}",
            replica.process.output()
        );
    }
    for replica in fleet {
        let answer = replica.ask(ask).await;
        answer.is_clean(200);
        assert!(answer.call() > calls, "a purged answer: {}", answer.dump());
    }
}

async fn each_purge_reaches_all(whats: &[(&str, Value)]) {
    let _turn = alone().await;
    let origin = origin().start().await;
    let cluster = RedisCluster::start().await;
    let fleet = fleet(3, &origin, &cluster.node_names()).await;
    for (nth, (tag, what)) in whats.iter().enumerate() {
        let (ask, stays) = (doomed(tag), spared(tag));
        let answer = known_everywhere(&fleet, &ask).await;
        known_everywhere(&fleet, &stays).await;
        let mut what = what.clone();
        match *tag {
            "key" => what = json!({"key": key_of(&answer)}),
            "tenant" => {
                let path = format!("/cache/entries/{}", key_of(&answer));
                written(&fleet[0], 1).await;
                what = json!({"tenant": looked(&fleet[0], &path).await["tenant"]});
            }
            _ => {}
        }
        let at = nth % fleet.len();
        purge(&fleet[at], &what).await;
        assert!(!serves(&fleet[at], &ask).await, "{what}");
        let began = Instant::now();
        for replica in &fleet {
            is_gone(ms(1_000), replica, &ask).await;
        }
        println!("{what} was everywhere within {:?}", began.elapsed());
        is_asked_anew(&fleet, &origin, &ask).await;
        if matches!(*tag, "key" | "model") {
            for replica in &fleet {
                assert!(serves(replica, &stays).await, "{what} took another too");
            }
        }
        let (sent, received) = ("sent", "received");
        for (replica, direction) in [(at, sent), ((at + 1) % 3, received)] {
            let series = format!("llm_cache_shared_purges_total{{direction=\"{direction}\"}}");
            fleet[replica].reaches(&series, 1.0).await;
        }
    }
}

#[tokio::test]
async fn a_purge_of_a_key_a_model_or_all_reaches_every_replica() {
    let whats = [
        ("key", Value::Null),
        ("model", json!({"model": DOOMED})),
        ("all", json!({"all": true})),
    ];
    each_purge_reaches_all(&whats).await;
}

#[tokio::test]
async fn so_does_one_of_a_tenant_or_by_age() {
    let whats = [
        ("tenant", Value::Null),
        ("age", json!({"older_than": "0s"})),
    ];
    each_purge_reaches_all(&whats).await;
}

/// A replica is down while others purge; its disk still has what they purged.
async fn purged_while_one_is_down(what: &str, killed: bool) {
    let origin = origin().start().await;
    let cluster = RedisCluster::start().await;
    let mut fleet = fleet(3, &origin, &cluster.node_names()).await;
    let (ask, stays) = (doomed(what), spared(what));
    let answer = known_everywhere(&fleet, &ask).await;
    known_everywhere(&fleet, &stays).await;
    written(&fleet[2], 2).await;
    match killed {
        true => fleet[2].kill9(),
        false => fleet[2].sigterm(),
    }
    fleet[2].exits_within(ms(20_000)).await;
    let what = match what {
        "key" => json!({"key": key_of(&answer)}),
        "model" => json!({"model": DOOMED}),
        _ => json!({"all": true}),
    };
    purge(&fleet[0], &what).await;
    is_gone(SOON, &fleet[1], &ask).await;
    let calls = origin.count();
    fleet[2].start_again().await;
    // As soon as it is ready, before it can have heard of anything.
    let answer = fleet[2].ask(&ask).await;
    answer.is_clean(200);
    assert!(answer.call() > calls, "a purged answer: {}", answer.dump());
    joined(&fleet[2]).await;
    for replica in &fleet {
        let answer = replica.ask(&ask).await;
        assert!(answer.is_clean(200).call() > calls, "{}", answer.dump());
    }
    if what.get("all").is_none() {
        assert!(
            serves(&fleet[2], &stays).await,
            "its disk is not used again"
        );
    }
}

#[tokio::test]
async fn a_key_purged_while_a_replica_was_down_is_not_served_after_its_return() {
    purged_while_one_is_down("key", true).await;
}

#[tokio::test]
async fn a_model_purged_while_a_replica_was_down_is_not_served_after_its_return() {
    purged_while_one_is_down("model", false).await;
}

#[tokio::test]
async fn all_purged_while_a_replica_was_down_is_not_served_after_its_return() {
    purged_while_one_is_down("all", true).await;
}

#[tokio::test]
async fn purges_reach_a_replica_whose_disk_hangs() {
    let disk = FaultyDisk::new();
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let nodes = [redis.node()];
    let well = replica(&origin, &nodes).start().await;
    let hangs = replica(&origin, &nodes).config(|config| disk.under(config));
    let mut fleet = vec![well, hangs.start().await];
    for replica in &fleet {
        joined(replica).await;
    }
    let asks: Vec<Ask> = (0..4).map(|n| doomed(&n.to_string())).collect();
    let mut keys = Vec::new();
    for ask in &asks {
        keys.push(key_of(&known_everywhere(&fleet, ask).await));
    }
    disk.blocks();
    // One after the other: the second is not to wait for what the first has to write.
    for (ask, key) in asks.iter().zip(&keys) {
        purge(&fleet[0], &json!({"key": key})).await;
        is_gone(SOON, &fleet[1], ask).await;
    }
    assert!(disk.waiting() > 0, "the disk held nothing up");
    disk.releases();
    fleet[1].restart().await;
    joined(&fleet[1]).await;
    for ask in &asks {
        assert!(!serves(&fleet[1], ask).await);
    }
}

#[tokio::test]
async fn a_purge_without_redis_reaches_the_others_once_it_is_back() {
    let origin = origin().start().await;
    let mut redis = Redis::start().await;
    let fleet = fleet(3, &origin, &[redis.node()]).await;
    // What a server that hung did all the same is told twice, and again if the log is lost: each time
    // another model, so that none of that is about a later question.
    let of = |phase: &str| {
        let model = format!("{DOOMED}-{phase}");
        let ask = chat_with(&model, "to be purged");
        (ask, json!({ "model": model }))
    };
    // It hangs and goes on; it dies and comes back without a memory.
    for dies in [false, true] {
        let tag = format!("dies: {dies}");
        let ((ask, doom), stays) = (of(&format!("dies-{dies}")), spared(&tag));
        known_everywhere(&fleet, &ask).await;
        known_everywhere(&fleet, &stays).await;
        match dies {
            true => redis.kill(),
            false => redis.freeze(),
        }
        purge(&fleet[0], &doom).await;
        assert!(!serves(&fleet[0], &ask).await);
        match dies {
            true => redis.start_again().await,
            false => redis.thaw(),
        }
        for replica in &fleet {
            is_gone(ms(15_000), replica, &ask).await;
            joined(replica).await;
            assert!(serves(replica, &stays).await, "{tag}: more is gone");
        }
        is_asked_anew(&fleet, &origin, &ask).await;
    }
    // Numbers of purges that begin anew are no reason to miss one.
    for round in 0..3 {
        let (ask, doom) = of(&format!("after-{round}"));
        known_everywhere(&fleet, &ask).await;
        purge(&fleet[round], &doom).await;
        for replica in &fleet {
            is_gone(SOON, replica, &ask).await;
        }
        is_asked_anew(&fleet, &origin, &ask).await;
    }
}

#[tokio::test]
async fn a_purge_that_the_log_forgot_is_not_undone_by_a_replica_that_was_down() {
    let origin = origin().start().await;
    let mut redis = Redis::start().await;
    let mut fleet = fleet(3, &origin, &[redis.node()]).await;
    let ask = doomed("forgotten");
    known_everywhere(&fleet, &ask).await;
    written(&fleet[2], 1).await;
    fleet[2].kill9();
    fleet[2].exits_within(ms(5_000)).await;
    purge(&fleet[0], &json!({"model": DOOMED})).await;
    is_gone(SOON, &fleet[1], &ask).await;
    redis.kill();
    redis.start_again().await;
    for replica in &fleet[..2] {
        joined(replica).await;
    }
    let calls = origin.count();
    fleet[2].start_again().await;
    joined(&fleet[2]).await;
    for replica in fleet.iter().rev() {
        let answer = replica.ask(&ask).await;
        answer.is_clean(200);
        assert!(answer.call() > calls, "a purged answer: {}", answer.dump());
    }
}

#[tokio::test]
async fn what_is_on_its_way_through_another_replica_is_not_stored_after_a_purge() {
    for what in [json!({"all": true}), json!({"model": DOOMED})] {
        let gate = Gate::closed();
        let held = gate.clone();
        let script = move |call: &Call| match call.number {
            1 => llm::any(call).held(&held),
            _ => llm::any(call),
        };
        let origin = origin().answer(script).start().await;
        let redis = Redis::start().await;
        let fleet = fleet(3, &origin, &[redis.node()]).await;
        let ask = doomed("on its way");
        // The first leads, the second follows it, the third purges.
        let purging = async {
            all_following(&fleet[..2], 1).await;
            purge(&fleet[2], &what).await;
            for replica in &fleet[..2] {
                let series = "llm_cache_shared_purges_total{direction=\"received\"}";
                replica.reaches(series, 1.0).await;
            }
            gate.open();
        };
        let following = async {
            origin.called(1).await;
            fleet[1].ask(&ask).await
        };
        let (leader, follower, ()) = tokio::join!(fleet[0].ask(&ask), following, purging);
        for answer in [&leader, &follower] {
            answer.is_clean(200);
        }
        let calls = origin.count();
        let answer = fleet[2].ask(&ask).await;
        answer.is_clean(200);
        assert!(
            answer.call() > calls,
            "stored after a purge: {}",
            answer.dump()
        );
    }
}

#[tokio::test]
async fn what_is_fetched_while_a_purge_is_carried_out_is_purged_too() {
    const COUNT: usize = 300;
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(2, &origin, &[redis.node()]).await;
    let asks: Vec<Ask> = (0..COUNT).map(|n| doomed(&format!("{n}"))).collect();
    for some in asks.chunks(50) {
        ask_all(&fleet[0], some).await;
    }
    stored([&redis], COUNT).await;
    // One after the other, so that some are fetched whatever moment it is that the purge comes.
    let fetching = async {
        let mut h1 = fleet[1].h1().await;
        let mut hits = 0;
        for ask in &asks {
            let ask = ask.clone().cache_control("only-if-cached");
            hits += usize::from(h1.ask(&ask).await.outcome() == "hit");
            // For longer than it takes until the purge is heard of.
            tokio::time::sleep(ms(1)).await;
        }
        hits
    };
    let what = json!({"model": DOOMED});
    let (hits, _) = tokio::join!(fetching, purge(&fleet[0], &what));
    println!("{hits} of {COUNT} were fetched before the purge was known");
    let received = "llm_cache_shared_purges_total{direction=\"received\"}";
    fleet[1].reaches(received, 1.0).await;
    for ask in &asks {
        assert!(!serves(&fleet[1], ask).await, "a purged answer is back");
    }
}

/// Keys of the log of purges, each with what it holds.
async fn dumped(redis: &Redis) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut dumps = Vec::new();
    for key in redis.keys().await {
        if key.starts_with(b"t:{purges}") {
            let dump = redis.ask_bytes(&[b"DUMP", &key]).await.bytes();
            dumps.push((key, dump));
        }
    }
    dumps
}

#[tokio::test]

async fn a_log_that_lost_its_newest_entries_hides_none_of_the_next() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let mut fleet = fleet(3, &origin, &[redis.node()]).await;
    let (first, second) = (doomed("first"), spared("second"));
    known_everywhere(&fleet, &first).await;
    known_everywhere(&fleet, &second).await;
    purge(&fleet[0], &json!({"model": "none of these"})).await;
    for replica in &fleet[1..] {
        let series = "llm_cache_shared_purges_total{direction=\"received\"}";
        replica.reaches(series, 1.0).await;
    }
    let old = dumped(&redis).await;
    assert!(!old.is_empty(), "there is no log");
    // One is down, another purges, the third hears it; then the log is as it was before, as after
    // a failover to a replica of the server that had not got it.
    fleet[1].kill9();
    fleet[1].exits_within(ms(5_000)).await;
    purge(&fleet[0], &json!({"model": DOOMED})).await;
    is_gone(SOON, &fleet[2], &first).await;
    fleet[0].kill9();
    fleet[0].exits_within(ms(5_000)).await;
    for (key, dump) in &old {
        let words: [&[u8]; 5] = [b"RESTORE", key, b"0", dump, b"REPLACE"];
        redis.ask_bytes(&words).await;
    }
    fleet[1].start_again().await;
    joined(&fleet[1]).await;
    purge(&fleet[1], &json!({"model": "gpt-4o"})).await;
    is_gone(SOON, &fleet[2], &second).await;
    fleet[0].start_again().await;
    joined(&fleet[0]).await;
    is_asked_anew(&fleet, &origin, &second).await;
}

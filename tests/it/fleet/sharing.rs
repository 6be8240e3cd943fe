//! An answer that one replica has is a hit at every other, for those who may have it.

use super::*;

/// Asks at the first replica, then at the others: hits from the shared tier, then from their own.
async fn goes_round(fleet: &[Proxy], origin: &Origin, nodes: &[Redis], asks: &[Ask]) {
    for (number, ask) in asks.iter().enumerate() {
        let miss = fleet[0].ask(ask).await;
        miss.is(200, "miss");
        stored(nodes, number + 1).await;
        for other in &fleet[1..] {
            for from_shared in [number + 1, number + 1] {
                let hit = other.ask(ask).await;
                hit.is(200, "hit");
                assert!(
                    hit.body == miss.body,
                    "{} bytes became {}",
                    miss.body.len(),
                    hit.body.len()
                );
                for name in ["content-type", "x-llm-cache-key"] {
                    assert_eq!(hit.field(name), miss.field(name), "{name}");
                }
                assert!(hit.field("age").is_some(), "{}", hit.dump());
                assert_eq!(shared_hits(other).await, from_shared as f64);
            }
        }
    }
    origin.was_called(asks.len());
}

#[tokio::test]
async fn an_answer_asked_at_one_is_a_hit_at_the_others() {
    let origin = origin().start().await;
    let cluster = RedisCluster::start().await;
    let fleet = fleet(3, &origin, &cluster.node_names()).await;
    let asks = [
        chat("round"),
        chat_stream("round and round"),
        messages("round", true),
        messages("round and round", false),
        responses("round", true),
    ];
    goes_round(&fleet, &origin, &cluster.masters, &asks).await;
    let found = answers(&cluster.masters).await;
    assert_eq!(found.len(), asks.len());
    assert!(found.iter().all(|(_, key)| key.starts_with(b"t:")));
    // Everything there ends by itself, but the log of purges, which has a limit.
    for node in &cluster.masters {
        let mut keys = node.keys().await;
        keys.retain(|key| !key.starts_with(b"t:{purges}"));
        for key in keys {
            let left = node.ask_bytes(&[b"PTTL", &key]).await;
            let name = String::from_utf8_lossy(&key).into_owned();
            assert!(matches!(left, Resp::Int(1..)), "{name}: {left:?}");
        }
    }
}

#[tokio::test]
async fn large_answers_are_shared_in_one_piece() {
    let long = |call: &Call| match call.streams() {
        true => llm::chat_stream(call, 20_000),
        false => {
            // Hardly compressible, so that it takes several chunks.
            let mut state = 88_172_645_463_325_252_u64;
            let noise: String = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                format!("{state:016x}")
            })
            .take(150_000)
            .collect();
            let mut value = llm::chat_value(call);
            value["choices"][0]["message"]["content"] = noise.into();
            Reply::json(200, value)
        }
    };
    let origin = origin().answer(long).start().await;
    let cluster = RedisCluster::start().await;
    let fleet = fleet(2, &origin, &cluster.node_names()).await;
    let asks = [chat("large"), chat_stream("large, streamed")];
    goes_round(&fleet, &origin, &cluster.masters, &asks).await;
}

#[tokio::test]
async fn on_a_single_node_it_is_the_same() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(3, &origin, &[redis.node()]).await;
    let asks = [chat("one node"), chat_stream("one node, streamed")];
    goes_round(&fleet, &origin, std::slice::from_ref(&redis), &asks).await;
}

#[tokio::test]
async fn the_answers_of_one_tenant_are_not_the_others() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(2, &origin, &[redis.node()]).await;
    let ask = chat("for my eyes only");
    fleet[0].ask(&ask).await.is(200, "miss");
    stored([&redis], 1).await;
    let stranger = ask.clone().bearer("sk-other");
    fleet[1].ask(&stranger).await.is(200, "miss");
    let hit = fleet[1].ask(&ask).await;
    assert_eq!(hit.is(200, "hit").call(), 1);
    origin.was_called(2);
}

#[tokio::test]
async fn another_prefix_is_another_cache() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let nodes = [redis.node()];
    let one = replica(&origin, &nodes).start().await;
    let other = replica(&origin, &nodes).set("shared.prefix", "u:");
    let other = other.start().await;
    joined(&one).await;
    joined(&other).await;
    let ask = chat("whose");
    one.ask(&ask).await.is(200, "miss");
    stored([&redis], 1).await;
    other.ask(&ask).await.is(200, "miss");
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not_shared() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(2, &origin, &[redis.node()]).await;
    let ask = chat("not to be stored");
    let unstored = ask.clone().cache_control("no-store");
    fleet[0].ask(&unstored).await.is_clean(200);
    fleet[1].ask(&unstored).await.is_clean(200);
    // Whatever was queued before this one is written before it.
    fleet[0].ask(&chat("to be stored")).await.is(200, "miss");
    stored([&redis], 1).await;
    assert_eq!(answers([&redis]).await.len(), 1);
    assert!(!serves(&fleet[1], &ask).await);
    origin.was_called(3);
}

/// The one answer there is, as it is stored.
async fn value(redis: &Redis) -> Vec<u8> {
    let (_, key) = answers([redis]).await.remove(0);
    redis.ask_bytes(&[b"GET", &key]).await.bytes()
}

#[tokio::test]
async fn a_refreshed_answer_replaces_the_shared_one() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(3, &origin, &[redis.node()]).await;
    let ask = chat("anything new?");
    assert_eq!(fleet[0].ask(&ask).await.is(200, "miss").call(), 1);
    stored([&redis], 1).await;
    assert_eq!(fleet[1].ask(&ask).await.is(200, "hit").call(), 1);
    let old = value(&redis).await;
    let refresh = ask.clone().cache_control("no-cache");
    let new = fleet[1].ask(&refresh).await;
    assert_eq!(new.is_clean(200).call(), 2);
    let replaced = async || match value(&redis).await == old {
        true => Err("it is the old one".to_owned()),
        false => Ok(()),
    };
    within(ms(5_000), "the shared answer is replaced", replaced).await;
    assert_eq!(fleet[1].ask(&ask).await.is(200, "hit").call(), 2);
    assert_eq!(fleet[2].ask(&ask).await.is(200, "hit").call(), 2);
    origin.was_called(2);
}

#[tokio::test]
async fn what_expires_here_expires_there() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet_of(2, || {
        replica(&origin, &[redis.node()]).set("cache.ttl", "3s")
    })
    .await;
    let ask = chat("soon forgotten");
    let asked = std::time::Instant::now();
    fleet[0].ask(&ask).await.is(200, "miss");
    stored([&redis], 1).await;
    // On a machine that took that long there is nothing to see.
    let hit = fleet[1].ask(&ask).await;
    if asked.elapsed() < ms(2_500) {
        hit.is(200, "hit");
    }
    let gone = async || match serves(&fleet[1], &ask).await {
        true => Err("it is served".to_owned()),
        false => Ok(()),
    };
    within(ms(4_000), "it has expired at the other replica", gone).await;
    let empty = async || match answers([&redis]).await.len() {
        0 => Ok(()),
        left => Err(format!("{left} answers")),
    };
    within(ms(4_000), "it has expired on the shared tier", empty).await;
}

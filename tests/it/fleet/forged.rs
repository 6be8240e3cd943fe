//! What others wrote to the shared tier, what was damaged there, what went away: misses, and never
//! an answer.

use super::*;

/// How a stored answer is spoilt.
type Spoil<'a> = (&'a str, fn(&[u8], &[u8]) -> Option<Vec<u8>>);

/// From the value and that of another question; none: it becomes a list.
const SPOILS: [Spoil<'static>; 9] = [
    ("random bytes", |value, _| {
        let noise = value.iter().enumerate();
        Some(noise.map(|(at, _)| (at * 89 + 7) as u8).collect())
    }),
    ("nothing", |_, _| Some(Vec::new())),
    ("a text", |_, _| Some(b"{\"a\": \"stranger's\"}".to_vec())),
    ("a list", |_, _| None),
    ("another question's answer", |_, other| Some(other.to_vec())),
    ("one bit", |value, _| {
        let mut value = value.to_vec();
        let last = value.len() - 5;
        value[last] ^= 1;
        Some(value)
    }),
    ("a part", |value, _| Some(value[..value.len() - 1].to_vec())),
    ("more at the end", |value, _| Some([value, b"x"].concat())),
    ("another version", |value, _| {
        let mut value = value.to_vec();
        value[4] = 200;
        Some(value)
    }),
];

/// Values that were refused, of whatever kind.
async fn refused(replica: &Proxy) -> f64 {
    let metrics = replica.metrics().await;
    metrics.value("llm_cache_shared_bad_values_total")
        + metrics.value("llm_cache_shared_operations_total{result=\"refused\"}")
}

async fn value_of(node: &Redis, key: &[u8]) -> Vec<u8> {
    node.ask_bytes(&[b"GET", key]).await.bytes()
}

#[tokio::test]
async fn spoilt_values_are_misses_and_counted() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(3, &origin, &[redis.node()]).await;
    fleet[0]
        .ask(&chat("another question"))
        .await
        .is(200, "miss");
    stored([&redis], 1).await;
    let other = answers([&redis]).await.remove(0).1;
    for (spoil, change) in &SPOILS {
        let ask = chat(&format!("to be spoilt: {spoil}"));
        let known: Vec<_> = answers([&redis]).await;
        fleet[0].ask(&ask).await.is(200, "miss");
        stored([&redis], known.len() + 1).await;
        let mut found = answers([&redis]).await;
        found.retain(|(_, key)| !known.iter().any(|(_, old)| old == key));
        let key = found.remove(0).1;
        let value = value_of(&redis, &key).await;
        match change(&value, &value_of(&redis, &other).await) {
            Some(spoilt) => redis.ask_bytes(&[b"SET", &key, &spoilt]).await,
            None => {
                redis.ask_bytes(&[b"DEL", &key]).await;
                redis.ask_bytes(&[b"RPUSH", &key, b"not", b"ours"]).await
            }
        };
        let (before, calls) = (refused(&fleet[1]).await, origin.count());
        let answer = fleet[1].ask(&ask).await;
        assert_eq!(answer.is(200, "miss").call(), calls + 1, "{spoil}");
        assert_eq!(answer.body, llm::any(&origin.last()).bytes(), "{spoil}");
        // A value without a byte is none.
        let counted = refused(&fleet[1]).await > before;
        assert_eq!(counted, *spoil != "nothing", "{spoil}");
        // It is served from there on, and who has a good one keeps it.
        assert_eq!(fleet[1].ask(&ask).await.is(200, "hit").call(), calls + 1);
        assert_eq!(fleet[0].ask(&ask).await.is(200, "hit").call(), calls);
    }
    sharing(&fleet[0], &fleet[2]).await;
    // A stranger's values are nothing against the server.
    let breaker = "llm_cache_shared_breaker";
    assert_eq!(fleet[1].metrics().await.value(breaker), 0.0);
}

#[tokio::test]
async fn everything_overwritten_costs_misses_only() {
    let origin = origin().start().await;
    let cluster = RedisCluster::start().await;
    let fleet = fleet(2, &origin, &cluster.node_names()).await;
    let asks: Vec<Ask> = (0..30).map(|n| chat(&format!("all {n}"))).collect();
    for ask in &asks {
        fleet[0].ask(ask).await.is(200, "miss");
    }
    stored(&cluster.masters, asks.len()).await;
    for node in &cluster.masters {
        for key in node.keys().await {
            node.ask_bytes(&[b"SET", &key, b"\x00garbage"]).await;
        }
    }
    for ask in &asks {
        fleet[0].ask(ask).await.is(200, "hit");
    }
    for answer in ask_all(&fleet[1], &asks).await {
        assert!(answer.is(200, "miss").call() > asks.len());
    }
    origin.was_called(asks.len() * 2);
    sharing(&fleet[0], &fleet[1]).await;
    // Neither are purges stopped by it.
    let ask = chat("to be purged");
    fleet[0].ask(&ask).await.is(200, "miss");
    is_known(&fleet[1], &ask).await;
    crate::operating::purge(&fleet[0], &json!({"all": true})).await;
    is_gone(ms(15_000), &fleet[1], &ask).await;
}

#[tokio::test]
async fn a_chunk_that_is_gone_or_another_is_a_miss() {
    let long = |call: &Call| {
        let noise: String = (0_u64..150_000)
            .map(|n| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ n << 17))
            .collect();
        let mut value = llm::chat_value(call);
        value["choices"][0]["message"]["content"] = noise.into();
        Reply::json(200, value)
    };
    for gone in [true, false] {
        let origin = origin().answer(long).start().await;
        let redis = Redis::start().await;
        let fleet = fleet(2, &origin, &[redis.node()]).await;
        let ask = chat("in chunks");
        fleet[0].ask(&ask).await.is(200, "miss");
        stored([&redis], 1).await;
        let main = answers([&redis]).await;
        let chunk = async || {
            let mut keys = redis.keys().await;
            keys.retain(|key| {
                let rest = main
                    .iter()
                    .find_map(|(_, main)| key.strip_prefix(&main[..]));
                rest.is_some_and(|rest| matches!(rest, [b':', b'1'..=b'9']))
            });
            keys.sort();
            keys.pop()
        };
        let key = chunk().await.expect("the answer is stored in chunks");
        match gone {
            true => redis.ask_bytes(&[b"DEL", &key]).await,
            false => redis.ask_bytes(&[b"SETRANGE", &key, b"100", b"zz"]).await,
        };
        let answer = fleet[1].ask(&ask).await;
        let calls = origin.count();
        assert_eq!(answer.is(200, "miss").call(), calls);
        assert!(answer.body == long(&origin.last()).bytes());
    }
}

/// An answer is on its way from the first replica to the second, and somebody does this to
/// everything on the shared tier.
async fn meddled(words: &'static [&'static [u8]]) {
    const WORDS: usize = 40;
    let gate = Gate::closed();
    let held = gate.clone();
    let reply = |call: &Call| llm::chat_stream(call, WORDS);
    let script = move |call: &Call| match call.number {
        1 => reply(call).paced(ms(5)).held_after(10, &held),
        _ if call.streams() => reply(call),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let redis = Redis::start().await;
    let fleet = fleet(2, &origin, &[redis.node()]).await;
    let ask = chat_stream("meddled with");
    let mut leader = fleet[0].h1().await;
    leader.start(&ask).await;
    leader.until("data:", 3).await;
    let mut follower = fleet[1].h1().await;
    follower.start(&ask).await;
    follower.until("data:", 3).await;
    for key in redis.keys().await {
        let mut command = vec![words[0], &key];
        command.extend(&words[1..]);
        // What does not fit the type of a key is refused, which is fine.
        let words: Vec<&[u8]> = command;
        let _ = redis.meddle(&words).await;
    }
    gate.open();
    let whole = leader.finish().await;
    whole.is_clean(200);
    assert!(is_true_or_broken(&whole, &origin, reply));
    let answer = bounded("an end or a break", follower.finish()).await;
    let end = is_true_or_broken(&answer, &origin, reply);
    println!("the follower's answer is whole: {end}");
    for replica in fleet.iter().rev() {
        let answer = replica.ask(&ask).await;
        answer.is_clean(200);
        assert!(is_true_or_broken(&answer, &origin, reply));
    }
    sharing(&fleet[0], &fleet[1]).await;
}

#[tokio::test]
async fn a_stream_that_is_overwritten_is_not_followed_into_nonsense() {
    meddled(&[b"SET", b"data: {\"garbage\": true}\n\n"]).await;
}

#[tokio::test]
async fn a_stream_that_grows_by_a_stranger_is_not_followed_into_nonsense() {
    meddled(&[b"APPEND", b"data: {\"garbage\": true}\n\n"]).await;
}

#[tokio::test]
async fn a_stream_that_is_evicted_does_not_end_as_if_it_were_whole() {
    meddled(&[b"DEL"]).await;
}

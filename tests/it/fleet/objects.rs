//! A bucket below the shared tier: what a server in memory has let go is found there, and whatever the
//! bucket does, nobody waits for it longer than a deadline.

use bytes::Bytes;
use hyper::Method;

use super::*;
use crate::harness::bucket::{ACCESS_KEY, BUCKET, CONTAINER_TOKEN, Mood, SECRET_KEY};

/// How an object is spoilt.
type Spoil<'a> = (&'a str, &'a dyn Fn(&Bytes) -> Bytes);

fn cold(origin: &Origin, nodes: &[String], bucket: &Bucket) -> ProxyBuilder {
    let objects = json!({
        "bucket": BUCKET, "endpoint": bucket.url(), "region": "eu-central-1", "prefix": "cold/",
        "access_key_env": "OBJECTS_ACCESS", "secret_key_env": "OBJECTS_SECRET",
        "deadline": UNHURRIED,
    });
    replica(origin, nodes)
        .set("objects", objects)
        .config(|config| {
            config.env("OBJECTS_ACCESS", ACCESS_KEY);
            config.env("OBJECTS_SECRET", SECRET_KEY);
        })
}

/// Waits until there are so many objects.
#[track_caller]
fn kept(bucket: &Bucket, count: usize) -> impl Future<Output = ()> {
    let what = format!("{count} objects");
    within(ms(20_000), what, move || {
        std::future::ready(match bucket.objects().len() {
            enough if enough >= count => Ok(()),
            few => Err(format!("{few} of them")),
        })
    })
}

/// Takes the answers away from the server, as it does itself when its memory is full.
async fn forgotten(redis: &Redis) {
    for (node, key) in answers([redis]).await {
        node.ask_bytes(&[b"DEL", &key]).await;
    }
}

async fn cold_hits(replica: &Proxy) -> f64 {
    let metrics = replica.metrics().await;
    metrics.value("llm_cache_tier_hits_total{tier=\"objects\"}")
}

async fn bad(replica: &Proxy) -> f64 {
    let metrics = replica.metrics().await;
    metrics.value("llm_cache_objects_bad_values_total")
}

#[tokio::test]
async fn what_the_shared_tier_has_lost_is_in_the_bucket() {
    // Bytes that do not get shorter, so that there is more than one chunk.
    let noise: String = (0..180_000u64)
        .map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32))
        .collect();
    let origin = origin()
        .answer(move |call| {
            let mut answer = llm::chat_value(call);
            answer["choices"][0]["message"]["content"] = noise.as_str().into();
            match String::from_utf8_lossy(&call.body).contains("a long answer") {
                true => Reply::json(200, answer),
                false => llm::any(call),
            }
        })
        .start()
        .await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(3, || cold(&origin, &[redis.node()], &bucket)).await;
    let asks = [
        chat("cold"),
        chat_stream("cold as well"),
        chat("a long answer"),
        embeddings(&["one", "two"]),
    ];
    for (number, ask) in asks.iter().enumerate() {
        let miss = fleet[0].ask(ask).await;
        miss.is(200, "miss");
        stored([&redis], 1).await;
        kept(&bucket, number + 1).await;
        forgotten(&redis).await;
        let hit = fleet[1].ask(ask).await;
        assert!(hit.is(200, "hit").body == miss.body, "{ask:?}");
        assert_eq!(hit.field("content-type"), miss.field("content-type"));
        assert_eq!(cold_hits(&fleet[1]).await, (number + 1) as f64);
        // From there it is in the shared tier, and in this replica's own.
        stored([&redis], 1).await;
        assert!(fleet[2].ask(ask).await.is(200, "hit").body == miss.body);
        assert!(fleet[1].ask(ask).await.is(200, "hit").body == miss.body);
        assert_eq!(shared_hits(&fleet[2]).await, (number + 1) as f64);
        assert_eq!(cold_hits(&fleet[1]).await, (number + 1) as f64);
        forgotten(&redis).await;
    }
    origin.was_called(asks.len());
    // Once by the one who asked, and by nobody else; single texts of embeddings are not there.
    assert_eq!(bucket.count(Method::PUT, 200), asks.len());
    assert!(bucket.objects().keys().all(|name| {
        let key = name.strip_prefix("cold/").and_then(|rest| rest.get(3..));
        key.is_some_and(|key| key.len() == 64 && name.starts_with(&format!("cold/{}/", &key[..2])))
    }));
}

#[tokio::test]
async fn a_crowd_that_wants_a_cold_answer_reads_it_once() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(3, || cold(&origin, &[redis.node()], &bucket)).await;
    for ask in [chat("all at once"), chat_stream("all of it at once")] {
        let miss = fleet[0].ask(&ask).await;
        miss.is(200, "miss");
        stored([&redis], 1).await;
        kept(&bucket, 1).await;
        forgotten(&redis).await;
        let read = bucket.count(Method::GET, 200);
        bucket.set_mood(Mood::Slow(ms(200)));
        let asks = vec![ask; 20];
        let asking = fleet[1..].iter().map(|replica| ask_all(replica, &asks));
        for answer in futures_util::future::join_all(asking)
            .await
            .iter()
            .flatten()
        {
            assert_eq!(answer.is_clean(200).body, miss.body);
        }
        assert_eq!(bucket.count(Method::GET, 200), read + 1);
        bucket.set_mood(Mood::Well);
        forgotten(&redis).await;
    }
    origin.was_called(2);
}

#[tokio::test]
async fn without_the_shared_tier_cold_answers_are_still_there() {
    let origin = origin().start().await;
    let (mut redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(2, || cold(&origin, &[redis.node()], &bucket)).await;
    let ask = chat("who needs redis");
    let miss = fleet[0].ask(&ask).await;
    miss.is(200, "miss");
    kept(&bucket, 1).await;
    redis.kill();
    assert_eq!(fleet[1].ask(&ask).await.is(200, "hit").body, miss.body);
    origin.was_called(1);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_costs_nothing_that_lies_elsewhere() {
    let origin = origin().start().await;
    let (mut redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(2, || cold(&origin, &[redis.node()], &bucket)).await;
    let (stays, purged) = (chat("stays"), messages("purged before", false));
    for ask in [&stays, &purged] {
        fleet[0].ask(ask).await.is(200, "miss");
    }
    kept(&bucket, 2).await;
    crate::operating::purge(&fleet[0], &json!({"model": "claude-sonnet-4-5"})).await;
    is_gone(ms(10_000), &fleet[1], &purged).await;
    redis.kill();
    redis.start_again().await;
    for replica in &fleet {
        joined(replica).await;
    }
    sharing(&fleet[0], &fleet[1]).await;
    assert_eq!(fleet[0].ask(&stays).await.is(200, "hit").call(), 1);
    assert_eq!(fleet[1].ask(&stays).await.is(200, "hit").call(), 1);
    assert_eq!(cold_hits(&fleet[1]).await, 1.0);
    for replica in &fleet {
        assert!(!serves(replica, &purged).await);
    }
}

#[tokio::test]
async fn nothing_purged_comes_out_of_the_bucket() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(2, || cold(&origin, &[redis.node()], &bucket)).await;
    let (by_key, by_model, stays) = (chat("by key"), chat("by model"), messages("stays", false));
    let mut keys = Vec::new();
    for ask in [&by_key, &by_model, &stays] {
        let miss = fleet[0].ask(ask).await;
        keys.push(
            miss.is(200, "miss")
                .field("x-llm-cache-key")
                .unwrap()
                .to_owned(),
        );
    }
    kept(&bucket, 3).await;
    crate::operating::purge(&fleet[0], &json!({"key": keys[0]})).await;
    // That one also leaves the bucket.
    within(ms(20_000), "an object is removed", async || {
        match bucket.objects().keys().any(|name| name.ends_with(&keys[0])) {
            true => Err("it is there".to_owned()),
            false => Ok(()),
        }
    })
    .await;
    crate::operating::purge(&fleet[0], &json!({"model": MODEL})).await;
    forgotten(&redis).await;
    assert_eq!(bucket.objects().len(), 2);
    // The other replica has heard of it when it no longer takes what the bucket has.
    is_gone(ms(10_000), &fleet[1], &by_model).await;
    assert!(!serves(&fleet[1], &by_key).await);
    assert!(serves(&fleet[1], &stays).await);
    fleet[1].ask(&by_model).await.is(200, "miss");
    // And the new answer takes the old one's place.
    within(ms(20_000), "a new object", async || {
        match bucket.count(Method::PUT, 200) {
            4 => Ok(()),
            other => Err(format!("{other} were written")),
        }
    })
    .await;
    // A replica that begins with nothing does not bring anything back either.
    let mut last = cold(&origin, &[redis.node()], &bucket).start().await;
    last.restart().await;
    joined(&last).await;
    forgotten(&redis).await;
    assert!(serves(&last, &by_model).await);
    assert!(!serves(&last, &by_key).await);
    assert_eq!(last.ask(&by_model).await.is(200, "hit").call(), 4);
}

#[tokio::test]
async fn objects_that_are_no_answers_are_misses_and_counted() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(2, || cold(&origin, &[redis.node()], &bucket)).await;
    let other = chat("another question");
    fleet[0].ask(&other).await.is(200, "miss");
    kept(&bucket, 1).await;
    let others = bucket.objects().into_values().next().unwrap();
    let spoils: [Spoil<'_>; 6] = [
        ("nothing", &|_| Bytes::new()),
        ("a page", &|_| {
            Bytes::from_static(b"<html>a captive portal</html>")
        }),
        ("another question's", &|_| others.clone()),
        ("a part", &|object| object.slice(..object.len() - 1)),
        ("one bit", &|object| {
            let mut bytes = object.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            bytes.into()
        }),
        ("more than there may be", &|_| {
            Bytes::from(vec![b'L'; 9 << 20])
        }),
    ];
    for (number, (spoil, change)) in spoils.iter().enumerate() {
        let ask = chat(&format!("to be spoilt: {spoil}"));
        fleet[0].ask(&ask).await.is(200, "miss");
        kept(&bucket, number + 2).await;
        stored([&redis], 1).await;
        forgotten(&redis).await;
        bucket.overwrite(change);
        let calls = origin.count();
        let answer = fleet[1].ask(&ask).await;
        assert_eq!(answer.is(200, "miss").call(), calls + 1, "{spoil}");
        assert_eq!(answer.body, llm::any(&origin.last()).bytes(), "{spoil}");
        // One that is too long is not read to its end.
        let seen = (number + 1).min(spoils.len() - 1);
        assert_eq!(bad(&fleet[1]).await, seen as f64, "{spoil}");
    }
}

#[tokio::test]
async fn a_bucket_that_fails_costs_nothing_but_its_answers() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(2, || {
        cold(&origin, &[redis.node()], &bucket).set("objects.deadline", "50ms")
    })
    .await;
    let ask = chat("cold, and not to be had");
    fleet[0].ask(&ask).await.is(200, "miss");
    kept(&bucket, 1).await;
    let moods = [
        Mood::Failing(503),
        Mood::Failing(403),
        Mood::Torn,
        Mood::Slow(ms(60_000)),
    ];
    for mood in moods {
        bucket.set_mood(mood);
        for number in 0..12 {
            let asked = std::time::Instant::now();
            let answer = fleet[1].ask(&chat(&format!("{mood:?} {number}"))).await;
            answer.is(200, "miss");
            // A deadline is 50 ms; the rest is for a busy machine.
            assert!(asked.elapsed() < ms(1_000), "{:?}", asked.elapsed());
        }
        let breaker = async || fleet[1].metrics().await.value("llm_cache_objects_breaker");
        if mood == Mood::Torn {
            // What is not there is said well enough.
            continue;
        }
        assert_ne!(breaker().await, 0.0, "{mood:?}");
        bucket.set_mood(Mood::Well);
        within(ms(20_000), "the bucket is used again", async || {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            fleet[1]
                .ask(&chat(&format!("again? {next}")))
                .await
                .is(200, "miss");
            match breaker().await {
                0.0 => Ok(()),
                other => Err(format!("breaker {other}")),
            }
        })
        .await;
    }
    bucket.set_mood(Mood::Torn);
    forgotten(&redis).await;
    let calls = origin.count();
    assert_eq!(fleet[1].ask(&ask).await.is(200, "miss").call(), calls + 1);
}

#[tokio::test]
async fn keys_that_are_not_let_in_are_said_in_the_log() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let replica = cold(&origin, &[redis.node()], &bucket)
        .config(|config| {
            config.env("OBJECTS_SECRET", "not-the-secret-key");
        })
        .start()
        .await;
    joined(&replica).await;
    within(ms(20_000), "a line about the bucket", async || {
        let log = std::fs::read_to_string(replica.path("run.stderr")).unwrap();
        let line = log.lines().find(|line| line.contains("the bucket"));
        let line = line.ok_or_else(|| "there is none".to_owned())?;
        assert!(line.contains("WARN"), "{line}");
        assert!(line.contains("SignatureDoesNotMatch"), "{line}");
        assert!(!line.contains("not-the-secret"), "{line}");
        Ok(())
    })
    .await;
    replica.ask(&chat("all the same")).await.is(200, "miss");
    replica.ask(&chat("all the same")).await.is(200, "hit");
    assert!(bucket.objects().is_empty());
}

#[tokio::test]
async fn a_container_asks_with_the_keys_that_it_is_given() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let keys = json!({"bucket": BUCKET, "endpoint": bucket.url(), "deadline": UNHURRIED});
    let replica = replica(&origin, &[redis.node()])
        .set("objects", keys)
        .config(|config| {
            config.file("token", CONTAINER_TOKEN);
            config.env(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                &bucket.credentials_url(),
            );
            config.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "token");
        })
        .start()
        .await;
    joined(&replica).await;
    replica.ask(&chat("from a container")).await.is(200, "miss");
    kept(&bucket, 1).await;
    assert_eq!(bucket.count(Method::GET, 403), 0);
    assert!(
        bucket
            .objects()
            .keys()
            .all(|name| name.starts_with("llm-cache/"))
    );
}

#[tokio::test]
async fn what_is_not_fresh_for_long_is_not_written_nor_what_was_before_it() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let replica = cold(&origin, &[redis.node()], &bucket).start().await;
    joined(&replica).await;
    let ask = chat("long, then short");
    replica.ask(&ask).await.is(200, "miss");
    kept(&bucket, 1).await;
    // An answer that is over in an hour is not to be followed by the one before it.
    let short = ask
        .header("x-llm-cache-ttl", "59m")
        .cache_control("no-cache");
    replica.ask(&short).await.is(200, "refresh");
    within(
        ms(20_000),
        "the older object is removed",
        async || match bucket.objects().len() {
            0 => Ok(()),
            other => Err(format!("{other} objects")),
        },
    )
    .await;
    assert_eq!(bucket.count(Method::PUT, 200), 1);
}

#[tokio::test]
async fn who_waits_for_a_young_answer_does_not_get_an_old_one_that_was_found() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(2, || cold(&origin, &[redis.node()], &bucket)).await;
    let ask = chat("how old may it be");
    fleet[0].ask(&ask).await.is(200, "miss");
    kept(&bucket, 1).await;
    within(ms(20_000), "the answer is two seconds old", async || {
        let hit = fleet[0].ask(&ask).await;
        let age = hit.is(200, "hit").field("age").unwrap().to_owned();
        match age.parse::<u64>().unwrap() {
            2.. => Ok(()),
            _ => Err(age),
        }
    })
    .await;
    forgotten(&redis).await;
    bucket.set_mood(Mood::Slow(ms(900)));
    let young = ask.clone().cache_control("max-age=1");
    let joined = async {
        fleet[1].reaches("llm_cache_requests_in_flight", 1.0).await;
        fleet[1].ask(&young).await
    };
    let (_, young) = tokio::join!(fleet[1].ask(&ask), joined);
    assert_eq!(young.is_clean(200).call(), 2, "{}", young.dump());
}

#[tokio::test]
async fn a_purge_by_key_covers_what_is_made_of_an_object() {
    let origin = origin().start().await;
    let (redis, bucket) = (Redis::start().await, Bucket::start().await);
    let fleet = fleet_of(3, || {
        cold(&origin, &[redis.node()], &bucket).set("store.disk", "off")
    })
    .await;
    let (plain, stream) = (chat("in two forms"), chat_stream("in two forms"));
    let miss = fleet[0].ask(&stream).await;
    let key = miss
        .is(200, "miss")
        .field("x-llm-cache-key")
        .unwrap()
        .to_owned();
    kept(&bucket, 1).await;
    forgotten(&redis).await;
    // The bucket has it in another form than it is asked for.
    fleet[1].ask(&plain).await.is(200, "hit");
    origin.was_called(1);
    within(
        ms(20_000),
        "the shared tier has it again",
        async || match answers([&redis]).await.len() {
            0 => Err("it has not".to_owned()),
            _ => Ok(()),
        },
    )
    .await;
    forgotten(&redis).await;
    // Nothing in memory here: what the key is about is read from the bucket.
    crate::operating::purge(&fleet[2], &json!({"key": key})).await;
    for replica in &fleet {
        is_gone(ms(10_000), replica, &plain).await;
        is_gone(ms(10_000), replica, &stream).await;
    }
}

//! What a client can tell the cache, and what the cache tells it.

use std::time::Duration;

use crate::harness::*;

#[tokio::test]
async fn a_miss_a_hit_and_a_bypass_say_so() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("signals");
    let miss = proxy.ask(&ask).await;
    miss.is(200, "miss").says("fwd=uri-miss");
    assert_eq!(miss.field("age"), None, "a fresh answer has no age");
    let key = miss.field("x-llm-cache-key").expect("a key").to_owned();
    assert!(
        key.len() == 64 && key.chars().all(|c| "0123456789abcdef".contains(c)),
        "{key}"
    );

    let hit = proxy.ask(&ask).await;
    hit.is(200, "hit").says("hit");
    assert_eq!(hit.field("x-llm-cache-key"), Some(key.as_str()));
    let age: u64 = hit.field("age").expect("an age").parse().unwrap();
    assert!(age < 60, "age: {age}");
    let ttl = hit
        .cache_status()
        .iter()
        .find_map(|p| p.strip_prefix("ttl=")?.parse::<u64>().ok());
    let month = 30 * 24 * 3600;
    assert!(
        ttl.is_some_and(|ttl| ttl <= month && ttl > month - 60),
        "{}",
        hit.dump()
    );
    assert_eq!(hit.field("content-type"), miss.field("content-type"));

    let bypass = proxy.ask(&ask.cache_control("no-store")).await;
    bypass.is(200, "bypass").says("fwd=bypass");
    assert!(
        bypass
            .cache_status()
            .iter()
            .any(|p| p.starts_with("detail=")),
        "{}",
        bypass.dump()
    );
}

#[tokio::test]
async fn a_follower_says_that_it_was_collapsed() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let asks = [chat("collapsed"), chat("collapsed")];
    let opened = async {
        proxy.following(2).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    let follower = answers
        .iter()
        .find(|a| a.outcome() == "coalesced")
        .expect("a follower");
    follower
        .is_clean(200)
        .says("fwd=uri-miss")
        .says("collapsed");
    assert_eq!(
        answers[0].field("x-llm-cache-key"),
        answers[1].field("x-llm-cache-key")
    );
    origin.was_called(1);
}

#[tokio::test]
async fn no_cache_replaces_the_entry() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("refresh");
    assert_eq!(proxy.ask(&ask).await.is(200, "miss").call(), 1);
    let refreshed = proxy.ask(&ask.clone().cache_control("no-cache")).await;
    assert_eq!(refreshed.is(200, "refresh").says("fwd=request").call(), 2);
    assert_eq!(proxy.ask(&ask).await.is(200, "hit").call(), 2);
    origin.was_called(2);
}

#[tokio::test]
async fn a_refresh_with_a_bad_answer_leaves_the_old_entry() {
    let origin = origin()
        .answer(|call| match call.number {
            2 => Reply::error(500, "call-2 failed"),
            3 => Reply::error(200, "call-3 failed"),
            4 => llm::chat_stream(call, 3).broken_after(2),
            _ => llm::any(call),
        })
        .start()
        .await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.error_linger", "0s")
        .start()
        .await;
    let ask = chat("bad refresh");
    proxy.ask(&ask).await.is(200, "miss");
    let refresh = ask.clone().cache_control("no-cache");
    for call in [2, 3, 4] {
        let answer = proxy.ask(&refresh).await;
        assert_eq!(
            (answer.outcome(), answer.call()),
            ("refresh", call),
            "{}",
            answer.dump()
        );
        assert_eq!(proxy.ask(&ask).await.is(200, "hit").call(), 1);
    }
    proxy.ask(&refresh).await.is(200, "refresh");
    assert_eq!(proxy.ask(&ask).await.is(200, "hit").call(), 5);
}

#[tokio::test]
async fn no_store_neither_reads_nor_writes() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("no-store");
    let bypass = ask.clone().cache_control("no-store");
    assert_eq!(proxy.ask(&bypass).await.is(200, "bypass").call(), 1);
    assert_eq!(proxy.ask(&ask).await.is(200, "miss").call(), 2);
    assert_eq!(proxy.ask(&bypass).await.is(200, "bypass").call(), 3);
    assert_eq!(proxy.ask(&ask).await.is(200, "hit").call(), 2);
}

#[tokio::test]
async fn only_if_cached_never_asks_upstream() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("only");
    let only = ask.clone().cache_control("only-if-cached");
    proxy.ask(&only).await.is_error(504);
    origin.was_called(0);
    proxy.ask(&ask).await.is(200, "miss");
    proxy.ask(&only).await.is(200, "hit");
    origin.was_called(1);
}

#[tokio::test]
async fn max_age_is_honoured() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("old");
    proxy.ask(&ask).await.is(200, "miss");
    proxy
        .ask(&ask.clone().cache_control("max-age=3600"))
        .await
        .is(200, "hit");
    // Waits for the entry to be a second old, as the server sees it.
    let aged = async || {
        let answer = proxy.ask(&ask).await;
        match answer.is(200, "hit").field("age") {
            Some("0") | None => Err(answer.dump()),
            Some(_) => Ok(()),
        }
    };
    within(Duration::from_secs(5), "an age of a second", aged).await;
    let young = ask.clone().cache_control("max-age=0");
    proxy
        .ask(&young.clone().cache_control("max-age=0, only-if-cached"))
        .await
        .is_error(504);
    origin.was_called(1);
    let answer = proxy.ask(&young).await;
    assert_eq!(answer.is_clean(200).call(), 2);
    assert_ne!(answer.outcome(), "hit");
    assert_eq!(proxy.ask(&ask).await.is(200, "hit").call(), 2);
}

#[tokio::test]
async fn an_entry_expires() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.ttl", "1s")
        .start()
        .await;
    let ask = chat("short lived");
    proxy.ask(&ask).await.is(200, "miss");
    let expired = async || {
        let answer = proxy
            .ask(&ask.clone().cache_control("only-if-cached"))
            .await;
        if answer.head.status == 504 {
            Ok(())
        } else {
            Err(answer.dump())
        }
    };
    within(Duration::from_secs(5), "the entry is gone", expired).await;
    proxy.ask(&ask).await.is(200, "miss");
}

#[tokio::test]
async fn a_finished_answer_is_a_hit_for_the_very_next_request() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut h1 = proxy.h1().await;
    for number in 0..300 {
        let ask = if number % 2 == 0 { chat_stream } else { chat }(&format!("next {number}"));
        h1.ask(&ask).await.is(200, "miss");
        h1.ask(&ask).await.is(200, "hit");
    }
    origin.was_called(300);
}

#[tokio::test]
async fn what_belongs_to_one_exchange_is_not_replayed() {
    let private = [
        ("set-cookie", "session=secret"),
        ("x-request-id", "req-1"),
        ("request-id", "req-1"),
        ("x-ratelimit-remaining-requests", "9"),
        ("anthropic-ratelimit-tokens-remaining", "9"),
        ("retry-after", "3"),
        ("cf-ray", "abc-FRA"),
        ("openai-processing-ms", "77"),
        ("x-hop", "1"),
    ];
    let script = move |call: &Call| {
        let reply = private
            .iter()
            .fold(llm::any(call), |r, (n, v)| r.header(n, v));
        reply
            .header("connection", "x-hop")
            .header("content-language", "fr")
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    for ask in [chat("private"), chat_stream("private, streamed")] {
        let miss = proxy.ask(&ask).await;
        miss.is(200, "miss");
        // The one who asked gets what the provider said to it.
        assert_eq!(miss.field("x-request-id"), Some("req-1"), "{}", miss.dump());
        assert_eq!(miss.field("x-hop"), None, "{}", miss.dump());
        let hit = proxy.ask(&ask).await;
        hit.is(200, "hit");
        for (name, _) in private {
            assert_eq!(hit.field(name), None, "{}", hit.dump());
        }
        assert_eq!(hit.field("content-language"), Some("fr"));
        assert_eq!(hit.field("content-type"), miss.field("content-type"));
    }
}

#[tokio::test]
async fn a_followers_answer_carries_nothing_of_the_leaders_exchange() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| {
        llm::any(call)
            .header("set-cookie", "session=secret")
            .header("x-request-id", "r")
            .held(&held)
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let asks = [chat("leader's"), chat("leader's")];
    let opened = async {
        proxy.following(2).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    let follower = answers
        .iter()
        .find(|a| a.outcome() == "coalesced")
        .expect("a follower");
    assert_eq!(follower.field("set-cookie"), None, "{}", follower.dump());
    assert_eq!(follower.field("x-request-id"), None, "{}", follower.dump());
}

#[tokio::test]
async fn simulate_replays_a_stream_in_pieces_with_the_same_bytes() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("simulated");
    let miss = proxy.ask(&ask).await;
    let simulated = proxy.ask(&ask.to("/simulate/v1/chat/completions")).await;
    simulated.is(200, "hit");
    assert_eq!(simulated.body, miss.body);
    let took = simulated.first_byte.unwrap().elapsed();
    assert!(took >= ms(200), "9 frames within {took:?}");
    origin.was_called(1);
}

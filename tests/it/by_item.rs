//! Embeddings text by text: of a batch only what is not known is asked for, and the answer is the
//! one that the whole batch would have had.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::*;

/// A provider whose embeddings depend on the text and on what is asked of it, and that counts a token
/// for every four bytes begun.
pub fn embedded(call: &Call) -> Reply {
    let asked = call.json();
    let input = match &asked["input"] {
        Value::Array(texts) => texts.clone(),
        text => vec![text.clone()],
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let length = asked["dimensions"].as_u64().unwrap_or(4);
    let embedding = |text: &str| match asked["encoding_format"].as_str() {
        Some("base64") => json!(STANDARD.encode((text.len() as f32).to_le_bytes())),
        _ => json!(
            (0..length)
                .map(|n| 0.1 * n as f64 - text.len() as f64)
                .collect::<Vec<_>>()
        ),
    };
    let item = |(index, value): (usize, &Value)| json!({"object": "embedding", "index": index, "embedding": embedding(&text(value))});
    let data: Vec<Value> = input.iter().enumerate().map(item).collect();
    let tokens: usize = input
        .iter()
        .map(|value| text(value).len().div_ceil(4))
        .sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let answer = json!({"object": "list", "data": data, "model": call.model(), "usage": usage});
    Reply::json(200, answer)
}

pub fn batch(texts: &[String], more: Value) -> Ask {
    let mut body = json!({"model": "text-embedding-3-small", "input": texts});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Ask::post("/v1/embeddings", body.to_string())
}

pub fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    let text = |n: usize| format!("text {n} {}", "and more ".repeat(n % 7));
    range.map(text).collect()
}

pub async fn inputs(origin: &Origin) -> usize {
    origin.last().json()["input"]
        .as_array()
        .expect("a list")
        .len()
}

#[tokio::test]
async fn of_a_thousand_texts_the_hundred_unknown_are_asked_for() {
    for more in [
        json!({}),
        json!({"dimensions": 7, "user": "u"}),
        json!({"encoding_format": "base64"}),
    ] {
        let origin = origin().answer(embedded).start().await;
        let proxy = proxy_before(&origin).await;
        proxy
            .ask(&batch(&texts(0..900), more.clone()))
            .await
            .is(200, "miss");
        // The unknown ones stand between the known ones.
        let mut all = texts(0..900);
        for (at, text) in texts(900..1000).into_iter().enumerate() {
            all.insert(at * 10, text);
        }
        all.swap(3, 950);
        let ask = batch(&all, more.clone());
        let partial = proxy.ask(&ask).await;
        partial
            .is(200, "miss")
            .says("fwd=partial")
            .says("detail=items-900-of-1000");
        origin.was_called(2);
        assert_eq!(inputs(&origin).await, 100);
        let sent = origin.last().json();
        for (name, value) in more.as_object().unwrap() {
            assert_eq!(&sent[name], value, "the rest of the request is as it was");
        }
        let uncached = proxy.ask(&ask.clone().cache_control("no-store")).await;
        assert_eq!(partial.json(), uncached.is(200, "bypass").json());
        // The same again, and parts of it in another order, are known.
        assert_eq!(proxy.ask(&ask).await.is(200, "hit").json(), uncached.json());
        all.reverse();
        let reversed = proxy.ask(&batch(&all, more.clone())).await;
        reversed.is(200, "hit");
        assert_eq!(inputs(&origin).await, 1000, "asked by the bypass");
        origin.was_called(3);
        let expected = proxy
            .ask(&batch(&all, more).cache_control("no-store"))
            .await;
        assert_eq!(reversed.json(), expected.json());
        let saved = proxy.metrics().await;
        let saved = saved.value("llm_cache_tokens_saved_total{upstream=\"openai\",kind=\"input\"}");
        assert!(saved > 0.0);
    }
}

#[tokio::test]
async fn a_text_is_known_from_a_batch_and_a_batch_from_its_texts() {
    let origin = origin().answer(embedded).start().await;
    let proxy = proxy_before(&origin).await;
    let single = |text: &str| {
        let body = json!({"model": "text-embedding-3-small", "input": text});
        Ask::post("/v1/embeddings", body.to_string())
    };
    proxy.ask(&single("one")).await.is(200, "miss");
    proxy.ask(&single("two two")).await.is(200, "miss");
    let both = batch(&["two two".into(), "one".into()], json!({}));
    let hit = proxy.ask(&both).await;
    hit.is(200, "hit");
    origin.was_called(2);
    let uncached = proxy.ask(&both.clone().cache_control("no-store")).await;
    assert_eq!(
        hit.json(),
        uncached.json(),
        "usage as well: they were asked one by one"
    );

    proxy
        .ask(&batch(&texts(0..3), json!({})))
        .await
        .is(200, "miss");
    proxy.ask(&single(&texts(1..2)[0])).await.is(200, "hit");
    // The same text twice in a batch, known and not.
    let twice = batch(
        &["one".into(), "new".into(), "one".into(), "new".into()],
        json!({}),
    );
    let partial = proxy.ask(&twice).await;
    partial.is(200, "miss").says("detail=items-2-of-4");
    let uncached = proxy.ask(&twice.clone().cache_control("no-store")).await;
    assert_eq!(partial.json()["data"], uncached.json()["data"]);
}

#[tokio::test]
async fn another_question_or_tenant_knows_nothing_of_it() {
    let origin = origin().answer(embedded).start().await;
    let proxy = proxy_before(&origin).await;
    let known = texts(0..5);
    proxy.ask(&batch(&known, json!({}))).await.is(200, "miss");
    let part = batch(&known[..2], json!({}));
    proxy
        .ask(&part.clone().bearer("another"))
        .await
        .is(200, "miss");
    for more in [
        json!({"dimensions": 3}),
        json!({"encoding_format": "base64"}),
        json!({"encoding_format": "float"}),
        json!({"input_type": "query"}),
    ] {
        proxy.ask(&batch(&known[..2], more)).await.is(200, "miss");
    }
    proxy
        .ask(&part.clone().cache_control("no-cache"))
        .await
        .is(200, "refresh");
    assert_eq!(inputs(&origin).await, 2);
    proxy.ask(&part).await.is(200, "hit");
}

#[tokio::test]
async fn a_failure_of_the_rest_is_the_clients_answer_and_nothing_is_lost() {
    let origin = origin()
        .answer(|call| match call.number {
            2 => Reply::error(429, "slow down").header("retry-after", "7"),
            3 => Reply::json(
                200,
                json!({"object": "list", "data": [], "model": "m", "usage": null}),
            ),
            _ => embedded(call),
        })
        .start()
        .await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.error_linger", "0s")
        .start()
        .await;
    proxy
        .ask(&batch(&texts(0..3), json!({})))
        .await
        .is(200, "miss");
    let more = batch(&texts(0..5), json!({}));
    let refused = proxy.ask(&more).await;
    assert_eq!(refused.is_clean(429).field("retry-after"), Some("7"));
    // An answer that is none is not believed: the whole batch is asked for.
    let whole = proxy.ask(&more).await;
    whole.is(200, "miss").says("fwd=uri-miss");
    assert_eq!(inputs(&origin).await, 5);
    origin.was_called(4);
    proxy.ask(&more).await.is(200, "hit");
}

#[tokio::test]
async fn clients_that_ask_for_overlapping_batches_at_once_all_get_theirs() {
    let origin = origin().answer(embedded).start().await;
    let proxy = proxy_before(&origin).await;
    proxy
        .ask(&batch(&texts(0..20), json!({})))
        .await
        .is(200, "miss");
    let asks: Vec<Ask> = (0..8).map(|n| batch(&texts(n..30), json!({}))).collect();
    let answers = ask_all(&proxy, &asks).await;
    for (ask, answer) in asks.iter().zip(&answers) {
        let uncached = proxy.ask(&ask.clone().cache_control("no-store")).await;
        assert_eq!(answer.is_clean(200).json()["data"], uncached.json()["data"]);
    }
    let proxy_calls = origin.count() - asks.len();
    // One that looks while the parts of the rest are being kept finds some of them and asks for others.
    assert!(
        proxy_calls <= 3,
        "the rest is the same for all: {proxy_calls} calls"
    );
}

#[tokio::test]
async fn texts_are_known_after_a_restart_and_not_where_it_is_switched_off() {
    let origin = origin().answer(embedded).start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy
        .ask(&batch(&texts(0..50), json!({})))
        .await
        .is(200, "miss");
    proxy.restart().await;
    proxy
        .ask(&batch(&texts(10..40), json!({})))
        .await
        .is(200, "hit");
    origin.was_called(1);

    let off = proxy_off(&origin).await;
    off.ask(&batch(&texts(0..3), json!({})))
        .await
        .is(200, "miss");
    off.ask(&batch(&texts(0..2), json!({})))
        .await
        .is(200, "miss");
}

async fn proxy_off(origin: &Origin) -> Proxy {
    let off = proxy()
        .upstream(origin)
        .set("cache.embeddings_by_item", "off");
    off.start().await
}

#[tokio::test]
async fn a_compressed_batch_is_made_smaller_and_sent_as_it_is() {
    use llm_cache_server::coding::Coding;
    let origin = origin().answer(embedded).start().await;
    let proxy = proxy_before(&origin).await;
    proxy
        .ask(&batch(&texts(0..3), json!({})))
        .await
        .is(200, "miss");
    let plain = batch(&texts(0..5), json!({}));
    let mut encoded = plain.clone().header("content-encoding", "gzip");
    encoded.body = Coding::Gzip.encode(&plain.body).unwrap().into();
    proxy
        .ask(&encoded)
        .await
        .is(200, "miss")
        .says("detail=items-3-of-5");
    assert_eq!(origin.last().header("content-encoding"), None);
    assert_eq!(inputs(&origin).await, 2);
}

#[tokio::test]
async fn a_rest_that_says_nothing_about_the_whole_is_asked_for_as_a_whole() {
    let long = |call: &Call| {
        let mut answer: Value = serde_json::from_slice(&embedded(call).bytes()).expect("JSON");
        answer["data"][0]["note"] = json!("x".repeat(100_000));
        Reply::json(200, answer)
    };
    let created = |call: &Call| Reply {
        status: 201,
        ..embedded(call)
    };
    for odd in [long as fn(&Call) -> Reply, created] {
        let answer = move |call: &Call| match call.number {
            2 => odd(call),
            _ => embedded(call),
        };
        let origin = origin().answer(answer).start().await;
        let proxy = proxy()
            .upstream(&origin)
            .set("limits.answer_bytes_max", "64KiB")
            .start()
            .await;
        let known = batch(&texts(0..3), json!({}));
        proxy.ask(&known).await.is(200, "miss");
        let more = batch(&texts(0..5), json!({}));
        let whole = proxy.ask(&more).await;
        whole.is(200, "miss").says("fwd=uri-miss");
        origin.was_called(3);
        assert_eq!(inputs(&origin).await, 5);
        assert_eq!(proxy.ask(&more).await.is(200, "hit").json(), whole.json());
        origin.was_called(3);
    }
}

#[tokio::test]
async fn a_text_that_is_too_old_for_the_client_is_asked_for() {
    let origin = origin().answer(embedded).start().await;
    let proxy = proxy_before(&origin).await;
    let known = batch(&texts(0..3), json!({}));
    proxy.ask(&known).await.is(200, "miss");
    let bound = std::time::Duration::from_secs(20);
    let a_second_old = || async {
        let hit = proxy.ask(&known).await;
        let age = hit.is(200, "hit").field("age").expect("an age").to_owned();
        if age == "0" { Err(age) } else { Ok(()) }
    };
    within(bound, "an age of a second", a_second_old).await;
    let part = batch(&texts(0..2), json!({}));
    let young = part.clone().cache_control("max-age=0");
    proxy.ask(&young).await.is(200, "miss").says("fwd=uri-miss");
    assert_eq!(inputs(&origin).await, 2);
    origin.was_called(2);
    // Who accepts any age takes them.
    let other = batch(&texts(1..3), json!({}));
    proxy.ask(&other).await.is(200, "hit");
}

#[tokio::test]
async fn texts_that_are_joined_before_they_are_embedded_are_one_question() {
    for more in [json!({"late_chunking": true}), json!({"x": 1})] {
        let origin = origin().answer(embedded).start().await;
        let proxy = proxy_before(&origin).await;
        let whole = batch(&texts(0..3), more.clone());
        proxy.ask(&whole).await.is(200, "miss");
        let part = batch(&texts(0..2), more.clone());
        proxy.ask(&part).await.is(200, "miss").says("fwd=uri-miss");
        let larger = batch(&texts(0..4), more);
        let larger = proxy.ask(&larger).await;
        larger.is(200, "miss").says("fwd=uri-miss");
        proxy.ask(&whole).await.is(200, "hit");
        origin.was_called(3);
        assert_eq!(inputs(&origin).await, 4);
    }
}

#[tokio::test]
async fn a_rest_that_is_not_worth_keeping_is_no_part_of_what_is_kept() {
    let nulls = |call: &Call| {
        let mut answer: Value = serde_json::from_slice(&embedded(call).bytes()).expect("JSON");
        for item in answer["data"].as_array_mut().expect("items") {
            if call.number < 4 {
                item["embedding"] = json!([null, null]);
            }
        }
        Reply::json(200, answer)
    };
    let answer = move |call: &Call| match call.number {
        1 => embedded(call),
        _ => nulls(call),
    };
    let origin = origin().answer(answer).start().await;
    let proxy = proxy_before(&origin).await;
    let known = batch(&texts(0..1), json!({}));
    proxy.ask(&known).await.is(200, "miss");
    let more = batch(&texts(0..2), json!({}));
    // Neither the rest nor the whole is any good: the client gets what the provider says.
    proxy.ask(&more).await.is(200, "miss").says("fwd=uri-miss");
    origin.was_called(3);
    let better = proxy.ask(&more).await;
    better.is(200, "miss").says("detail=items-1-of-2");
    assert_eq!(inputs(&origin).await, 1);
    let uncached = proxy.ask(&more.clone().cache_control("no-store")).await;
    assert_eq!(better.json(), uncached.json());
    proxy.ask(&more).await.is(200, "hit");
}

#[tokio::test]
async fn texts_are_known_within_their_namespace_only() {
    const NAME: &str = "x-llm-cache-namespace";
    let origin = origin().answer(embedded).start().await;
    let proxy = proxy_before(&origin).await;
    let of = |range| batch(&texts(range), json!({}));
    let first = of(0..2).header(NAME, "x");
    proxy.ask(&first).await.is(200, "miss");
    let partly = proxy.ask(&of(1..3).header(NAME, "x")).await;
    partly.is(200, "miss").says("detail=items-1-of-2");
    assert_eq!(inputs(&origin).await, 1);
    for ask in [of(1..3), of(1..3).header(NAME, "y")] {
        proxy.ask(&ask).await.is(200, "miss").says("fwd=uri-miss");
        assert_eq!(inputs(&origin).await, 2);
    }
    let known = of(0..3).header(NAME, "x");
    proxy.ask(&known).await.is(200, "hit");
    origin.was_called(4);
    let calls = origin.calls();
    assert!(calls.iter().all(|call| call.header(NAME).is_none()));
}

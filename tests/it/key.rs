//! Which requests are the same question. In doubt they are not.

use serde_json::{Value, json};

use crate::harness::*;

fn post(body: &str) -> Ask {
    Ask::post("/v1/chat/completions", body.to_owned())
}

/// Asks `first`, then each of `others`, and says with which outcome.
async fn outcomes(first: &str, others: &[&str]) -> Vec<(String, String)> {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&post(first)).await.is(200, "miss");
    let mut seen = Vec::new();
    for body in others {
        let answer = proxy.ask(&post(body)).await;
        answer.is_clean(200);
        seen.push(((*body).to_owned(), answer.outcome().to_owned()));
    }
    seen
}

const FIRST: &str = r#"{"model":"m","temperature":0.5,"messages":[{"role":"user","content":"é/a"}],"seed":9007199254740993}"#;

#[tokio::test]
async fn what_means_the_same_in_json_is_the_same_question() {
    let same = [
        r#"{"messages":[{"content":"é/a","role":"user"}],"seed":9007199254740993,"temperature":0.5,"model":"m"}"#,
        "{ \"model\" : \"m\",\r\n\t\"temperature\":0.5, \"messages\":[ {\"role\":\"user\",\"content\":\"é/a\"} ],\"seed\":9007199254740993 }\n",
        r#"{"model":"\u006d","temperature":0.5,"messages":[{"role":"user","content":"\u00e9\/a"}],"seed":9007199254740993}"#,
    ];
    for (body, outcome) in outcomes(FIRST, &same).await {
        assert_eq!(outcome, "hit", "{body}");
    }
}

#[tokio::test]
async fn what_may_mean_something_else_is_another_question() {
    let different = [
        FIRST.replace("0.5", "0.50"),
        FIRST.replace("0.5", "5e-1"),
        FIRST.replace("9007199254740993", "9007199254740992"),
        FIRST.replace("9007199254740993", "9007199254740994"),
        FIRST.replace("é/a", "e\u{301}/a"),
        FIRST.replace("é/a", "é/A"),
        FIRST.replace("é/a", "é/a "),
        FIRST.replace("\"seed\"", "\"Seed\""),
        FIRST.replace("\"m\"", "\"M\""),
        FIRST.replace("}]", "},{\"role\":\"user\",\"content\":\"more\"}]"),
        FIRST.replace("\"temperature\"", "\"unknown_field\":null,\"temperature\""),
        FIRST.replace("\"temperature\"", "\"stream\":false,\"temperature\""),
        FIRST.replace("\"seed\":9007199254740993", "\"seed\":\"9007199254740993\""),
    ];
    let different: Vec<&str> = different.iter().map(String::as_str).collect();
    for (body, outcome) in outcomes(FIRST, &different).await {
        // An absent `stream` may or may not be told from `false`; nothing else may hit.
        if !body.contains("\"stream\":false") {
            assert_eq!(outcome, "miss", "{body}");
        }
    }
}

#[tokio::test]
async fn fields_that_do_not_change_the_answer_are_left_out() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("ignored fields")).await.is(200, "miss");
    for (field, value) in [
        ("user", json!("u-1")),
        ("user", json!("u-2")),
        ("safety_identifier", json!("s")),
        ("metadata", json!({"team": "a"})),
        ("prompt_cache_key", json!("k")),
        ("prompt_cache_retention", json!("24h")),
    ] {
        let mut body = chat_body("ignored fields");
        body[field] = value;
        proxy.ask(&post(&body.to_string())).await.is(200, "hit");
    }
    origin.was_called(1);
    // Left out of the key, not out of the request.
    let mut body = chat_body("forwarded");
    body["user"] = json!("u-3");
    proxy.ask(&post(&body.to_string())).await.is(200, "miss");
    assert_eq!(origin.last().json()["user"], "u-3");
}

#[tokio::test]
async fn an_ignored_name_counts_below_the_top_level() {
    let with = |user: &str| {
        let tool =
            json!({"type": "function", "function": {"name": "f", "parameters": {"user": user}}});
        let mut body = chat_body("nested");
        body["tools"] = json!([tool]);
        body.to_string()
    };
    let (first, second) = (with("a"), with("b"));
    let seen = outcomes(&first, &[&first, &second]).await;
    assert_eq!((seen[0].1.as_str(), seen[1].1.as_str()), ("hit", "miss"));
}

#[tokio::test]
async fn a_body_with_two_meanings_passes_through_unchanged() {
    let origin = origin().answer(llm::echo).start().await;
    let proxy = proxy_before(&origin).await;
    for body in [
        r#"{"model":"m","model":"n","messages":[]}"#,
        r#"{"model":"m","messages":[{"role":"user","role":"system","content":"x"}]}"#,
        r#"{"model":"m","a":1,"\u0061":2}"#,
        r#"{"model":"m","messages":[{"content":"\ud800"}]}"#,
        r#"{"model":"m","messages":[]} {}"#,
        r#"{"model":"m","n":01}"#,
        r#"{"model":"m","n":NaN}"#,
        r#"{"model":"m",}"#,
        r#"["model"]"#,
        "\u{feff}{\"model\":\"m\"}",
    ] {
        for _ in 0..2 {
            let before = origin.count();
            proxy
                .ask(&post(body))
                .await
                .is(200, "bypass")
                .says("fwd=bypass");
            assert_eq!(origin.count(), before + 1, "{body}");
            assert_eq!(origin.last().body, body.as_bytes(), "changed on its way");
        }
    }
}

#[tokio::test]
async fn what_leaves_state_behind_or_reads_it_is_not_cached() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let response = |more: Value| {
        let mut body = json!({"model": "m", "input": "state", "store": false});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        Ask::post("/v1/responses", body.to_string())
    };
    for ask in [
        response(json!({"previous_response_id": "resp_1"})),
        response(json!({"conversation": "conv_1"})),
        response(json!({"background": true})),
        response(json!({"tools": [{"type": "web_search"}]})),
    ] {
        for _ in 0..2 {
            proxy.ask(&ask).await.is(200, "bypass").says("fwd=bypass");
        }
    }
    origin.was_called(8);
}

#[tokio::test]
async fn headers_that_change_answers_are_in_the_key() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = messages("versions", false);
    for ask in [
        ask.clone(),
        ask.clone().header("anthropic-version", "2024-01-01"),
        ask.clone().header("anthropic-beta", "a-1"),
        ask.clone().header("anthropic-beta", "a-2"),
    ] {
        proxy.ask(&ask).await.is(200, "miss");
        proxy.ask(&ask).await.is(200, "hit");
    }
    let chat = chat("versions");
    proxy.ask(&chat).await.is(200, "miss");
    proxy
        .ask(&chat.header("openai-beta", "x=v1"))
        .await
        .is(200, "miss");
    origin.was_called(6);
}

#[tokio::test]
async fn upstreams_at_different_urls_have_their_own_entries() {
    let (first, second) = (origin().start().await, origin().start().await);
    let proxy = proxy()
        .config(|c| {
            c.upstream("one", &first, json!({}))
                .upstream("two", &second, json!({}));
        })
        .start()
        .await;
    for name in ["one", "two"] {
        let ask = chat("whose").to(&format!("/{name}/v1/chat/completions"));
        proxy.ask(&ask).await.is(200, "miss");
        proxy.ask(&ask).await.is(200, "hit");
    }
    first.was_called(1);
    second.was_called(1);
}

//! What is in the cache: counted, listed, shown.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn entries_are_counted_by_api_model_tenant_and_age() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let empty = looked(&proxy, "/cache/stats").await;
    assert_eq!(
        (&empty["entries"], &empty["truncated"]),
        (&json!(0), &json!(false))
    );
    for ask in [
        chat_with("gpt-4o", "one"),
        chat_with("gpt-4o", "two"),
        chat_with("gpt-4o-mini", "one"),
        chat_with("gpt-4o", "one").bearer("sk-other"),
        messages("one", true).header("x-llm-cache-namespace", "evals"),
    ] {
        proxy.ask(&ask).await.is(200, "miss");
    }
    written(&proxy, 5).await;
    let stats = looked(&proxy, "/cache/stats").await;
    assert_eq!(stats["entries"], 5, "{stats}");
    assert_eq!(entries_of(&stats, "by_api", "chat"), Some(4), "{stats}");
    assert_eq!(entries_of(&stats, "by_api", "messages"), Some(1));
    assert_eq!(entries_of(&stats, "by_model", "gpt-4o"), Some(3));
    assert_eq!(entries_of(&stats, "by_model", "claude-sonnet-4-5"), Some(1));
    assert_eq!(entries_of(&stats, "by_namespace", ""), Some(4));
    assert_eq!(entries_of(&stats, "by_namespace", "evals"), Some(1));
    assert_eq!(entries_of(&stats, "by_age", "1h"), Some(5));
    assert_eq!(entries_of(&stats, "by_age", "older"), Some(0));
    let tenants = stats["by_tenant"].as_array().unwrap();
    assert_eq!(tenants.len(), 3, "{stats}");
    let digits = tenants
        .iter()
        .map(|tenant| tenant["name"].as_str().unwrap());
    assert!(digits.into_iter().all(|digits| digits.len() == 16));
    assert!(stats["bytes"].as_u64().unwrap() > 500);
    let server = &stats["server"];
    assert_eq!(
        (&server["disk"]["entries"], &server["writable"]),
        (&json!(5), &json!(true))
    );
    assert_eq!(server["disk"]["bytes_max"], 1 << 30);
}

#[tokio::test]
async fn entries_are_listed_by_what_is_asked_for() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut keys = BTreeSet::new();
    for n in 0..5 {
        let answer = proxy.ask(&chat_with("gpt-4o", &format!("list {n}"))).await;
        keys.insert(key_of(&answer));
    }
    let evals = chat_with("o3", "list").header("x-llm-cache-namespace", "evals");
    proxy.ask(&evals).await.is(200, "miss");
    written(&proxy, 6).await;
    let listing = looked(&proxy, "/cache/entries?model=gpt-4o&api=chat").await;
    let entries = listing["entries"].as_array().unwrap();
    let listed: BTreeSet<_> = entries
        .iter()
        .map(|entry| entry["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((listed, &listing["truncated"]), (keys, &json!(false)));
    let entry = &entries[0];
    assert_eq!(
        (&entry["model"], &entry["fresh"]),
        (&json!("gpt-4o"), &json!(true))
    );
    let tenant = entry["tenant"].as_str().unwrap();
    for (query, count, truncated) in [
        ("", 6, false),
        ("?limit=2", 2, true),
        ("?limit=6", 6, false),
        ("?model=nothing", 0, false),
        ("?older_than=1h", 0, false),
        (&format!("?tenant={}", &tenant[..8]), 6, false),
        ("?tenant=0000", 0, false),
        ("?namespace=", 5, false),
        ("?namespace=evals", 1, false),
        ("?namespace=eval", 0, false),
    ] {
        let listing = looked(&proxy, &format!("/cache/entries{query}")).await;
        let entries = listing["entries"].as_array().unwrap();
        assert_eq!(
            (entries.len(), &listing["truncated"]),
            (count, &json!(truncated)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_entry_is_shown_with_its_body_as_it_came() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let answer = proxy.ask(&chat("show me")).await;
    let stream = proxy.ask(&chat_stream("show me, streamed")).await;
    let path = |answer: &Answer| format!("/cache/entries/{}", key_of(answer));
    let shown = operate(&proxy, get(&path(&answer))).await;
    shown.is_clean(200);
    // Byte for byte, inside the rest.
    assert!(shown.text().contains(&answer.text()), "{}", shown.dump());
    let shown = shown.json();
    assert_eq!(shown["key"], key_of(&answer));
    assert_eq!(
        (&shown["api"], &shown["model"]),
        (&json!("chat"), &json!(MODEL))
    );
    assert_eq!(
        (&shown["status"], &shown["stream"]),
        (&json!(200), &json!(false))
    );
    assert_eq!(shown["usage"]["input"], llm::USAGE.0);
    assert_eq!(
        (&shown["body_as"], &shown["body"]),
        (&json!("json"), &answer.json())
    );
    assert_eq!(shown["body_bytes"], answer.body.len());
    let headers = shown["headers"].as_array().unwrap();
    assert!(
        headers.contains(&json!(["content-type", "application/json"])),
        "{shown}"
    );
    let streamed = looked(&proxy, &path(&stream)).await;
    assert_eq!(
        (&streamed["body_as"], &streamed["stream"]),
        (&json!("text"), &json!(true))
    );
    assert_eq!(streamed["body"], stream.text());
    let short = looked(&proxy, &(path(&stream) + "?body=false")).await;
    assert!(short.get("body").is_none(), "{short}");
    // Neither the question nor the credential is anywhere in it.
    let text = format!("{shown}{streamed}");
    assert!(
        !text.contains("show me") && !text.contains("sk-test"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_not_understood_is_a_clear_error() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let unknown = "0".repeat(64);
    let purge = |body: Value| post("/cache/purge", &body);
    let copy = |body: Value| post("/cache/checkpoint", &body);
    for (ask, status, word) in [
        (get("/cache/entries?modle=x"), 400, "modle"),
        (get("/cache/entries?limit=0"), 400, "limit"),
        (get("/cache/entries?older_than=soon"), 400, "length of time"),
        (get("/cache/stats?model=x"), 400, "parameters"),
        (get("/cache/entries/abc"), 400, "64"),
        (get(&format!("/cache/entries/{unknown}")), 404, "no entry"),
        (
            get(&format!("/cache/entries/{unknown}?boby=false")),
            400,
            "body",
        ),
        (get("/cache"), 404, "/cache/purge"),
        (get("/cache/nothing"), 404, "/cache/purge"),
        (get("/cache/purge"), 405, "POST"),
        (post("/cache/stats", &json!({})), 405, "GET"),
        (Ask::bodiless("DELETE", "/cache/entries"), 405, "GET"),
        (purge(json!({})), 400, "nothing"),
        (purge(json!({"all": false})), 400, "true"),
        (
            purge(json!({"all": true, "key": unknown})),
            400,
            "more than one",
        ),
        (purge(json!({"modle": "x"})), 400, "modle"),
        (purge(json!({"model": ""})), 400, "empty"),
        (purge(json!({"model": "x".repeat(100_000)})), 413, "larger"),
        (purge(json!({"older_than": "7"})), 400, "length of time"),
        (Ask::post("/cache/purge", "all"), 400, "one of"),
        (copy(json!({})), 400, "directory"),
        (copy(json!({"directory": "relative"})), 400, "absolute"),
        (copy(json!({"directory": "/"})), 400, "can be made"),
        (
            copy(json!({"directory": "/not/there/copy"})),
            400,
            "/not/there",
        ),
        (
            copy(json!({"directory": proxy.path("data")})),
            400,
            "there already",
        ),
        (
            copy(json!({"directory": proxy.path("data/copy")})),
            400,
            "inside store.path",
        ),
    ] {
        let answer = operate(&proxy, ask.clone()).await;
        let what = format!("{} {}: {}", ask.method, ask.path, answer.dump());
        assert_eq!(answer.head.status, status, "{what}");
        answer.is_error(status);
        assert!(answer.text().contains(word), "{what}");
    }
    origin.was_called(0);
}

#[tokio::test]
async fn looking_is_no_use_of_an_entry_and_no_question() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let answer = proxy.ask(&chat("only looked at")).await;
    written(&proxy, 1).await;
    looked(&proxy, &format!("/cache/entries/{}", key_of(&answer))).await;
    looked(&proxy, "/cache/stats").await;
    let metrics = proxy.metrics().await;
    let hits = |tier: &str| metrics.value(&format!("llm_cache_tier_hits_total{{tier=\"{tier}\"}}"));
    assert_eq!(hits("memory") + hits("disk"), 0.0);
    // Operators' paths mean nothing on the clients' listener.
    let elsewhere = proxy.ask(&get("/cache/stats")).await;
    elsewhere.is(200, "");
    assert_eq!(origin.last().target, "/v1/stats");
}

//! A request finds its upstream by path, by model or by default; what is no API of the cache
//! passes through untouched.

use serde_json::json;

use crate::harness::*;

/// Two upstreams, told apart by which mock was called.
async fn two() -> (Origin, Origin, Proxy) {
    let first = origin().start().await;
    let second = origin().start().await;
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &first, json!({"models": ["gpt-*"]}));
            c.upstream(
                "other",
                &second,
                json!({"models": ["claude-*", "mistral-?"]}),
            );
        })
        .start()
        .await;
    (first, second, proxy)
}

fn chat_with(model: &str) -> Ask {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "where to"}]});
    Ask::post("/v1/chat/completions", body.to_string())
}

#[tokio::test]
async fn a_model_finds_its_upstream_and_a_path_overrules_it() {
    let (first, second, proxy) = two().await;
    for (path, model, to_second) in [
        ("/v1/chat/completions", "gpt-4o", false),
        ("/v1/chat/completions", "claude-x", true),
        ("/v1/chat/completions", "mistral-7", true),
        ("/v1/chat/completions", "mistral-70", false),
        ("/v1/chat/completions", "unheard-of", false),
        ("/chat/completions", "claude-y", true),
        ("/other/v1/chat/completions", "gpt-5", true),
        ("/other/chat/completions", "gpt-6", true),
        ("/openai/v1/chat/completions", "claude-z", false),
    ] {
        let (a, b) = (first.count(), second.count());
        proxy.ask(&chat_with(model).to(path)).await.is(200, "miss");
        let calls = (first.count() - a, second.count() - b);
        let expected = if to_second { (0, 1) } else { (1, 0) };
        assert_eq!(calls, expected, "{path} {model}: calls of (first, second)");
        let called = if to_second { &second } else { &first };
        assert_eq!(called.last().target, "/v1/chat/completions", "{path}");
    }
}

#[tokio::test]
async fn every_spelling_of_a_path_asks_the_same_question() {
    let (first, second, proxy) = two().await;
    let ask = chat_with("gpt-4o");
    proxy.ask(&ask).await.is(200, "miss");
    for path in [
        "/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/chat/completions",
        "/cache/v1/chat/completions",
        "/cache/chat/completions",
        "/openai/cache/v1/chat/completions",
        "/openai/cache/chat/completions",
        "/cache/openai/v1/chat/completions",
        "/simulate/v1/chat/completions",
        "/simulate/chat/completions",
        "/simulate/openai/cache/v1/chat/completions",
        "/simulate/openai/chat/completions",
        "/simulate/cache/v1/chat/completions",
    ] {
        proxy.ask(&ask.clone().to(path)).await.is(200, "hit");
    }
    proxy
        .ask(&ask.clone().to("/other/v1/chat/completions"))
        .await
        .is(200, "miss");
    first.was_called(1);
    second.was_called(1);
}

#[tokio::test]
async fn with_cache_default_off_only_cache_paths_are_cached() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.default", "off")
        .start()
        .await;
    let ask = chat("off");
    for path in [
        "/v1/chat/completions",
        "/openai/chat/completions",
        "/simulate/chat/completions",
    ] {
        for _ in 0..2 {
            proxy
                .ask(&ask.clone().to(path))
                .await
                .is(200, "bypass")
                .says("fwd=bypass");
        }
    }
    origin.was_called(6);
    proxy
        .ask(&ask.clone().to("/cache/v1/chat/completions"))
        .await
        .is(200, "miss");
    proxy
        .ask(&ask.clone().to("/openai/cache/chat/completions"))
        .await
        .is(200, "hit");
    proxy.ask(&ask).await.is(200, "bypass");
    origin.was_called(8);
}

#[tokio::test]
async fn what_is_no_api_of_the_cache_passes_through_untouched() {
    let (first, second, proxy) = two().await;
    let boundary = "multipart/form-data; boundary=xyz";
    let multipart = Ask::post("/v1/files", vec![0_u8, 13, 10, 255, 45, 45]);
    for (ask, target) in [
        (Ask::get("/v1/models"), "/v1/models"),
        (Ask::get("/models"), "/v1/models"),
        (Ask::get("/openai/v1/models"), "/v1/models"),
        (
            Ask::get("/v1/models/gpt-4o?a=b&a=%20c"),
            "/v1/models/gpt-4o?a=b&a=%20c",
        ),
        (Ask::get("/v1/a%2Fb/%e2%82%ac//x"), "/v1/a%2Fb/%e2%82%ac//x"),
        (Ask::bodiless("DELETE", "/v1/files/f-1"), "/v1/files/f-1"),
        (Ask::bodiless("OPTIONS", "/v1/models"), "/v1/models"),
        (multipart.header("content-type", boundary), "/v1/files"),
        (
            Ask::post("/v1/fine_tuning/jobs", r#"{"input":  "spaces stay"}"#),
            "/v1/fine_tuning/jobs",
        ),
        (
            Ask::post("/v1/batches", "{\"a\":1,\"a\":2}").pieces(&[3]),
            "/v1/batches",
        ),
    ] {
        for repeat in 1..=2 {
            let before = first.count();
            let answer = proxy.ask(&ask).await;
            answer.is(200, "");
            assert_eq!(
                first.count(),
                before + 1,
                "{} {} ({repeat})",
                ask.method,
                ask.path
            );
            let call = first.last();
            assert_eq!(
                (call.method.as_str(), call.target.as_str()),
                (&*ask.method, target)
            );
            assert_eq!(call.body, ask.body, "{}", ask.path);
            assert_eq!(call.header("content-type").is_some(), ask.method == "POST");
            assert_eq!(answer.field("cache-status"), None, "{}", answer.dump());
        }
    }
    proxy.ask(&Ask::get("/other/v1/models")).await.is(200, "");
    second.was_called(1);
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut h1 = proxy.h1().await;
    let head = h1.start(&Ask::bodiless("HEAD", "/v1/models")).await;
    h1.bodiless();
    assert_eq!(head.status, 200);
    assert_eq!(h1.finish().await.body.len(), 0);
    assert_eq!(origin.last().method, "HEAD");
    h1.ask(&Ask::get("/v1/models")).await.is(200, "");
}

#[tokio::test]
async fn requests_to_an_api_that_cannot_be_keyed_bypass_the_cache_unchanged() {
    let origin = origin().answer(llm::echo).start().await;
    let proxy = proxy_before(&origin).await;
    let json = chat("encoded");
    // A gzip header is enough: nobody is to look inside.
    let gzip = Ask::post("/v1/chat/completions", vec![0x1f, 0x8b, 8, 0, 1, 2, 3])
        .header("content-encoding", "gzip");
    let form = Ask::post("/v1/chat/completions", "a=b")
        .header("content-type", "application/x-www-form-urlencoded");
    for ask in [
        gzip.clone(),
        gzip.pieces(&[2]),
        form,
        json.clone()
            .without("content-type")
            .header("content-type", "text/plain"),
        json.header("content-encoding", "identity, br"),
        Ask::get("/v1/chat/completions"),
        Ask::post("/v1/chat/completions", "[1,2]"),
        Ask::post("/v1/chat/completions", "{\"model\":\"a\"} trailing"),
        Ask::post("/v1/chat/completions", b"{\"model\":\"\xff\"}".to_vec()),
    ] {
        for _ in 0..2 {
            let before = origin.count();
            let answer = proxy.ask(&ask).await;
            answer.is(200, "bypass").says("fwd=bypass");
            let detail = answer
                .cache_status()
                .into_iter()
                .find(|p| p.starts_with("detail="));
            assert!(detail.is_some(), "no reason in {}", answer.dump());
            assert_eq!(answer.field("x-llm-cache-key"), None);
            assert_eq!(origin.count(), before + 1);
            let call = origin.last();
            assert_eq!(call.body, ask.body);
            let encoding = ask.headers.iter().find(|(n, _)| n == "content-encoding");
            assert_eq!(
                call.header("content-encoding"),
                encoding.map(|(_, v)| v.as_str())
            );
        }
    }
}

#[tokio::test]
async fn the_query_is_part_of_the_question_and_goes_upstream() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("query");
    for query in ["?api-version=1", "?api-version=2", ""] {
        let ask = ask.clone().to(&format!("/v1/chat/completions{query}"));
        proxy.ask(&ask).await.is(200, "miss");
        assert_eq!(origin.last().target, format!("/v1/chat/completions{query}"));
        proxy.ask(&ask).await.is(200, "hit");
    }
}

#[tokio::test]
async fn end_to_end_headers_go_upstream_and_hop_by_hop_ones_do_not() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("headers")
        .header("x-custom", "kept")
        .header("user-agent", "story/1")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "mine")
        .header("keep-alive", "timeout=5")
        .header("te", "trailers");
    proxy.ask(&ask).await.is(200, "miss");
    let call = origin.last();
    assert_eq!(call.header("x-custom"), Some("kept"));
    assert_eq!(call.header("user-agent"), Some("story/1"));
    assert_eq!(call.header("authorization"), Some("Bearer sk-test"));
    assert_eq!(call.header("host"), Some(origin.addr.to_string().as_str()));
    for name in ["x-hop", "keep-alive", "te"] {
        assert_eq!(
            call.header(name),
            None,
            "{name} is about the client's connection"
        );
    }
}

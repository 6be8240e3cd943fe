//! The operators' listener: probes, and numbers that add up.

use serde_json::json;

use crate::harness::*;

#[tokio::test]
async fn probes_answer_on_their_own_listener() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for path in ["/livez", "/readyz"] {
        proxy.admin_get(path).await.is_clean(200);
    }
    proxy.admin_get("/v1/models").await.is_clean(404);
    let ask = chat("not here");
    let answer = H1::connect(proxy.admin).await.ask(&ask).await;
    assert!(answer.head.status >= 400, "{}", answer.dump());
    proxy.ask(&Ask::get("/health")).await.is_clean(200);
    origin.was_called(0);
    // The operators' paths mean nothing on the clients' listener.
    proxy.ask(&Ask::get("/metrics")).await.is(200, "");
    assert_eq!(origin.last().target, "/v1/metrics");
}

#[tokio::test]
async fn metrics_are_in_the_text_format_with_units_and_no_surprises() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("metrics")).await.is(200, "miss");
    proxy.ask(&chat("metrics")).await.is(200, "hit");
    // A request is counted when it is over, a moment after its answer.
    proxy.falls_to("llm_cache_requests_in_flight", 0.0).await;
    let answer = proxy.admin_get("/metrics").await;
    let kind = answer.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain"), "{}", answer.dump());
    let metrics = proxy.metrics().await;
    for name in [
        "llm_cache_requests_total",
        "llm_cache_request_duration_seconds_bucket",
        "llm_cache_request_duration_seconds_count",
        "llm_cache_time_to_first_byte_seconds_bucket",
        "llm_cache_upstream_requests_total",
        "llm_cache_tokens_spent_total",
        "llm_cache_tokens_saved_total",
        "llm_cache_requests_in_flight",
        "llm_cache_fills_in_flight",
        "llm_cache_followers",
        "llm_cache_store_entries",
        "llm_cache_store_bytes",
        "llm_cache_store_writes_total",
        "llm_cache_store_corrupt_records_total",
        "llm_cache_build_info",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(
            metrics.names().contains(name),
            "{name} is not in\n{}",
            metrics.text
        );
    }
    for name in metrics.names() {
        assert!(
            name.starts_with("llm_cache_") || name.starts_with("process_"),
            "{name}"
        );
    }
    let helps = metrics
        .text
        .lines()
        .filter(|line| line.starts_with("# HELP"))
        .count();
    let types = metrics
        .text
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .count();
    assert!(
        helps == types && helps > 10,
        "{helps} HELP and {types} TYPE lines"
    );
}

#[tokio::test]
async fn requests_are_counted_by_api_upstream_and_outcome() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.json().to_string().contains("held") {
        true => llm::any(call).held(&held),
        false => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("count")).await.is(200, "miss");
    proxy.ask(&chat("count")).await.is(200, "hit");
    proxy
        .ask(&chat_stream("count, streamed"))
        .await
        .is(200, "miss");
    proxy
        .ask(&chat("count").cache_control("no-cache"))
        .await
        .is(200, "refresh");
    proxy
        .ask(&chat("count").cache_control("no-store"))
        .await
        .is(200, "bypass");
    proxy.ask(&embeddings(&["count"])).await.is(200, "miss");
    proxy.ask(&messages("count", true)).await.is(200, "miss");
    let asks = [chat("held"), chat("held"), chat("held")];
    let opened = async {
        proxy.following(3).await;
        gate.open();
    };
    tokio::join!(ask_all(&proxy, &asks), opened);
    proxy.falls_to("llm_cache_requests_in_flight", 0.0).await;
    let metrics = proxy.metrics().await;
    let count = |api: &str, outcome: &str| {
        let labels = format!("api=\"{api}\",upstream=\"openai\",outcome=\"{outcome}\"");
        metrics.value(&format!("llm_cache_requests_total{{{labels}}}"))
    };
    for (api, outcome, expected) in [
        ("chat", "miss", 3.0),
        ("chat", "hit", 1.0),
        ("chat", "coalesced", 2.0),
        ("chat", "refresh", 1.0),
        ("chat", "bypass", 1.0),
        ("embeddings", "miss", 1.0),
        ("messages", "miss", 1.0),
    ] {
        assert_eq!(
            count(api, outcome),
            expected,
            "{api} {outcome}\n{}",
            metrics.text
        );
    }
    let asked = metrics.value("llm_cache_upstream_requests_total{upstream=\"openai\"}");
    assert_eq!(asked, origin.count() as f64);
    assert_eq!(metrics.value("llm_cache_fills_in_flight"), 0.0);
    assert_eq!(metrics.value("llm_cache_followers"), 0.0);
    let timed = metrics.value("llm_cache_request_duration_seconds_count{api=\"chat\"}");
    assert_eq!(timed, 8.0);
}

#[tokio::test]
async fn tokens_spent_and_saved_are_kept_apart() {
    let (input, output) = llm::USAGE;
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for ask in [chat("tokens"), chat_stream("tokens, streamed")] {
        proxy.ask(&ask).await.is(200, "miss");
        for _ in 0..3 {
            proxy.ask(&ask).await.is(200, "hit");
        }
    }
    proxy.falls_to("llm_cache_requests_in_flight", 0.0).await;
    let metrics = proxy.metrics().await;
    for (name, kind, expected) in [
        ("spent", "input", 2 * input),
        ("spent", "output", 2 * output),
        ("saved", "input", 6 * input),
        ("saved", "output", 6 * output),
    ] {
        let selector = format!("llm_cache_tokens_{name}_total{{kind=\"{kind}\"}}");
        assert_eq!(metrics.value(&selector), expected as f64, "{selector}");
    }
}

#[tokio::test]
async fn upstream_errors_are_counted_by_kind() {
    let origin = origin()
        .answer(|call| match call.number {
            1 => Reply::error(429, "call-1"),
            2 => Reply::error(503, "call-2"),
            _ => llm::chat_stream(call, 3).broken_after(2),
        })
        .start()
        .await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.error_linger", "0s")
        .start()
        .await;
    for _ in 0..3 {
        proxy.ask(&chat_stream("errors")).await;
    }
    proxy.falls_to("llm_cache_fills_in_flight", 0.0).await;
    let metrics = proxy.metrics().await;
    for kind in ["rate_limited", "status_5xx", "broken"] {
        let selector = format!("llm_cache_upstream_errors_total{{kind=\"{kind}\"}}");
        assert_eq!(
            metrics.value(&selector),
            1.0,
            "{selector}\n{}",
            metrics.text
        );
    }
}

#[tokio::test]
async fn no_client_can_add_a_label() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for n in 0..20 {
        let model = serde_json::json!({"model": format!("invented-{n}"), "messages": []});
        proxy
            .ask(&Ask::post("/v1/chat/completions", model.to_string()))
            .await
            .is_clean(200);
        proxy
            .ask(&Ask::get(&format!("/v1/invented-{n}")))
            .await
            .is(200, "");
    }
    let metrics = proxy.metrics().await;
    assert!(!metrics.text.contains("invented"), "{}", metrics.text);
    let apis = metrics.label_values("llm_cache_requests_total", "api");
    assert!(apis.is_subset(&["chat", "other"].into()), "{apis:?}");
    let series = metrics
        .text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    assert!(series < 560, "{series} series");
}

#[tokio::test]
async fn money_is_counted_where_prices_are_given() {
    let (input, output) = llm::USAGE;
    let origin = origin().start().await;
    let prices = json!({"prices": [
        {"models": ["gpt-4o-mini*"], "input": 1000, "output": 1000},
        {"models": ["gpt-4o*"], "input": 2.5, "output": 10},
        {"models": ["*"], "input": 1000, "output": 1000},
    ]});
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &origin, prices)
                .upstream("free", &origin, json!({}));
        })
        .start()
        .await;
    for path in ["/v1/chat/completions", "/free/v1/chat/completions"] {
        let ask = chat("money").to(path);
        proxy.ask(&ask).await.is(200, "miss");
        proxy.ask(&ask).await.is(200, "hit");
        proxy.ask(&ask).await.is(200, "hit");
    }
    proxy.falls_to("llm_cache_requests_in_flight", 0.0).await;
    let metrics = proxy.metrics().await;
    let answer = (input as f64 * 2.5 + output as f64 * 10.0) / 1e6;
    for (name, upstream, expected) in [
        ("spent", "openai", answer),
        ("saved", "openai", 2.0 * answer),
        ("spent", "free", 0.0),
        ("saved", "free", 0.0),
    ] {
        let series = format!("llm_cache_cost_{name}_dollars_total{{upstream=\"{upstream}\"}}");
        let counted = metrics.value(&series);
        assert!(
            (counted - expected).abs() < 1e-9,
            "{series} is {counted}, not {expected}"
        );
    }
}

#[tokio::test]
async fn series_that_alerts_watch_are_there_before_anything_happens() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let text = proxy.metrics().await.text;
    for series in [
        "llm_cache_upstream_requests_total{upstream=\"openai\"} 0",
        "llm_cache_upstream_errors_total{kind=\"connect\",upstream=\"openai\"} 0",
        "llm_cache_upstream_errors_total{kind=\"status_5xx\",upstream=\"openai\"} 0",
        "llm_cache_store_writes_dropped_total{reason=\"disk_full\"} 0",
        "llm_cache_store_writes_dropped_total{reason=\"queue_full\"} 0",
        "llm_cache_tier_hits_total{tier=\"disk\"} 0",
        "llm_cache_store_bytes_max{tier=\"disk\"} 1073741824",
        "llm_cache_tokens_saved_total{kind=\"input\",upstream=\"openai\"} 0",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_store_says_how_its_disk_does() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let asks: Vec<Ask> = (0..20).map(|n| chat(&format!("written {n}"))).collect();
    for ask in &asks {
        proxy.ask(ask).await.is(200, "miss");
    }
    proxy.reaches("llm_cache_store_writes_total", 20.0).await;
    proxy
        .falls_to("llm_cache_store_write_queue_entries", 0.0)
        .await;
    let metrics = proxy.metrics().await;
    for (series, expected) in [
        ("llm_cache_store_write_queue_bytes", 0.0),
        ("llm_cache_store_entries{tier=\"disk\"}", 20.0),
        ("llm_cache_store_writable", 1.0),
        ("llm_cache_store_write_stalled", 0.0),
        ("llm_cache_store_background_errors", 0.0),
        ("llm_cache_store_set_aside_total", 0.0),
        ("llm_cache_store_read_errors_total", 0.0),
        ("llm_cache_store_read_seconds_count", 0.0),
    ] {
        assert_eq!(metrics.value(series), expected, "{series}");
    }
    let batches = metrics.value("llm_cache_store_write_seconds_count");
    assert!((1.0..=20.0).contains(&batches), "{batches}");
    assert!(metrics.value("llm_cache_store_database_memory_bytes") > 0.0);
    let reasons = metrics.label_values("llm_cache_store_removed_total", "reason");
    let all = ["damaged", "evicted", "expired", "purged", "replaced"];
    assert_eq!(reasons, all.into());
    assert_eq!(metrics.value("llm_cache_store_removed_total"), 0.0);
    // What was in memory is not any more: now the disk is read.
    proxy.restart().await;
    proxy.ask(&asks[7]).await.is(200, "hit");
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.value("llm_cache_tier_hits_total{tier=\"disk\"}"),
        1.0
    );
    assert!(metrics.value("llm_cache_store_read_seconds_count") >= 1.0);
}

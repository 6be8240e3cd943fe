//! Traces: a client's `traceparent` goes on to the provider, and a collector gets the spans.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;
use serde_json::json;

use crate::harness::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn traceparent(sampled: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{sampled}")
}

/// A collector is a provider that answers everything with an empty message.
async fn collector() -> Origin {
    let answer = |_: &Call| Reply::new(200, "application/x-protobuf", "");
    origin().answer(answer).start().await
}

async fn traced(origin: &Origin, collector: &str, ratio: f64) -> Proxy {
    let builder = proxy().upstream(origin).set(
        "tracing",
        json!({"endpoint": collector, "sample_ratio": ratio, "service_name": "cache-eu"}),
    );
    builder.start().await
}

fn spans(collector: &Origin) -> Vec<Span> {
    let mut spans = Vec::new();
    for call in collector.calls() {
        assert_eq!(
            (call.method.as_str(), call.target.as_str()),
            ("POST", "/v1/traces")
        );
        assert_eq!(call.header("content-type"), Some("application/x-protobuf"));
        let batch = ExportTraceServiceRequest::decode(call.body.clone()).unwrap();
        for resource in batch.resource_spans {
            let service = resource.resource.unwrap().attributes;
            assert_eq!(text(&service, "service.name").as_deref(), Some("cache-eu"));
            spans.extend(resource.scope_spans.into_iter().flat_map(|s| s.spans));
        }
    }
    spans
}

/// Waits until the collector has so many spans.
async fn delivered(collector: &Origin, count: usize) -> Vec<Span> {
    let bound = std::time::Duration::from_secs(20);
    within(bound, format!("{count} spans"), || async {
        let now = spans(collector).len();
        if now >= count {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })
    .await;
    let spans = spans(collector);
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|s| s.kind == kind as i32).collect()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|kv| kv.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

fn of(span: &Span, name: &str) -> String {
    text(&span.attributes, name).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test]
async fn without_a_collector_the_clients_traceparent_goes_on_as_it_came() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let state = "vendor=opaque";
    for ask in [chat("traced"), Ask::get("/v1/models")] {
        let ask = ask
            .header("traceparent", &traceparent("01"))
            .header("tracestate", state);
        proxy.ask(&ask).await;
        let call = origin.last();
        assert_eq!(call.header("traceparent"), Some(traceparent("01").as_str()));
        assert_eq!(call.header("tracestate"), Some(state));
    }
    // Another trace asks the same question.
    proxy.ask(&chat("traced")).await.is(200, "hit");
    proxy.ask(&chat("untraced")).await.is(200, "miss");
    assert_eq!(origin.last().header("traceparent"), None);
    let bound = std::time::Duration::from_secs(20);
    let line = format!("trace={TRACE}");
    within(bound, "the access line names the trace", || {
        let log = proxy.process.output();
        std::future::ready(if log.contains(&line) {
            Ok(())
        } else {
            Err(log)
        })
    })
    .await;
}

#[tokio::test]
async fn a_miss_is_two_spans_of_the_clients_trace_and_a_hit_is_one() {
    let origin = origin().start().await;
    let collector = collector().await;
    let proxy = traced(&origin, &format!("http://{}", collector.addr), 0.0).await;
    // The client says that it is traced, whatever the ratio.
    let ask = chat("unmistakable").header("traceparent", &traceparent("01"));
    proxy.ask(&ask).await.is(200, "miss");
    let sent = origin.last().header("traceparent").unwrap().to_owned();
    let both = delivered(&collector, 2).await;
    let (server, client) = (
        of_kind(&both, SpanKind::Server)[0],
        of_kind(&both, SpanKind::Client)[0],
    );
    assert_eq!(hex(&server.trace_id), TRACE);
    assert_eq!(hex(&server.parent_span_id), PARENT);
    assert_eq!(client.trace_id, server.trace_id);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!(sent, format!("00-{TRACE}-{}-01", hex(&client.span_id)));
    assert_eq!(server.name, "POST chat");
    assert_eq!(of(server, "llm_cache.outcome"), "miss");
    assert_eq!(of(server, "url.path"), "/v1/chat/completions");
    assert_eq!(of(server, "http.response.status_code"), "200");
    assert_eq!(of(server, "llm_cache.key").len(), 16);
    assert_eq!(client.name, format!("chat {MODEL}"));
    assert_eq!(of(client, "gen_ai.operation.name"), "chat");
    assert_eq!(of(client, "gen_ai.provider.name"), "openai");
    assert_eq!(of(client, "gen_ai.request.model"), MODEL);
    assert_eq!(
        of(client, "gen_ai.usage.input_tokens"),
        llm::USAGE.0.to_string()
    );
    assert_eq!(
        of(client, "gen_ai.usage.output_tokens"),
        llm::USAGE.1.to_string()
    );
    for span in &both {
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
        assert_eq!(
            span.status.as_ref().map_or(0, |s| s.code),
            StatusCode::Unset as i32
        );
    }

    for call in collector.calls() {
        for secret in ["unmistakable", "sk-test", "Paris, said"] {
            assert!(
                memchr::memmem::find(&call.body, secret.as_bytes()).is_none(),
                "{secret}"
            );
        }
    }

    proxy.ask(&ask).await.is(200, "hit");
    let all = delivered(&collector, 3).await;
    let hit = &all[2];
    assert_eq!(
        (hit.kind, of(hit, "llm_cache.outcome").as_str()),
        (SpanKind::Server as i32, "hit")
    );
    // Tokens are in the traces as often as they were paid for.
    assert_eq!(text(&hit.attributes, "gen_ai.usage.input_tokens"), None);
}

#[tokio::test]
async fn those_who_joined_a_fill_link_to_its_call() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let collector = collector().await;
    let proxy = traced(&origin, &format!("http://{}/", collector.addr), 1.0).await;
    let asks = vec![chat("joined"); 3];
    let opened = async {
        proxy.following(3).await;
        gate.open();
    };
    tokio::join!(ask_all(&proxy, &asks), opened);
    origin.was_called(1);
    let spans = delivered(&collector, 4).await;
    let call = of_kind(&spans, SpanKind::Client)[0];
    let mut linked = 0;
    for server in of_kind(&spans, SpanKind::Server) {
        match of(server, "llm_cache.outcome").as_str() {
            "miss" => assert_eq!(call.parent_span_id, server.span_id),
            "coalesced" => {
                linked += 1;
                assert_eq!(server.links.len(), 1);
                assert_eq!(server.links[0].span_id, call.span_id);
                assert_ne!(server.trace_id, call.trace_id);
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(linked, 2);
}

#[tokio::test]
async fn a_failed_call_is_a_failed_span() {
    let script = |call: &Call| match call.json().to_string().contains("refused") {
        true => Reply::error(500, "no"),
        false => Reply::frames(["data: {\"id\": \"x\"}\n\n"]).broken_after(1),
    };
    let origin = origin().answer(script).start().await;
    let collector = collector().await;
    let proxy = traced(&origin, &format!("http://{}", collector.addr), 1.0).await;
    proxy.ask(&chat("refused")).await;
    proxy.ask(&chat_stream("broken off")).await;
    let spans = delivered(&collector, 4).await;
    for span in &spans {
        let code = span.status.as_ref().map(|s| s.code);
        assert_eq!(code, Some(StatusCode::Error as i32), "{span:#?}");
    }
}

#[tokio::test]
async fn what_is_not_sampled_is_passed_on_as_not_sampled() {
    let origin = origin().start().await;
    let collector = collector().await;
    let mut proxy = traced(&origin, &format!("http://{}", collector.addr), 0.0).await;
    proxy.ask(&chat("unsampled")).await.is(200, "miss");
    let sent = origin.last().header("traceparent").unwrap().to_owned();
    assert!(sent.starts_with("00-") && sent.ends_with("-00"), "{sent}");
    let ask = Ask::get("/v1/models").header("traceparent", &traceparent("00"));
    proxy.ask(&ask).await;
    let sent = origin.last().header("traceparent").unwrap().to_owned();
    assert!(
        sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"),
        "{sent}"
    );
    assert!(!sent.contains(PARENT), "{sent}");
    proxy.sigterm();
    assert!(proxy.exits_within(ms(20_000)).await.success());
    collector.was_called(0);
}

#[tokio::test]
async fn sigterm_delivers_the_last_spans() {
    let origin = origin().start().await;
    let collector = collector().await;
    let mut proxy = traced(&origin, &format!("http://{}", collector.addr), 1.0).await;
    proxy.ask(&chat("last words")).await.is(200, "miss");
    proxy.sigterm();
    assert!(proxy.exits_within(ms(20_000)).await.success());
    assert_eq!(spans(&collector).len(), 2);
}

#[tokio::test]
async fn a_collector_that_is_gone_costs_spans_and_nothing_else() {
    let origin = origin().start().await;
    let port = Port::free();
    let mut proxy = traced(&origin, &format!("http://{}", port.addr()), 1.0).await;
    proxy.ask(&chat("no collector")).await.is(200, "miss");
    proxy.ask(&chat("no collector")).await.is(200, "hit");
    // Two of the miss, one of the hit; counted once, however often they were sent.
    proxy.reaches("llm_cache_trace_spans_lost_total", 3.0).await;
    proxy.ask(&chat("still none")).await.is(200, "miss");
    proxy.reaches("llm_cache_trace_spans_lost_total", 5.0).await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.value("llm_cache_trace_spans_lost_total"), 5.0);
    let log = proxy.process.output();
    assert_eq!(log.matches("spans are lost").count(), 1, "{log}");
    proxy.sigterm();
    assert!(proxy.exits_within(ms(20_000)).await.success());
}

#[tokio::test]
async fn what_a_client_chooses_is_cut_in_spans() {
    let origin = origin().start().await;
    let collector = collector().await;
    let proxy = traced(&origin, &format!("http://{}", collector.addr), 1.0).await;
    let long = "m".repeat(200_000);
    let body = json!({"model": long, "messages": [{"role": "user", "content": "cut"}]});
    let ask = Ask::post("/v1/chat/completions", body.to_string());
    proxy.ask(&ask).await.is(200, "miss");
    let odd = Ask::bodiless("FOOBAR", &format!("/v1/{}", "p".repeat(4000)));
    proxy.ask(&odd).await;
    let spans = delivered(&collector, 4).await;
    let names: Vec<&str> = spans.iter().map(|s| s.name.as_str()).collect();
    assert!(names.contains(&"HTTP other"), "{names:?}");
    assert!(names.iter().all(|n| n.len() < 200), "{names:?}");
    let bytes: usize = collector.calls().iter().map(|c| c.body.len()).sum();
    assert!(bytes < 8192, "{bytes} bytes");
}

#[tokio::test]
async fn a_client_that_leaves_is_no_failure_of_the_server_and_a_timeout_has_a_name() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let collector = collector().await;
    let proxy = proxy()
        .config(|c| {
            c.upstream(
                "openai",
                &origin,
                json!({"timeouts": {"first_byte": "300ms"}}),
            );
            let endpoint = format!("http://{}", collector.addr);
            let tracing =
                json!({"endpoint": endpoint, "sample_ratio": 1, "service_name": "cache-eu"});
            c.set("tracing", tracing).set("cache.error_linger", "0s");
        })
        .start()
        .await;
    proxy.ask(&chat("too slow")).await.is_clean(504);
    let mut client = proxy.h1().await;
    let ask = chat("impatient");
    client.write(head_of(&ask).as_bytes()).await.unwrap();
    client.write(&body_of(&ask)).await.unwrap();
    proxy.following(1).await;
    drop(client);
    let spans = delivered(&collector, 4).await;
    for client in of_kind(&spans, SpanKind::Client) {
        assert_eq!(of(client, "error.type"), "upstream_timeout");
    }
    let server = of_kind(&spans, SpanKind::Server);
    let left = server
        .iter()
        .find(|s| of(s, "http.response.status_code").is_empty());
    let left = left.expect("a request without a status");
    let code = left.status.as_ref().map_or(0, |s| s.code);
    assert_eq!(code, StatusCode::Unset as i32);
    let failed = server
        .iter()
        .find(|s| of(s, "http.response.status_code") == "504");
    assert_eq!(of(failed.unwrap(), "error.type"), "error");
    gate.open();
}

#[tokio::test]
async fn a_collector_that_refuses_once_gets_the_batch_again() {
    let origin = origin().start().await;
    let refuse = |call: &Call| match call.number {
        1 => Reply::error(503, "later"),
        _ => Reply::new(200, "application/x-protobuf", ""),
    };
    let collector = crate::harness::origin().answer(refuse).start().await;
    let proxy = traced(&origin, &format!("http://{}", collector.addr), 1.0).await;
    proxy.ask(&chat("again")).await.is(200, "miss");
    // The same two, twice.
    delivered(&collector, 4).await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.value("llm_cache_trace_spans_lost_total"), 0.0);
    assert!(!proxy.process.output().contains("spans are lost"));
}

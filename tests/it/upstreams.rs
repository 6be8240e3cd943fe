//! Upstreams that are down, silent or rude: the client gets an error it can read, and a question
//! that has reached an upstream is never sent again.

use serde_json::json;

use crate::harness::*;

fn impatient() -> serde_json::Value {
    json!({"timeouts": {"connect": "500ms", "first_byte": "400ms", "idle": "400ms"}})
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502() {
    let mut origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("up")).await.is(200, "miss");
    origin.stop().await;
    proxy.ask(&chat("down")).await.is_error(502);
    proxy
        .h2()
        .await
        .ask(&chat_stream("down"))
        .await
        .is_error(502);
    proxy.ask(&Ask::get("/v1/models")).await.is_error(502);
    // What is stored needs no upstream.
    proxy.ask(&chat("up")).await.is(200, "hit");
    let metrics = proxy.metrics().await;
    assert!(metrics.value("llm_cache_upstream_errors_total{upstream=\"openai\"}") >= 3.0);
}

#[tokio::test]
async fn an_upstream_that_does_not_begin_is_a_504() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &origin, impatient());
        })
        .start()
        .await;
    proxy.ask(&chat("silent")).await.is_error(504);
    proxy.ask(&Ask::get("/v1/models")).await.is_error(504);
    origin.was_called(2);
    gate.open();
    let answered = async || {
        let answer = proxy.ask(&chat("silent")).await;
        if answer.head.status == 200 {
            Ok(())
        } else {
            Err(answer.dump())
        }
    };
    within(ms(5_000), "the upstream answers again", answered).await;
}

#[tokio::test]
async fn an_upstream_that_falls_silent_in_mid_stream_breaks_the_answer() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &origin, impatient());
        })
        .start()
        .await;
    proxy.ask(&chat_stream("falls silent")).await.is_broken();
    gate.open();
    proxy
        .ask(&chat_stream("falls silent"))
        .await
        .is(200, "miss");
}

#[tokio::test]
async fn a_slow_stream_is_not_a_silent_one() {
    let origin = origin().chat_stream(6, ms(150)).start().await;
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &origin, impatient());
        })
        .start()
        .await;
    // Longer than each of the limits in total, shorter in every gap.
    proxy.ask(&chat_stream("slow")).await.is(200, "miss");
}

#[tokio::test]
async fn a_question_that_was_read_and_not_answered_is_not_sent_again() {
    let origin = raw_origin(|_| vec![Act::Close]).await;
    let proxy = proxy().upstream_at(&origin.url()).start().await;
    proxy.ask(&chat("eaten")).await.is_error(502);
    assert_eq!(origin.calls().len(), 1);
    proxy
        .ask(&chat_of_size("eaten", 100_000))
        .await
        .is_error(502);
    assert_eq!(origin.calls().len(), 2);
    let bypass = chat("eaten").cache_control("no-store");
    proxy.ask(&bypass).await.is_error(502);
    assert_eq!(origin.calls().len(), 3);
    proxy
        .ask(&Ask::post("/v1/moderations", "{}"))
        .await
        .is_error(502);
    assert_eq!(origin.calls().len(), 4);
}

#[tokio::test]
async fn nor_is_one_on_a_connection_that_had_worked_before() {
    let good = |n: usize| {
        let body = json!({
            "id": format!("chatcmpl-call-{n}"), "object": "chat.completion", "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "yes"}}],
        });
        let body = body.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        vec![Act::Write(
            format!("{head}: {}\r\n\r\n{body}", body.len()).into_bytes(),
        )]
    };
    let origin = raw_origin(move |n| if n == 2 { vec![Act::Close] } else { good(n) }).await;
    let proxy = proxy().upstream_at(&origin.url()).start().await;
    proxy.ask(&chat("first")).await.is(200, "miss");
    proxy.ask(&chat("second")).await.is_error(502);
    assert_eq!(origin.calls().len(), 2, "sent twice");
    proxy.ask(&chat("third")).await.is(200, "miss");
    assert_eq!(origin.calls().len(), 3);
}

#[tokio::test]
async fn nor_is_one_whose_answer_broke_in_its_head() {
    let script = |_| {
        vec![
            Act::Write(b"HTTP/1.1 200 OK\r\ncontent-ty".to_vec()),
            Act::Close,
        ]
    };
    let origin = raw_origin(script).await;
    let proxy = proxy().upstream_at(&origin.url()).start().await;
    proxy.ask(&chat("half a head")).await.is_error(502);
    assert_eq!(origin.calls().len(), 1);
    let nonsense = raw_origin(|_| vec![Act::Write(b"hello\r\n\r\n".to_vec()), Act::Close]).await;
    let proxy = crate::harness::proxy()
        .upstream_at(&nonsense.url())
        .start()
        .await;
    proxy.ask(&chat("nonsense")).await.is_error(502);
    assert_eq!(nonsense.calls().len(), 1);
}

#[tokio::test]
async fn a_failed_connect_is_tried_again() {
    // Nobody listens on the first address of the name, the mock on the second.
    let origin = origin().start().await;
    let url = format!("http://localhost:{}/v1", origin.addr.port());
    let proxy = proxy().upstream_at(&url).start().await;
    for n in 0..3 {
        proxy
            .ask(&chat(&format!("by name {n}")))
            .await
            .is(200, "miss");
    }
    origin.was_called(3);
}

#[tokio::test]
async fn connections_to_an_upstream_are_used_again() {
    const REQUESTS: usize = 100;
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut h1 = proxy.h1().await;
    for n in 0..REQUESTS {
        h1.ask(&chat(&format!("again {n}"))).await.is(200, "miss");
    }
    origin.was_called(REQUESTS);
    // A connection on its way back to the pool may miss the next request, but not most of them.
    let connections = origin.connections();
    assert!(
        connections < REQUESTS * 3 / 4,
        "{connections} connections for {REQUESTS} requests"
    );
}

#[tokio::test]
async fn an_answer_without_sense_is_a_502() {
    // Nobody asked whether something has changed.
    let origin = origin()
        .answer(|_: &Call| Reply::new(304, "application/json", ""))
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let answer = proxy.ask(&chat("not modified")).await;
    answer.is_error(502);
    assert_eq!(answer.outcome(), "miss");
    origin.was_called(1);
}

//! After an answer that comes before the request's end, the next request on the same connection
//! is answered correctly, or the connection was closed with notice. Nothing is smuggled.

use crate::harness::*;

/// The next request on this connection. `may_close`: the server may have closed it, if it said so.
async fn next_is_answered(h1: &mut H1, may_close: bool) {
    if h1.closing && may_close {
        assert!(h1.ended().await, "announced, then not closed");
        return;
    }
    assert!(!h1.closing, "closed although nothing was left unread");
    let ask = chat("the next on the connection");
    let answer = h1.ask(&ask).await;
    answer.is_clean(200);
    assert!(
        ["miss", "hit"].contains(&answer.outcome()),
        "{}",
        answer.dump()
    );
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop");
}

/// Every way a request is sent over HTTP/1.1.
fn ways(ask: &Ask) -> Vec<Ask> {
    let chunked = ask.clone().pieces(&[1000, 1, 20_000]);
    vec![
        ask.clone(),
        ask.clone().expecting(),
        chunked.clone(),
        chunked.expecting(),
    ]
}

#[tokio::test]
async fn after_a_hit() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for size in [200, 65_536, 65_537, 500_000] {
        let ask = chat_of_size("early hit", size);
        proxy.ask(&ask).await.is(200, "miss");
        for ask in ways(&ask) {
            let mut h1 = proxy.h1().await;
            h1.ask(&ask).await.is(200, "hit");
            next_is_answered(&mut h1, false).await;
            h1.ask(&ask).await.is(200, "hit");
            next_is_answered(&mut h1, false).await;
        }
    }
    origin.was_called(5);
}

#[tokio::test]
async fn after_a_413() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_bytes_max", "64KiB")
        .start()
        .await;
    for size in [64 * 1024 + 1, 100_000, 4_000_000] {
        for ask in ways(&chat_of_size("too long", size)) {
            let mut h1 = proxy.h1().await;
            h1.ask(&ask).await.is_error(413);
            next_is_answered(&mut h1, true).await;
        }
    }
    let calls = origin.count();
    assert!(
        calls <= 1,
        "{calls} calls: something of a refused request was asked"
    );
}

#[tokio::test]
async fn after_a_413_on_http_2() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_bytes_max", "64KiB")
        .start()
        .await;
    let h2 = proxy.h2().await;
    for size in [64 * 1024 + 1, 4_000_000] {
        let ask = chat_of_size("too long", size);
        h2.ask(&ask).await.is_error(413);
        h2.ask(&ask.pieces(&[10_000])).await.is_error(413);
        h2.ask(&chat("the next stream")).await.is_clean(200);
    }
    origin.was_called(1);
}

#[tokio::test]
async fn after_an_upstreams_400() {
    let origin = origin()
        .answer(|call| match call.json()["bad"].is_null() {
            true => llm::any(call),
            false => Reply::error(400, &format!("call-{} is bad", call.number)),
        })
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let bad = Ask::post(
        "/v1/chat/completions",
        r#"{"model":"gpt-4o","messages":[],"bad":1}"#,
    );
    for ask in ways(&bad) {
        let mut h1 = proxy.h1().await;
        h1.ask(&ask).await.is_error(400);
        next_is_answered(&mut h1, false).await;
    }
    // A body that is no JSON is the upstream's to refuse.
    for ask in ways(&Ask::post("/v1/chat/completions", "not JSON at all")) {
        let mut h1 = proxy.h1().await;
        h1.ask(&ask).await.is(400, "bypass");
        next_is_answered(&mut h1, false).await;
    }
}

#[tokio::test]
async fn after_a_504_for_what_is_not_cached() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for size in [200, 65_537] {
        let ask = chat_of_size("not there", size).cache_control("only-if-cached");
        for ask in ways(&ask) {
            let mut h1 = proxy.h1().await;
            h1.ask(&ask).await.is_error(504);
            next_is_answered(&mut h1, false).await;
        }
    }
    origin.was_called(1);
}

#[tokio::test]
async fn after_a_504_for_an_upstream_that_is_silent() {
    let silence = Gate::closed();
    let held = silence.clone();
    let script = move |call: &Call| match call.json().to_string().contains("silent") {
        true => llm::any(call).held(&held),
        false => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy()
        .config(|c| {
            let timeouts =
                serde_json::json!({"connect": "2s", "first_byte": "400ms", "idle": "5s"});
            c.upstream("openai", &origin, serde_json::json!({"timeouts": timeouts}));
        })
        .start()
        .await;
    let mut h1 = proxy.h1().await;
    h1.ask(&chat("silent")).await.is_error(504);
    next_is_answered(&mut h1, false).await;
    silence.open();
}

#[tokio::test]
async fn after_health_and_unknown_paths() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut h1 = proxy.h1().await;
    h1.ask(&Ask::get("/health")).await.is_clean(200);
    next_is_answered(&mut h1, false).await;
    h1.ask(&Ask::get("/v1/models")).await.is(200, "");
    next_is_answered(&mut h1, false).await;
}

#[tokio::test]
async fn a_request_inside_a_body_stays_a_body() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_bytes_max", "8KiB")
        .start()
        .await;
    let hidden = chat("smuggled");
    let hidden = head_of(&hidden) + &String::from_utf8_lossy(&hidden.body);
    let mut stored = chat(&hidden);
    proxy.ask(&stored).await.is(200, "miss");
    let mut long = chat_of_size("long", 20_000);
    // The request line stands right behind the byte at which the cap is passed.
    let mut bytes = long.body.to_vec();
    bytes.splice(8192..8192 + hidden.len(), hidden.bytes());
    long.body = bytes.into();
    for ask in ways(&long) {
        let mut h1 = proxy.h1().await;
        h1.ask(&ask).await.is_error(413);
        next_is_answered(&mut h1, true).await;
    }
    for ask in ways(&stored) {
        let mut h1 = proxy.h1().await;
        h1.ask(&ask).await.is(200, "hit");
        next_is_answered(&mut h1, false).await;
    }
    stored = stored.cache_control("no-store");
    proxy.ask(&stored).await.is(200, "bypass");
    let smuggled = origin
        .calls()
        .into_iter()
        .filter(|c| c.body == chat("smuggled").body);
    assert_eq!(smuggled.count(), 0, "a body was read as a request");
}

#[tokio::test]
async fn a_request_with_two_readings_is_refused() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let body = String::from_utf8_lossy(&chat("ambiguous").body).into_owned();
    let start =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let hidden = "POST /v1/smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    let length = body.len();
    let ambiguous = [
        format!("{start}content-length: {length}\r\ncontent-length: 5\r\n\r\n{body}{hidden}"),
        format!("{start}content-length: 5, {length}\r\n\r\n{body}{hidden}"),
        format!("{start}content-length: +{length}\r\n\r\n{body}{hidden}"),
        format!("{start}transfer-encoding: chunked\r\n\r\nZZ\r\n{body}\r\n0\r\n\r\n{hidden}"),
        format!("{start}transfer-encoding: chunked\r\n\r\n-1\r\n{body}\r\n0\r\n\r\n{hidden}"),
        format!("{start}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
    ];
    for request in ambiguous {
        let mut h1 = proxy.h1().await;
        h1.write(request.as_bytes()).await.unwrap();
        match h1.read_answer().await {
            Ok(answer) => {
                assert!(answer.head.status >= 400, "{request}{}", answer.dump());
                assert!(h1.ended().await, "read on after {request}");
            }
            // Closing at once is a refusal too.
            Err(_) => continue,
        }
    }
    proxy.ask(&chat("afterwards")).await.is_clean(200);
    origin.was_called(1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_or_not_at_all() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let first = chat_of_size("pipelined first", 66_000);
    let second = completion("pipelined second");
    proxy.ask(&first).await.is(200, "miss");
    proxy.ask(&second).await.is(200, "miss");
    for first in [first.clone(), first.pieces(&[5000])] {
        let mut h1 = proxy.h1().await;
        let mut bytes = head_of(&first).into_bytes();
        bytes.extend(body_of(&first));
        bytes.extend(head_of(&second).into_bytes());
        bytes.extend(body_of(&second));
        h1.write(&bytes).await.unwrap();
        let answer = h1.read_answer().await.unwrap();
        answer.is(200, "hit");
        assert_eq!(answer.json()["object"], "chat.completion");
        if h1.closing {
            assert!(
                h1.ended().await,
                "bytes behind an answer that was to be the last"
            );
            continue;
        }
        let answer = h1.read_answer().await.unwrap();
        answer.is(200, "hit");
        assert_eq!(answer.json()["object"], "text_completion");
    }
    origin.was_called(2);
}

#[tokio::test]
async fn after_a_400_of_the_servers_own() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut h1 = proxy.h1().await;
    for _ in 0..2 {
        h1.write(b"OPTIONS * HTTP/1.1\r\nhost: proxy\r\n\r\n")
            .await
            .unwrap();
        h1.read_answer().await.unwrap().is_error(400);
        next_is_answered(&mut h1, false).await;
    }
    origin.was_called(1);
}

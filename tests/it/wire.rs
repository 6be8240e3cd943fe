//! What clients and upstreams may do on the wire and HTTP libraries seldom show: ends in frames of
//! their own, HTTP/1.0, hop-by-hop headers, broken framing.

use crate::harness::*;

/// Longer than any request below takes, shorter than every timeout of the server.
const AT_ONCE_MS: u64 = 2_000;

/// Questions to an HTTP/2 upstream whose answers say their length and end in a frame of their own,
/// this long after the last byte.
async fn before_an_end_apart(gap: std::time::Duration) -> (Origin, Proxy, [Ask; 3]) {
    let script = move |call: &Call| llm::any(call).ending_apart(gap);
    let origin = origin().tls(&["h2"]).answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let asks = [
        chat("apart"),
        chat_stream("apart, streamed"),
        messages("apart", true),
    ];
    (origin, proxy, asks)
}

#[tokio::test]
async fn an_end_in_a_frame_of_its_own_is_a_clean_end_over_http_2() {
    for gap in [ms(0), ms(30)] {
        let (origin, proxy, asks) = before_an_end_apart(gap).await;
        let h2 = proxy.h2().await;
        for (n, ask) in asks.iter().enumerate() {
            let miss = h2.ask(ask).await;
            miss.is(200, "miss");
            assert_eq!(miss.body, origin.exchanges()[n].sent.borrow().0);
            let hit = h2.ask(ask).await;
            hit.is(200, "hit");
            assert_eq!(hit.body, miss.body);
            origin.was_called(n + 1);
        }
        assert_eq!(origin.last().version, http::Version::HTTP_2);
    }
}

#[tokio::test]
async fn an_end_in_a_frame_of_its_own_is_a_clean_end_over_http_1() {
    for gap in [ms(0), ms(30)] {
        let (origin, proxy, asks) = before_an_end_apart(gap).await;
        for (n, ask) in asks.iter().enumerate() {
            // A client that counts bytes has the whole answer at its last byte: asked again at
            // once, over another connection, it is a hit.
            let (mut first, mut second) = (proxy.h1().await, proxy.h1().await);
            let miss = first.ask(ask).await;
            miss.is(200, "miss");
            let hit = second.ask(ask).await;
            hit.is(200, "hit");
            assert_eq!(hit.body, miss.body);
            origin.was_called(n + 1);
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_body_from_an_http_2_upstream_is_passed_on_and_not_kept() {
    let script = |call: &Call| match call.json().to_string().contains("nothing") {
        true => Reply::new(204, "application/json", ""),
        false => llm::any(call),
    };
    let origin = origin().tls(&["h2"]).answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let (mut h1, h2) = (proxy.h1().await, proxy.h2().await);
    for calls in [2, 4] {
        let answer = h1.ask(&chat("nothing")).await;
        answer.is(204, "miss");
        assert_eq!(answer.field("transfer-encoding"), None, "{}", answer.dump());
        let answer = h2.ask(&chat("nothing")).await;
        answer.is(204, "miss");
        assert!(answer.body.is_empty(), "{}", answer.dump());
        origin.was_called(calls);
    }
    h1.ask(&chat("something")).await.is(200, "miss");
    h2.ask(&chat("something")).await.is(200, "hit");
}

/// Sends a request as an HTTP/1.0 client does, and reads the answer.
async fn ask_1_0(proxy: &Proxy, ask: &Ask) -> Answer {
    let mut h1 = proxy.h1().await;
    let head = head_of(ask).replacen("HTTP/1.1", "HTTP/1.0", 1);
    h1.write(head.as_bytes()).await.unwrap();
    h1.write(&body_of(ask)).await.unwrap();
    h1.read_answer().await.unwrap()
}

#[tokio::test]
async fn an_http_1_0_client_gets_a_stream_whole_and_with_its_length() {
    let origin = origin().chat_stream(5, ms(20)).start().await;
    let proxy = proxy_before(&origin).await;
    for outcome in ["miss", "hit"] {
        let answer = ask_1_0(&proxy, &chat_stream("1.0")).await;
        answer.is(200, outcome);
        let length = answer.body.len().to_string();
        assert_eq!(
            answer.field("content-length"),
            Some(&*length),
            "{}",
            answer.dump()
        );
        assert_eq!(answer.field("transfer-encoding"), None, "{}", answer.dump());
        assert_eq!(answer.body, origin.exchanges()[0].sent.borrow().0);
    }
    origin.was_called(1);
}

#[tokio::test]
async fn an_http_1_0_client_gets_an_error_for_a_stream_that_breaks() {
    let script = |call: &Call| match call.number {
        1 => llm::chat_stream(call, 5).broken_after(3),
        _ => llm::chat_stream(call, 5),
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let broken = ask_1_0(&proxy, &chat_stream("breaks")).await;
    broken.is_error(502);
    assert!(!broken.text().contains("call-1"), "{}", broken.dump());
    ask_1_0(&proxy, &chat_stream("breaks"))
        .await
        .is(200, "miss");
    origin.was_called(2);
}

#[tokio::test]
async fn the_shortest_requests_are_answered_at_once() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for request in [
        "GET /health HTTP/1.0\r\n\r\n",
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut h1 = proxy.h1().await;
        h1.write(request.as_bytes()).await.unwrap();
        match tokio::time::timeout(ms(AT_ONCE_MS), h1.read_answer()).await {
            Ok(answer) => answer.unwrap().is_clean(200),
            Err(_) => panic!("no answer to {request:?}"),
        };
    }
    let seen = origin.calls();
    let seen: Vec<_> = seen.iter().map(|c| (&*c.method, &*c.target)).collect();
    assert_eq!(seen, [("OPTIONS", "/v1/"), ("GET", "/v1/")]);
}

#[tokio::test]
async fn a_header_that_connection_takes_away_never_gives_its_answer_to_others() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let clean = chat("beta").header("openai-beta", "v9");
    let taken = clean
        .clone()
        .header("connection", "keep-alive, openai-beta");
    let answer = proxy.ask(&taken).await;
    answer.is(200, "bypass").says("detail=connection-header");
    let miss = proxy.ask(&clean).await;
    miss.is(200, "miss");
    assert_eq!(miss.call(), 2);
    let again = proxy.ask(&taken).await;
    again.is(200, "bypass").says("detail=connection-header");
    assert_eq!(again.call(), 3);
    let hit = proxy.ask(&clean).await;
    hit.is(200, "hit");
    assert_eq!(hit.call(), 2);
    proxy.ask(&chat("beta")).await.is(200, "miss");
    origin.was_called(4);
}

/// Two identical questions that wait for this answer together; both are told `name: value`.
async fn told_to_both(status: u16, name: &'static str, value: &'static str) {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |_: &Call| {
        Reply::error(status, "not here, not now")
            .header(name, value)
            .held(&held)
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let asks = [chat("shared"), chat("shared")];
    let opened = async {
        proxy.following(2).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    for answer in &answers {
        answer.is_clean(status);
        assert_eq!(answer.field(name), Some(value), "{}", answer.dump());
    }
    let mut outcomes: Vec<_> = answers.iter().map(Answer::outcome).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["coalesced", "miss"]);
    origin.was_called(1);
}

#[tokio::test]
async fn a_shared_429_tells_everyone_when_to_retry() {
    told_to_both(429, "retry-after", "7").await;
}

#[tokio::test]
async fn a_shared_307_tells_everyone_where_to_go() {
    told_to_both(
        307,
        "location",
        "https://elsewhere.test/v1/chat/completions",
    )
    .await;
}

#[tokio::test]
async fn a_question_cannot_be_turned_into_another_protocol() {
    let upgrade = |ask: Ask| {
        ask.header("connection", "upgrade")
            .header("upgrade", "websocket")
    };
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let asks = [
        (upgrade(chat("upgrade")), "miss"),
        (upgrade(chat_stream("upgrade a stream")), "miss"),
        (upgrade(chat("upgrade")).cache_control("no-store"), "bypass"),
    ];
    for (ask, outcome) in asks {
        proxy.ask(&ask).await.is(200, outcome);
        assert_eq!(origin.last().header("upgrade"), None);
    }
    proxy.ask(&upgrade(chat("upgrade"))).await.is(200, "hit");
    origin.was_called(3);

    let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\n\r\n";
    let eager = raw_origin(move |_| vec![Act::Write(switching.into())]).await;
    let proxy = crate::harness::proxy()
        .upstream_at(&eager.url())
        .start()
        .await;
    proxy.ask(&upgrade(chat("eager"))).await.is_error(502);
    proxy.ask(&chat("eager too")).await.is_error(502);
    assert_eq!(eager.calls().len(), 2);
}

#[tokio::test]
async fn validators_of_a_client_do_not_cut_an_answer_short() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| {
        let reply = llm::any(call).header("etag", "\"v1\"");
        reply.held_after(0, &held)
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let asks = [
        chat("any tag").header("if-none-match", "*"),
        chat("this tag").header("if-none-match", "\"v1\""),
        chat_stream("any tag").header("if-none-match", "*"),
    ];
    let mut waiting = Vec::new();
    for ask in &asks {
        let mut h1 = proxy.h1().await;
        // The head is here, and the body is not.
        assert_eq!(h1.start(ask).await.status, 200);
        waiting.push(h1);
    }
    gate.open();
    for (n, mut h1) in waiting.into_iter().enumerate() {
        let miss = h1.finish().await;
        miss.is(200, "miss");
        assert_eq!(miss.body, origin.exchanges()[n].sent.borrow().0);
        let hit = h1.ask(&asks[n]).await;
        hit.is(200, "hit");
        assert_eq!(hit.body, miss.body);
        proxy.h2().await.ask(&asks[n]).await.is(200, "hit");
    }
    origin.was_called(3);
}

/// Every one of these bodies is refused, or its connection closed, and none is asked.
async fn refused(broken: &[String]) {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for path in ["/v1/chat/completions", "/v1/files"] {
        for chunks in broken {
            let head = head_of(&Ask::post(path, "").pieces(&[1]));
            let mut h1 = proxy.h1().await;
            h1.write((head + chunks).as_bytes()).await.unwrap();
            let answer = h1.read_answer().await;
            assert_eq!(origin.count(), 0, "{path} asked with {chunks:?}");
            // Closing without a word is a refusal too.
            if let Ok(answer) = answer {
                assert_eq!(answer.head.status, 400, "{path} {chunks}{}", answer.dump());
                assert!(h1.ended().await, "{path}: read on after {chunks}");
            }
        }
    }
    proxy.ask(&chat("in chunks")).await.is(200, "miss");
}

#[tokio::test]
async fn a_body_in_broken_chunks_is_refused_and_asks_nothing() {
    let body = String::from_utf8_lossy(&chat("in chunks").body).into_owned();
    let size = format!("{:x}", body.len());
    let less = format!("{:x}", body.len() - 1);
    let end = "0\r\n\r\n";
    let broken = [
        format!("zz\r\n{body}\r\n{end}"),
        format!("-{size}\r\n{body}\r\n{end}"),
        format!("+{size}\r\n{body}\r\n{end}"),
        format!("0x{size}\r\n{body}\r\n{end}"),
        format!(" {size}\r\n{body}\r\n{end}"),
        format!("{size}\n{body}\r\n{end}"),
        format!("{size} {size}\r\n{body}\r\n{end}"),
        format!("fffffffffffffffff{size}\r\n{body}\r\n{end}"),
        format!("{less}\r\n{body}\r\n{end}"),
        format!("{size}\r\n{body}{end}"),
        format!("{size}\r\n{body}\r\nzz\r\n\r\n"),
    ];
    refused(&broken).await;
}

/// A chunk has one digit of size at least (RFC 9112, 7.1); some parsers read none as 0.
#[tokio::test]
async fn a_head_for_the_health_has_no_body() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = Ask::bodiless("HEAD", "/health");
    let mut h1 = proxy.h1().await;
    for _ in 0..2 {
        assert_eq!(h1.start(&ask).await.status, 200);
        h1.bodiless();
        h1.finish().await;
    }
    h1.ask(&chat("behind a HEAD")).await.is(200, "miss");
    let h2 = proxy.h2().await;
    for _ in 0..2 {
        let answer = h2.ask(&ask).await;
        answer.is_clean(200);
        assert!(answer.body.is_empty(), "{}", answer.dump());
    }
    h2.ask(&chat("behind a HEAD")).await.is(200, "hit");
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let with_headers = |count: usize| {
        (0..count).fold(chat("headers"), |ask, n| {
            ask.header(&format!("x-n-{n}"), "1")
        })
    };
    // The mock takes fewer over HTTP/1.1.
    let origin = origin().tls(&["h2"]).start().await;
    let proxy = proxy_before(&origin).await;
    for count in [201, 240] {
        let answer = proxy.ask(&with_headers(count)).await;
        answer.is_error(431).is(431, "bypass");
        let h2 = proxy.h2().await;
        h2.ask(&with_headers(count)).await.is_error(431);
        h2.ask(&Ask::get("/health")).await.is_clean(200);
    }
    let h2 = proxy.h2().await;
    h2.ask(&with_headers(400)).await.is_error(431);
    origin.was_called(0);
    proxy.ask(&with_headers(190)).await.is(200, "miss");
    proxy
        .h2()
        .await
        .ask(&with_headers(190))
        .await
        .is(200, "hit");
}

#[tokio::test]
async fn the_keys_of_gateways_keep_clients_apart() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut calls = 0;
    for name in ["ocp-apim-subscription-key", "x-portkey-api-key"] {
        let asks = [
            chat(name),
            chat(name).header(name, "one"),
            chat(name).header(name, "two"),
        ];
        let first = calls;
        for ask in &asks {
            calls += 1;
            let answer = proxy.ask(ask).await;
            answer.is(200, "miss");
            assert_eq!(answer.call(), calls);
        }
        for (n, ask) in asks.iter().enumerate() {
            let answer = proxy.ask(ask).await;
            answer.is(200, "hit");
            assert_eq!(answer.call(), first + n + 1);
        }
    }
    origin.was_called(6);
}

#[tokio::test]
async fn a_target_that_is_no_path_is_refused() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut h1 = proxy.h1().await;
    h1.ask(&Ask::bodiless("OPTIONS", "*")).await.is_error(400);
    origin.was_called(0);
}

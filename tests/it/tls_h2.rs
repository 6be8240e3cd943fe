//! HTTP/2 and TLS, towards clients and towards upstreams.

use futures_util::future::join_all;
use http::Version;
use serde_json::json;

use crate::harness::*;

/// A server that speaks TLS with this identity, before this origin.
async fn tls_proxy(origin: &Origin, identity: &Identity) -> Proxy {
    proxy()
        .config(|c| {
            c.upstream("openai", origin, json!({}));
            c.file("cert.pem", &identity.certificate)
                .file("key.pem", &identity.key);
            c.set("server.tls", json!({"cert": "cert.pem", "key": "key.pem"}));
        })
        .start()
        .await
}

#[tokio::test]
async fn clients_choose_by_alpn() {
    let origin = origin().start().await;
    let identity = Identity::new();
    let proxy = tls_proxy(&origin, &identity).await;
    let ask = chat_of_size("over TLS", 100_000);

    let (socket, agreed) = identity.connect(proxy.addr, &["h2", "http/1.1"]).await;
    assert_eq!(agreed, "h2");
    let (h2, _task) = H2::over(socket, "https").await;
    h2.ask(&ask).await.is(200, "miss");
    h2.ask(&ask.clone().pieces(&[10_000])).await.is(200, "hit");

    let (socket, agreed) = identity.connect(proxy.addr, &["http/1.1"]).await;
    assert_eq!(agreed, "http/1.1");
    let mut h1 = H1::over(socket);
    h1.ask(&ask).await.is(200, "hit");
    h1.ask(&chat_stream("over TLS")).await.is(200, "miss");
    h1.ask(&chat_stream("over TLS")).await.is(200, "hit");

    let (socket, _) = identity.connect(proxy.addr, &[]).await;
    H1::over(socket).ask(&ask).await.is(200, "hit");
    origin.was_called(2);
}

#[tokio::test]
async fn a_broken_stream_is_broken_over_tls_too() {
    let script = |call: &Call| llm::chat_stream(call, 3).broken_after(2);
    let origin = origin().answer(script).start().await;
    let identity = Identity::new();
    let proxy = tls_proxy(&origin, &identity).await;
    let (socket, _) = identity.connect(proxy.addr, &["http/1.1"]).await;
    H1::over(socket)
        .ask(&chat_stream("broken"))
        .await
        .is_broken();
    let (socket, _) = identity.connect(proxy.addr, &["h2"]).await;
    let (h2, _task) = H2::over(socket, "https").await;
    h2.ask(&chat_stream("broken")).await.is_broken();
}

/// Sizes around the replay buffer, over this upstream; the version it was asked in.
async fn upstream_over_tls(alpn: &[&'static str]) -> Version {
    let origin = origin().tls(alpn).start().await;
    let proxy = proxy_before(&origin).await;
    for size in [200, 65_535, 65_536, 65_537, 1_000_000] {
        for ask in [
            chat_of_size("tls", size),
            chat_of_size("tls, chunked", size).pieces(&[9_999]),
        ] {
            let miss = proxy.ask(&ask).await;
            miss.is(200, "miss");
            assert!(origin.last().body == ask.body, "{size} bytes were changed");
            let hit = proxy.ask(&ask).await;
            hit.is(200, "hit");
            assert_eq!(hit.body, miss.body);
        }
    }
    let stream = proxy.ask(&chat_stream("tls")).await;
    stream.is(200, "miss");
    assert!(stream.text().ends_with(llm::DONE));
    proxy.ask(&Ask::get("/v1/models")).await.is(200, "");
    proxy
        .ask(&Ask::post("/v1/files", vec![7_u8; 200_000]))
        .await
        .is(200, "");
    assert_eq!(origin.last().body.len(), 200_000);
    origin.last().version
}

#[tokio::test]
async fn an_https_upstream_is_asked_over_http_2_if_it_offers_that() {
    assert_eq!(
        upstream_over_tls(&["h2", "http/1.1"]).await,
        Version::HTTP_2
    );
}

#[tokio::test]
async fn an_https_upstream_is_asked_over_http_1_otherwise() {
    assert_eq!(upstream_over_tls(&["http/1.1"]).await, Version::HTTP_11);
}

#[tokio::test]
async fn a_break_on_an_http_2_upstream_is_a_break() {
    let script = |call: &Call| match call.number {
        1 | 2 => llm::chat_stream(call, 3).broken_after(2),
        _ => llm::any(call),
    };
    let origin = origin().tls(&["h2"]).answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat_stream("broken")).await.is_broken();
    proxy
        .h2()
        .await
        .ask(&chat_stream("broken"))
        .await
        .is_broken();
    proxy.ask(&chat_stream("broken")).await.is(200, "miss");
    origin.was_called(3);
}

#[tokio::test]
async fn an_upstream_with_a_certificate_nobody_vouches_for_is_not_asked() {
    let origin = origin().tls(&["h2", "http/1.1"]).start().await;
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &origin, json!({}));
            c.file("roots.pem", &Identity::new().authority);
        })
        .start()
        .await;
    proxy.ask(&chat("whoever you are")).await.is_error(502);
    origin.was_called(0);
}

#[tokio::test]
async fn streams_on_one_connection_do_not_hinder_each_other() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.streams() {
        true => llm::chat_stream(call, 6).held_after(3, &held),
        false => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let h2 = proxy.h2().await;
    let mut waiting = Vec::new();
    for n in 0..20 {
        let mut stream = h2.start(&chat_stream(&format!("side by side {n}"))).await;
        stream.until("data:", 3).await;
        waiting.push(stream);
    }
    for n in 0..20 {
        h2.ask(&chat(&format!("passing {n}"))).await.is(200, "miss");
        h2.ask(&chat(&format!("passing {n}"))).await.is(200, "hit");
    }
    gate.open();
    for answer in join_all(waiting.into_iter().map(|stream| stream.finish())).await {
        answer.is(200, "miss");
        assert!(answer.text().ends_with(llm::DONE));
    }
    origin.was_called(40);
}

#[tokio::test]
async fn a_reset_stream_leaves_the_others_alone() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let h2 = proxy.h2().await;
    let ask = chat_stream("reset");
    let leader = h2.start(&ask).await;
    let mut follower = h2.start(&ask).await;
    follower.until("data:", 3).await;
    drop(leader);
    proxy.falls_to("llm_cache_followers", 1.0).await;
    gate.open();
    let answer = follower.finish().await;
    answer.is(200, "coalesced");
    assert!(answer.text().ends_with(llm::DONE));
    origin.was_called(1);
}

//! The harness against itself: clients and mock must see each other truly.

use super::*;

#[tokio::test]
async fn every_way_to_send_a_body_arrives_the_same() {
    let origin = origin().start().await;
    let h2 = H2::connect(origin.addr).await;
    let mut h1 = H1::connect(origin.addr).await;
    for size in [100, 65_536, 300_000] {
        let plain = chat_of_size("self", size);
        for ask in [plain.clone(), plain.clone().pieces(&[1, 700, 16_384])] {
            for ask in [ask.clone(), ask.expecting()] {
                h1.ask(&ask).await.is_clean(200);
                assert_eq!(origin.last().body, plain.body);
                h2.ask(&ask).await.is_clean(200);
                assert_eq!(origin.last().body, plain.body);
            }
        }
    }
    assert_eq!(h1.continues, 6, "the mock says 100 Continue when asked to");
    assert_eq!(origin.connections(), 2);
    origin.was_called(24);
}

#[tokio::test]
async fn a_broken_stream_is_seen_as_broken() {
    let origin = origin()
        .answer(|call| llm::chat_stream(call, 3).broken_after(2))
        .start()
        .await;
    let ask = chat_stream("break");
    let answer = H1::connect(origin.addr).await.ask(&ask).await;
    answer.is_broken();
    assert_eq!(
        answer.text().matches("data:").count(),
        2,
        "{}",
        answer.dump()
    );
    let answer = H2::connect(origin.addr).await.ask(&ask).await;
    answer.is_broken();
    assert_eq!(
        answer.text().matches("data:").count(),
        2,
        "{}",
        answer.dump()
    );
    assert_eq!(origin.ended(1).await, Sent::Broken);
}

#[tokio::test]
async fn a_gate_holds_a_stream_until_it_opens() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 3).held_after(2, &held);
    let origin = origin().answer(script).start().await;
    let mut h1 = H1::connect(origin.addr).await;
    h1.start(&chat_stream("hold")).await;
    h1.until("data:", 2).await;
    let exchange = origin.exchanges().remove(0);
    assert_eq!(exchange.sent.borrow().1, None);
    gate.open();
    let answer = h1.finish().await;
    answer.is_clean(200);
    assert_eq!(origin.ended(1).await, Sent::Whole);
    assert_eq!(answer.body, exchange.sent.borrow().0);
    assert_eq!(answer.call(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let gate = Gate::closed();
    let script = move |call: &Call| llm::chat_stream(call, 3).held_after(2, &gate);
    let origin = origin().answer(script).start().await;
    let mut h1 = H1::connect(origin.addr).await;
    h1.start(&chat_stream("leave")).await;
    drop(h1);
    assert_eq!(origin.ended(1).await, Sent::Abandoned);
}

#[tokio::test]
async fn raw_bytes_are_framed_by_hand() {
    let script = |number| match number {
        1 => until_close("text/event-stream", "data: 1\n\n"),
        2 => vec![
            Act::Write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".into()),
            Act::Close,
        ],
        _ => vec![Act::Close],
    };
    let origin = raw_origin(script).await;
    let ask = chat("raw").pieces(&[10]);
    H1::connect(origin.addr).await.ask(&ask).await.is_clean(200);
    H1::connect(origin.addr).await.ask(&ask).await.is_broken();
    assert!(H1::connect(origin.addr).await.try_ask(&ask).await.is_err());
    assert!(origin.calls().iter().all(|call| call.body == ask.body));
}

#[tokio::test]
async fn tls_agrees_on_http_2() {
    let origin = origin().tls(&["h2", "http/1.1"]).start().await;
    let identity = origin.identity.clone().unwrap();
    let (socket, agreed) = identity.connect(origin.addr, &["h2"]).await;
    assert_eq!(agreed, "h2");
    let (h2, _task) = H2::over(socket, "https").await;
    h2.ask(&chat("tls")).await.is_clean(200);
    let (socket, agreed) = identity.connect(origin.addr, &["http/1.1"]).await;
    assert_eq!(agreed, "http/1.1");
    H1::over(socket).ask(&chat("tls")).await.is_clean(200);
    assert_eq!(origin.calls()[0].version, http::Version::HTTP_2);
}

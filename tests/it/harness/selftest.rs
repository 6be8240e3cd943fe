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

#[tokio::test]
async fn a_cluster_serves_all_slots_and_survives_its_masters() {
    let began = std::time::Instant::now();
    let mut cluster = RedisCluster::with_replicas().await;
    println!("three masters with replicas took {:?}", began.elapsed());
    let mut stored = 0;
    for n in 0..30 {
        let key = format!("key {n}");
        for node in &cluster.masters {
            // The others say who it is that has the slot.
            let set = node.try_ask(&["SET", &key, "LLMS and more"]).await;
            stored += usize::from(set == Ok(Resp::Bytes(b"OK".into())));
        }
    }
    assert_eq!(stored, 30);
    assert_eq!(redis::answers(&cluster.masters).await.len(), 30);
    cluster.masters[0].kill();
    let promoted = async || match cluster.replicas[0].ask(&["ROLE"]).await.list() {
        role if role[0] == Resp::Bytes(b"master".into()) => Ok(()),
        role => Err(format!("{role:?}")),
    };
    within(ms(20_000), "a failover", promoted).await;
    cluster.masters[0].start_again().await;
}

#[tokio::test]
async fn a_redis_hangs_goes_on_and_comes_back() {
    let mut redis = Redis::start().await;
    redis.ask(&["RPUSH", "list", "a", "b"]).await;
    let list = redis.ask(&["LRANGE", "list", "0", "-1"]).await.list();
    assert_eq!(list, [b"a", b"b"].map(|word| Resp::Bytes(word.into())));
    assert_eq!(redis.ask(&["GET", "absent"]).await, Resp::Nil);
    assert!(matches!(
        redis.try_ask(&["GET", "list"]).await,
        Ok(Resp::Error(_))
    ));
    redis.freeze();
    assert!(redis.try_ask(&["PING"]).await.is_err());
    redis.thaw();
    redis.ask(&["PING"]).await;
    redis.kill();
    assert!(redis.try_ask(&["PING"]).await.is_err());
    redis.start_again().await;
    assert!(redis.keys().await.is_empty());
}

#[tokio::test]
async fn a_relay_delays_stalls_cuts_and_refuses() {
    let origin = origin().start().await;
    let lag = Lag::before(origin.addr.port()).await;
    let addr = lag.node().parse().unwrap();
    let mut h1 = H1::connect(addr).await;
    h1.ask(&chat("through")).await.is_clean(200);
    lag.latency(ms(100));
    let began = std::time::Instant::now();
    h1.ask(&chat("later")).await.is_clean(200);
    assert!(began.elapsed() >= ms(200), "both ways");
    lag.stall();
    let asked = tokio::time::timeout(ms(300), h1.ask(&chat("never"))).await;
    assert!(asked.is_err());
    lag.clear();
    lag.cut();
    assert!(H1::connect(addr).await.try_ask(&chat("cut")).await.is_ok());
    lag.refuse();
    let refused = async || match tokio::net::TcpStream::connect(addr).await {
        Ok(_) => Err("connected".to_owned()),
        Err(_) => Ok(()),
    };
    within(ms(5_000), "a refusal", refused).await;
    lag.clear();
    let served = async || match tokio::net::TcpStream::connect(addr).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    within(ms(5_000), "it listens again", served).await;
}

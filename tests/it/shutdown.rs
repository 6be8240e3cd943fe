//! SIGTERM: no answer is cut, nothing is lost, and the server is gone as soon as it can be.

use std::time::{Duration, Instant};

use crate::harness::*;

/// Polls `/readyz` until it says 503.
async fn turns_unready(proxy: &Proxy) {
    let unready = async || match try_get(proxy.admin, "/readyz").await {
        Ok(503) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    within(ms(1_000), "/readyz says 503", unready).await;
}

#[tokio::test]
async fn an_idle_server_exits_within_a_second() {
    let _turn = alone().await;
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.ask(&chat("before")).await.is(200, "miss");
    let asked = Instant::now();
    proxy.sigterm();
    let status = proxy.exits_within(ms(5_000)).await;
    let took = asked.elapsed();
    assert!(status.success(), "{status}");
    assert!(took <= ms(1_000), "took {took:?}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_a_server_up() {
    let _turn = alone().await;
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let mut h1 = proxy.h1().await;
    h1.ask(&chat("keep-alive")).await.is(200, "miss");
    let h2 = proxy.h2().await;
    h2.ask(&chat("keep-alive")).await.is(200, "hit");
    let never_used = proxy.h1().await;
    let asked = Instant::now();
    proxy.sigterm();
    let status = proxy.exits_within(ms(5_000)).await;
    let took = asked.elapsed();
    assert!(status.success(), "{status}");
    assert!(took <= ms(1_000), "took {took:?}");
    drop((h1, h2, never_used));
}

#[tokio::test]
async fn sigint_is_a_sigterm() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.process.signal(nix::sys::signal::Signal::SIGINT);
    assert!(proxy.exits_within(ms(5_000)).await.success());
}

#[tokio::test]
async fn sigterm_cuts_no_stream() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let mut proxy = proxy_before(&origin).await;
    // Four questions, each asked by a leader and four followers; one more leader over HTTP/2.
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = proxy.h1().await;
        client
            .start(&chat_stream(&format!("stream {}", n % 4)))
            .await;
        client.until("data:", 3).await;
        clients.push(client);
    }
    let h2 = proxy.h2().await;
    let mut over_h2 = h2.start(&chat_stream("stream over HTTP/2")).await;
    over_h2.until("data:", 3).await;
    proxy.sigterm();
    turns_unready(&proxy).await;
    assert_eq!(proxy.process.exited(), None, "ended with streams running");
    gate.open();
    let opened = Instant::now();
    for client in &mut clients {
        let answer = client.finish().await;
        answer.is_clean(200);
        assert!(answer.text().ends_with(llm::DONE), "{}", answer.dump());
    }
    let answer = over_h2.finish().await;
    answer.is_clean(200);
    assert!(answer.text().ends_with(llm::DONE));
    let status = proxy.exits_within(ms(5_000)).await;
    assert!(status.success(), "{status}");
    assert!(
        opened.elapsed() < ms(3_000),
        "idle for {:?}",
        opened.elapsed()
    );
    origin.was_called(5);
    // What was finished during the shutdown is kept.
    proxy.start_again().await;
    for n in 0..4 {
        proxy
            .ask(&chat_stream(&format!("stream {n}")))
            .await
            .is(200, "hit");
    }
    proxy
        .ask(&chat_stream("stream over HTTP/2"))
        .await
        .is(200, "hit");
}

#[tokio::test]
async fn sigterm_waits_for_an_answer_that_has_not_begun() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let mut proxy = proxy_before(&origin).await;
    let ask = chat("slow to begin");
    let terminated = async {
        origin.called(1).await;
        proxy.sigterm();
        turns_unready(&proxy).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(proxy.ask(&ask), terminated);
    answer.is(200, "miss");
    assert!(proxy.exits_within(ms(5_000)).await.success());
}

#[tokio::test]
async fn a_paid_for_answer_without_clients_is_finished_and_kept() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let mut proxy = proxy_before(&origin).await;
    let ask = chat_stream("left alone");
    let mut client = proxy.h1().await;
    client.start(&ask).await;
    client.until("data:", 3).await;
    drop(client);
    proxy.falls_to("llm_cache_followers", 0.0).await;
    proxy.sigterm();
    turns_unready(&proxy).await;
    gate.open();
    assert_eq!(origin.ended(1).await, Sent::Whole);
    assert!(proxy.exits_within(ms(5_000)).await.success());
    proxy.start_again().await;
    proxy.ask(&ask).await.is(200, "hit");
}

#[tokio::test]
async fn a_stream_longer_than_the_deadline_ends_with_it_and_as_broken() {
    let gate = Gate::closed();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &gate);
    let origin = origin().answer(script).start().await;
    let mut proxy = proxy()
        .upstream(&origin)
        .set("server.shutdown_deadline", "1s")
        .start()
        .await;
    let mut client = proxy.h1().await;
    client.start(&chat_stream("endless")).await;
    client.until("data:", 3).await;
    let asked = Instant::now();
    proxy.sigterm();
    let answer = bounded("the end of the stream", client.finish()).await;
    let cut_after = asked.elapsed();
    answer.is_broken();
    assert!(
        cut_after >= ms(900),
        "cut after {cut_after:?}, before the deadline"
    );
    proxy.exits_within(ms(10_000)).await;
    let took = asked.elapsed();
    assert!(
        took <= Duration::from_secs(4),
        "took {took:?} with a deadline of 1 s"
    );
    proxy.start_again().await;
    let only = chat_stream("endless").cache_control("only-if-cached");
    proxy.ask(&only).await.is_error(504);
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    use nix::sys::signal::Signal::{SIGINT, SIGTERM};
    for (first, second) in [(SIGTERM, SIGTERM), (SIGTERM, SIGINT), (SIGINT, SIGINT)] {
        let gate = Gate::closed();
        let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &gate);
        let origin = origin().answer(script).start().await;
        let mut proxy = proxy_before(&origin).await;
        let mut client = proxy.h1().await;
        client.start(&chat_stream("endless")).await;
        client.until("data:", 3).await;
        proxy.process.signal(first);
        turns_unready(&proxy).await;
        assert_eq!(proxy.process.exited(), None, "ended by the first signal");
        let asked = Instant::now();
        proxy.process.signal(second);
        proxy.exits_within(ms(5_000)).await;
        assert!(asked.elapsed() <= ms(2_000), "took {:?}", asked.elapsed());
        bounded("the end of the stream", client.finish())
            .await
            .is_broken();
    }
}

#[tokio::test]
async fn a_server_can_be_started_again_and_again() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.ask(&chat("again")).await.is(200, "miss");
    for _ in 0..3 {
        proxy.restart().await;
        proxy.ask(&chat("again")).await.is(200, "hit");
    }
    origin.was_called(1);
}

#[tokio::test]
async fn operators_can_look_while_answers_finish() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let mut proxy = proxy_before(&origin).await;
    let ask = chat("slow to begin");
    let looked = async {
        origin.called(1).await;
        proxy.sigterm();
        turns_unready(&proxy).await;
        for _ in 0..20 {
            proxy.admin_get("/livez").await.is_clean(200);
            proxy.admin_get("/readyz").await.is_clean(503);
            let metrics = proxy.metrics().await;
            assert_eq!(metrics.value("llm_cache_requests_in_flight"), 1.0);
            tokio::time::sleep(ms(10)).await;
        }
        gate.open();
    };
    let (answer, ()) = tokio::join!(proxy.ask(&ask), looked);
    answer.is(200, "miss");
    assert!(proxy.exits_within(ms(5_000)).await.success());
}

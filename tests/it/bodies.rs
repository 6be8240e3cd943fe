//! Request bodies of any size reach the upstream byte-identical, whatever way they are sent.

use crate::harness::*;

const CAP: usize = 2 * 1024 * 1024;
/// Around pingora's replay buffer of 64 KiB, up to the cap.
const SIZES: [usize; 6] = [100, 65_535, 65_536, 65_537, 1024 * 1024, CAP];

#[derive(Clone, Copy, PartialEq)]
enum Wire {
    H1,
    H2,
}

#[derive(Clone, Copy, PartialEq)]
enum Framed {
    Length,
    Pieces,
}

#[derive(Clone, Copy, PartialEq)]
enum Expecting {
    No,
    Continue,
}

/// One connection, kept for all requests of a story.
enum Client {
    H1(Box<H1>),
    H2(H2),
}

impl Client {
    async fn of(proxy: &Proxy, wire: Wire) -> Self {
        match wire {
            Wire::H1 => Self::H1(Box::new(proxy.h1().await)),
            Wire::H2 => Self::H2(proxy.h2().await),
        }
    }

    async fn ask(&mut self, proxy: &Proxy, ask: &Ask) -> Answer {
        match self {
            Self::H1(h1) => {
                if h1.closing {
                    // Whether it should have been is a story of early answers.
                    **h1 = proxy.h1().await;
                }
                let before = h1.continues;
                let answer = h1.ask(ask).await;
                let permitted = h1.continues - before;
                // Without a body there is nothing to permit.
                let expected = usize::from(ask.expects() && !ask.body.is_empty());
                let right =
                    permitted == expected || ask.body.is_empty() || answer.head.status == 413;
                assert!(right, "{permitted} times 100 Continue{}", answer.dump());
                answer
            }
            Self::H2(h2) => h2.ask(ask).await,
        }
    }
}

fn sent(ask: Ask, framed: Framed, expecting: Expecting) -> Ask {
    let ask = match framed {
        Framed::Length => ask,
        Framed::Pieces => ask.pieces(&[1, 1000, 16_000, 16_385]),
    };
    match expecting {
        Expecting::No => ask,
        Expecting::Continue => ask.expecting(),
    }
}

/// Every size: a byte-identical miss, then a hit. Then the bodies that are no JSON, then the cap.
async fn bodies_of_every_size(wire: Wire, framed: Framed, expecting: Expecting) {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_bytes_max", "2MiB")
        .start()
        .await;
    let mut client = Client::of(&proxy, wire).await;
    let mut calls = 0;
    for size in SIZES {
        let ask = sent(chat_of_size("body", size), framed, expecting);
        let miss = client.ask(&proxy, &ask).await;
        miss.is(200, "miss");
        calls += 1;
        origin.was_called(calls);
        let call = origin.last();
        assert!(
            call.body == ask.body,
            "{size} bytes arrived as {}",
            call.body.len()
        );
        assert_eq!(
            call.header("expect"),
            None,
            "the proxy has the body already"
        );
        let hit = client.ask(&proxy, &ask).await;
        hit.is(200, "hit");
        assert_eq!(hit.body, miss.body, "{size} bytes");
        origin.was_called(calls);
    }
    for body in ["", "{"] {
        let ask = sent(Ask::post("/v1/chat/completions", body), framed, expecting);
        for _ in 0..2 {
            client
                .ask(&proxy, &ask)
                .await
                .is(400, "bypass")
                .says("fwd=bypass");
            calls += 1;
            origin.was_called(calls);
            assert_eq!(origin.last().body, ask.body);
        }
    }
    let over = sent(chat_of_size("body", CAP + 1), framed, expecting);
    Client::of(&proxy, wire)
        .await
        .ask(&proxy, &over)
        .await
        .is_error(413);
    origin.was_called(calls);
}

#[tokio::test]
async fn every_size_over_http_1_with_a_length() {
    bodies_of_every_size(Wire::H1, Framed::Length, Expecting::No).await;
}

#[tokio::test]
async fn every_size_over_http_1_with_a_length_expecting_continue() {
    bodies_of_every_size(Wire::H1, Framed::Length, Expecting::Continue).await;
}

#[tokio::test]
async fn every_size_over_http_1_in_chunks() {
    bodies_of_every_size(Wire::H1, Framed::Pieces, Expecting::No).await;
}

#[tokio::test]
async fn every_size_over_http_1_in_chunks_expecting_continue() {
    bodies_of_every_size(Wire::H1, Framed::Pieces, Expecting::Continue).await;
}

#[tokio::test]
async fn every_size_over_http_2_with_a_length() {
    bodies_of_every_size(Wire::H2, Framed::Length, Expecting::No).await;
}

#[tokio::test]
async fn every_size_over_http_2_with_a_length_expecting_continue() {
    bodies_of_every_size(Wire::H2, Framed::Length, Expecting::Continue).await;
}

#[tokio::test]
async fn every_size_over_http_2_without_a_length() {
    bodies_of_every_size(Wire::H2, Framed::Pieces, Expecting::No).await;
}

#[tokio::test]
async fn every_size_over_http_2_without_a_length_expecting_continue() {
    bodies_of_every_size(Wire::H2, Framed::Pieces, Expecting::Continue).await;
}

#[tokio::test]
async fn the_way_a_body_is_sent_is_not_part_of_the_question() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_of_size("framing", 70_000);
    proxy.ask(&ask).await.is(200, "miss");
    let h2 = proxy.h2().await;
    for ask in [ask.clone(), ask.clone().pieces(&[333])] {
        proxy.ask(&ask).await.is(200, "hit");
        proxy.ask(&ask.clone().expecting()).await.is(200, "hit");
        h2.ask(&ask).await.is(200, "hit");
    }
    origin.was_called(1);
}

#[tokio::test]
async fn chunks_of_one_byte_across_the_64_kib_boundary() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_of_size("tiny chunks", 65_600).pieces(&[1]);
    proxy.ask(&ask).await.is(200, "miss");
    assert!(
        origin.last().body == ask.body,
        "the body was changed on the way"
    );
    proxy.ask(&ask).await.is(200, "hit");
}

#[tokio::test]
async fn a_body_that_is_not_to_be_cached_is_forwarded_whole_too() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    for size in [65_535, 65_536, 65_537, 300_000] {
        let ask = chat_of_size("no-store", size).cache_control("no-store");
        for ask in [ask.clone(), ask.clone().pieces(&[9_000]), ask.expecting()] {
            proxy.ask(&ask).await.is(200, "bypass");
            assert!(
                origin.last().body == ask.body,
                "{size} bytes were changed on the way"
            );
        }
    }
}

#[tokio::test]
async fn a_body_announced_too_long_is_refused_before_it_is_sent() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_bytes_max", "64KiB")
        .start()
        .await;
    let over = chat_of_size("announced", 64 * 1024 + 1);
    let mut h1 = proxy.h1().await;
    h1.write(head_of(&over).as_bytes()).await.unwrap();
    h1.read_answer().await.unwrap().is_error(413);
    origin.was_called(0);
}

#[tokio::test]
async fn a_client_that_stops_sending_its_body_is_told_so() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_timeout", "300ms")
        .start()
        .await;
    let ask = chat_of_size("stalled", 1000);
    let mut h1 = proxy.h1().await;
    h1.write(head_of(&ask).as_bytes()).await.unwrap();
    h1.write(&ask.body[..500]).await.unwrap();
    h1.read_answer().await.unwrap().is_error(408);
    assert!(
        h1.ended().await,
        "the rest of that body would be read as a request"
    );
    origin.was_called(0);
}

#[tokio::test]
async fn a_body_that_breaks_off_never_reaches_the_upstream() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_of_size("broken off", 1000);
    for ask in [ask.clone(), ask.pieces(&[400])] {
        let mut h1 = proxy.h1().await;
        h1.write(head_of(&ask).as_bytes()).await.unwrap();
        h1.write(&body_of(&ask)[..500]).await.unwrap();
    }
    // Asked after the two broke off, and answered after them.
    proxy.ask(&chat("afterwards")).await.is(200, "miss");
    proxy.falls_to("llm_cache_requests_in_flight", 0.0).await;
    origin.was_called(1);
}

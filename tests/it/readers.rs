//! How answers are taken: slowly, not at all, at a reader's pace.

use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::*;

const LARGE_BYTES: usize = 8 << 20;

/// A proxy that drops clients after a second without progress, and holds an answer to
/// `chat("large")` whose body is more than `LARGE_BYTES` long and given here.
async fn holding_a_large_answer() -> (Proxy, bytes::Bytes) {
    let script = |call: &Call| {
        let mut answer = llm::chat_value(call);
        answer["choices"][0]["message"]["content"] = json!("x".repeat(LARGE_BYTES));
        Reply::json(200, answer)
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.write_timeout", "1s")
        .start()
        .await;
    let miss = proxy.ask(&chat("large")).await;
    miss.is(200, "miss");
    (proxy, miss.body)
}

/// Asks for the large answer over a connection that holds little of what nobody reads.
async fn asking(proxy: &Proxy) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let mut client = socket.connect(proxy.addr).await.unwrap();
    let ask = chat("large").header("connection", "close");
    client.write_all(head_of(&ask).as_bytes()).await.unwrap();
    client.write_all(&body_of(&ask)).await.unwrap();
    client
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_a_large_hit() {
    const PIECE_BYTES: usize = 256 * 1024;
    let (proxy, body) = holding_a_large_answer().await;
    let mut client = asking(&proxy).await;
    let mut seen = Vec::new();
    let started = Instant::now();
    loop {
        let piece = (&mut client).take(PIECE_BYTES as u64);
        let read = bounded("a piece", { piece }.read_to_end(&mut seen)).await;
        match read {
            Ok(PIECE_BYTES) => tokio::time::sleep(ms(100)).await,
            Ok(_) => break,
            Err(error) => panic!("{error} after {} bytes", seen.len()),
        }
    }
    assert!(started.elapsed() > ms(2_000), "the reader was not slow");
    let head = seen.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
    assert!(text.contains("x-llm-cache: hit\r\n"), "{text}");
    assert_eq!(seen.len() - head, body.len(), "dropped early: {text}");
    assert!(seen[head..] == body, "the body was changed");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_dropped() {
    const IN_FLIGHT: &str = "llm_cache_requests_in_flight";
    let (proxy, body) = holding_a_large_answer().await;
    let mut client = asking(&proxy).await;
    proxy.reaches(IN_FLIGHT, 1.0).await;
    proxy.falls_to(IN_FLIGHT, 0.0).await;
    let mut seen = Vec::new();
    // A reset is a break as well.
    let _ = bounded("the end", client.read_to_end(&mut seen)).await;
    assert!(seen.len() < body.len(), "nobody was dropped");

    let stream = proxy.h2().await.start(&chat("large")).await;
    proxy.reaches(IN_FLIGHT, 1.0).await;
    proxy.falls_to(IN_FLIGHT, 0.0).await;
    bounded("the end over HTTP/2", stream.finish())
        .await
        .is_broken();
}

#[tokio::test]
async fn simulate_paces_a_stream_over_http_2_too() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("simulated");
    let miss = proxy.ask(&ask).await;
    let events = miss.text().matches("data:").count();
    let started = Instant::now();
    let h2 = proxy.h2().await;
    let mut simulated = h2.start(&ask.to("/simulate/v1/chat/completions")).await;
    for n in 1..=events {
        simulated.until("data:", n).await;
        assert_eq!(simulated.count("data:"), n, "several events in one piece");
    }
    let simulated = simulated.finish().await;
    simulated.is(200, "hit");
    assert_eq!(simulated.body, miss.body);
    let took = started.elapsed();
    assert!(took >= ms(400), "{events} events within {took:?}");
    origin.was_called(1);
}

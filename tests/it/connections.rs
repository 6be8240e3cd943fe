//! Connections that give nothing, or little at a time, do not stay.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::*;

/// A proxy whose clients have a second for a header.
async fn strict(origin: &Origin) -> Proxy {
    proxy()
        .upstream(origin)
        .set("limits.header_timeout", "1s")
        .set("server.keepalive", "1s")
        .start()
        .await
}

/// Everything the server still says, until it closes.
async fn until_closed(client: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is a close as well.
    let _ = bounded("the server to close", client.read_to_end(&mut said)).await;
    said
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped() {
    let origin = origin().start().await;
    let proxy = strict(&origin).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    assert_eq!(until_closed(&mut client).await, b"");
    origin.was_called(0);
}

#[tokio::test]
async fn a_client_that_trickles_its_header_is_dropped() {
    let origin = origin().start().await;
    let proxy = strict(&origin).await;
    let (mut read, mut write) = TcpStream::connect(proxy.addr).await.unwrap().into_split();
    let start = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n";
    write.write_all(start).await.unwrap();
    // A byte every 100 ms keeps every timeout alive that starts anew with each of them.
    let trickle = async {
        loop {
            if write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(ms(100)).await;
        }
    };
    let mut said = Vec::new();
    let closed = bounded("the server to close", read.read_to_end(&mut said));
    tokio::select! {
        _ = closed => {}
        () = trickle => {}
    }
    origin.was_called(0);
}

#[tokio::test]
async fn a_client_that_only_begins_like_http_2_is_dropped() {
    let origin = origin().start().await;
    let proxy = strict(&origin).await;
    for start in ["PRI ", "PRI /health HTTP/1.1\r\nhost: a\r\n"] {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        assert_eq!(until_closed(&mut client).await, b"", "{start:?}");
    }
    origin.was_called(0);
}

#[tokio::test]
async fn a_connection_that_was_used_is_dropped_when_it_is_idle() {
    let origin = origin().start().await;
    let proxy = strict(&origin).await;
    let mut h1 = proxy.h1().await;
    h1.ask(&chat("then nothing")).await.is(200, "miss");
    assert!(bounded("the server to close", h1.ended()).await);
}

#[tokio::test]
async fn a_slow_answer_is_no_slow_header() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call: &Call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = strict(&origin).await;
    let mut h1 = proxy.h1().await;
    let ask = chat("takes its time");
    let waited = async {
        proxy.following(1).await;
        // Longer than header and keep-alive limits together.
        tokio::time::sleep(ms(2_500)).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(h1.ask(&ask), waited);
    answer.is(200, "miss");
}

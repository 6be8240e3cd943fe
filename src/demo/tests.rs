use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::client::{Answer, Client, ClientError, LiveText};
use super::stand_in::BODY_BYTES_MAX;
use super::{DemoError, Pace, StandIn, anthropic, embeddings, openai, play};

mod grammar;
mod telling;

const AT_ONCE: Pace = Pace {
    first_token: Duration::ZERO,
    per_token: Duration::ZERO,
};
/// Longer than the client waits: whoever needs a second token does not get an answer.
const NEVER_A_SECOND: Pace = Pace {
    first_token: Duration::ZERO,
    per_token: Duration::from_secs(3600),
};

async fn send(to: &StandIn, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
    let mut client = Client::connect(to.addr).await.unwrap();
    client
        .send(method, path, body.into(), |_| Ok(()))
        .await
        .unwrap()
}

async fn post(to: &StandIn, path: &str, body: Value) -> Answer {
    let answer = send(to, Method::POST, path, body.to_string()).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    answer
}

fn document(answer: &Answer) -> Value {
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    serde_json::from_slice(&answer.body).unwrap()
}

fn question(text: &str) -> Value {
    json!({"model": "m", "max_tokens": 500, "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": text},
    ]})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

#[tokio::test]
async fn odd_input_is_refused_in_words_and_the_connection_goes_on() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let deep = "[".repeat(100_000);
    let chat: &[&[u8]] = &[
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{\"model\":\"\xff\",\"messages\":[]}",
        deep.as_bytes(),
        br#"{"model":"m"}"#,
        br#"{"model":"m","messages":3}"#,
        br#"{"model":"m","messages":[]}"#,
        br#"{"model":"m","messages":[7,null]}"#,
        br#"{"model":"m","messages":[{"role":"user"}]}"#,
        br#"{"model":"m","messages":[{"role":"user","content":5}]}"#,
        br#"{"model":"","messages":[{"role":"user","content":"?"}]}"#,
        br#"{"model":"m","n":2,"messages":[{"role":"user","content":"?"}]}"#,
        br#"{"model":"m","stream":"yes","messages":[{"role":"user","content":"?"}]}"#,
        br#"{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"?"}]}"#,
        br#"{"model":"m","max_tokens":1e99,"messages":[{"role":"user","content":"?"}]}"#,
    ];
    let embed: &[&[u8]] = &[
        b"null",
        br#"{"model":"e"}"#,
        br#"{"model":"e","input":[]}"#,
        br#"{"model":"e","input":[[]]}"#,
        br#"{"model":"e","input":["a",null]}"#,
        br#"{"model":"e","input":"a","dimensions":0}"#,
        br#"{"model":"e","input":"a","dimensions":1000000000}"#,
        br#"{"model":"e","input":"a","encoding_format":"hex"}"#,
    ];
    let mut client = Client::connect(stand_in.addr).await.unwrap();
    for (path, bodies) in [
        (openai::PATH, chat),
        (anthropic::PATH, chat),
        (embeddings::PATH, embed),
    ] {
        for body in bodies {
            // Anthropic has no n, but a stand-in that ignores it does no harm by refusing.
            let sent = Bytes::copy_from_slice(body);
            let answer = client
                .send(Method::POST, path, sent, |_| Ok(()))
                .await
                .unwrap();
            let shown = String::from_utf8_lossy(body);
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {shown:.80}");
            let error = document(&answer);
            assert_eq!(
                error["error"]["type"], "invalid_request_error",
                "{path} {shown:.80}"
            );
            assert!(!error["error"]["message"].as_str().unwrap().is_empty());
            assert_eq!(error["type"] == "error", path == anthropic::PATH);
        }
    }
    assert_eq!(stand_in.calls(), (2 * chat.len() + embed.len()) as u64);
}

#[tokio::test]
async fn only_posts_are_calls_and_other_paths_are_not_found() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let models = send(&stand_in, Method::GET, "/v1/models", "").await;
    assert_eq!(document(&models)["data"][0]["id"], "stand-in");
    let status = send(&stand_in, Method::GET, openai::PATH, "").await.status;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        send(&stand_in, Method::GET, "/", "").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(stand_in.calls(), 0);
    post(&stand_in, openai::PATH, question("one")).await;
    post(&stand_in, openai::PATH, question("one")).await;
    assert_eq!(stand_in.calls(), 2);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let mut body = question("?").to_string().into_bytes();
    body.resize(BODY_BYTES_MAX, b' ');
    let answer = send(&stand_in, Method::POST, openai::PATH, body.clone()).await;
    assert_eq!(answer.status, StatusCode::OK);
    body.push(b' ');
    let answer = send(&stand_in, Method::POST, openai::PATH, body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(document(&answer)["error"]["message"].is_string());
}

#[tokio::test]
async fn an_answer_takes_at_least_its_pace() {
    let pace = Pace {
        first_token: Duration::from_millis(60),
        per_token: Duration::from_millis(10),
    };
    let stand_in = StandIn::start(pace).await.unwrap();
    let ask = with(question("What is a cache?"), "max_tokens", json!(5));
    let whole = post(&stand_in, openai::PATH, ask.clone()).await;
    assert!(whole.first_byte >= pace.whole(5), "{:?}", whole.first_byte);
    let stream = post(&stand_in, openai::PATH, with(ask, "stream", json!(true))).await;
    assert!(
        stream.first_byte >= pace.first_token,
        "{:?}",
        stream.first_byte
    );
    assert!(stream.last_byte >= pace.whole(5), "{:?}", stream.last_byte);
}

#[tokio::test]
async fn the_first_token_does_not_wait_for_the_second() {
    let stand_in = StandIn::start(NEVER_A_SECOND).await.unwrap();
    let mut client = Client::connect(stand_in.addr).await.unwrap();
    let ask = Bytes::from(with(question("?"), "stream", json!(true)).to_string());
    let mut live = LiveText::default();
    let until_a_word = |piece: &[u8]| match live.push(piece).concat().is_empty() {
        true => Ok(()),
        false => Err(io::Error::other("seen")),
    };
    let end = client
        .send(Method::POST, openai::PATH, ask, until_a_word)
        .await;
    assert!(matches!(end, Err(ClientError::Sink(_))), "{end:?}");
}

#[tokio::test]
async fn dropping_it_breaks_its_streams() {
    let stand_in = StandIn::start(NEVER_A_SECOND).await.unwrap();
    let mut client = Client::connect(stand_in.addr).await.unwrap();
    let ask = Bytes::from(with(question("?"), "stream", json!(true)).to_string());
    let (begun, beginning) = oneshot::channel();
    let mut begun = Some(begun);
    let reading = tokio::spawn(async move {
        let on_piece = |_: &[u8]| {
            begun.take().map(|begun| begun.send(()));
            Ok(())
        };
        client.send(Method::POST, openai::PATH, ask, on_piece).await
    });
    beginning.await.unwrap();
    drop(stand_in);
    let end = reading.await.unwrap();
    assert!(matches!(end, Err(ClientError::Broken(_))), "{end:?}");
}

#[tokio::test]
async fn play_refuses_a_server_that_does_not_cache() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let mut out = Vec::new();
    let end = play(stand_in.addr, &stand_in, &mut out, false).await;
    let Err(DemoError::Wrong { scene: 1, what }) = end else {
        panic!("{end:?}")
    };
    assert_eq!(what, "the answer has no x-llm-cache header");
}

#[tokio::test]
async fn play_says_so_when_there_is_no_proxy() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    // Bound and never listening: nobody else gets the port, and nobody answers on it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let end = play(
        socket.local_addr().unwrap(),
        &stand_in,
        &mut Vec::new(),
        false,
    )
    .await;
    let Err(DemoError::Request {
        scene: 1,
        source: ClientError::Connect(_),
    }) = end
    else {
        panic!("{end:?}")
    };
}

//! An upstream: chat completions, in one document of 2 KB or as events of 250 bytes each.
//!
//! `GET /_count` says how many questions came, `GET /_set?ttft=MS&gap=MS&n=COUNT` how the answers from
//! then on are given: wait before the first byte, wait between events, events with content.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::events::Events;

#[derive(clap::Args)]
pub struct Args {
    /// Address to listen on; with port 0 the system chooses one. It is printed
    #[arg(default_value = "127.0.0.1:0")]
    addr: String,
    /// Milliseconds before the first byte
    #[arg(long, default_value_t = 0)]
    ttft: u64,
    /// Milliseconds between two events
    #[arg(long, default_value_t = 0)]
    gap: u64,
    /// Events with content in a stream
    #[arg(long, default_value_t = 200)]
    n: u64,
}

struct Mock {
    asked: AtomicU64,
    ttft_ms: AtomicU64,
    gap_ms: AtomicU64,
    events: AtomicU64,
}

/// As much of a question as the answer depends on.
#[derive(Deserialize)]
struct Ask {
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

pub async fn run(args: &Args) {
    let listener = TcpListener::bind(&args.addr).await.expect("a free port");
    println!(
        "listening on {}",
        listener.local_addr().expect("an address")
    );
    let mock = Arc::new(Mock {
        asked: AtomicU64::new(0),
        ttft_ms: AtomicU64::new(args.ttft),
        gap_ms: AtomicU64::new(args.gap),
        events: AtomicU64::new(args.n),
    });
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        // Without it an event may wait for the acknowledgement of the one before.
        let _ = socket.set_nodelay(true);
        let mock = mock.clone();
        let service = service_fn(move |request| {
            let mock = mock.clone();
            async move { Ok::<_, Infallible>(mock.answer(request).await) }
        });
        tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new());
            let _ = builder
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

impl Mock {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::GET {
            return respond("text/plain", whole(self.operate(request.uri())));
        }
        let body = request.into_body().collect().await;
        let number = self.asked.fetch_add(1, Relaxed) + 1;
        let ask = body.map_or(b"{}".as_slice().into(), |body| body.to_bytes());
        let ask: Ask = serde_json::from_slice(&ask).expect("a question in JSON");
        pause(Duration::from_millis(self.ttft_ms.load(Relaxed))).await;
        if !ask.stream {
            return respond("application/json", whole(document(number)));
        }
        let gap = Duration::from_millis(self.gap_ms.load(Relaxed));
        let usage = ask.stream_options.include_usage;
        let events = Events::new(number, self.events.load(Relaxed), usage);
        let frames = stream::unfold((events, false), move |(mut events, began)| async move {
            if began && events.tells() {
                pause(gap).await;
            }
            let event = events.next()?;
            Some((Ok(Frame::data(event)), (events, true)))
        });
        respond("text/event-stream", StreamBody::new(frames).boxed_unsync())
    }

    fn operate(&self, uri: &http::Uri) -> String {
        if uri.path() == "/_set" {
            let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            for (name, value) in pairs {
                let setting = match &*name {
                    "ttft" => &self.ttft_ms,
                    "gap" => &self.gap_ms,
                    "n" => &self.events,
                    _ => panic!("no such setting: {name}"),
                };
                setting.store(value.parse().expect("a number"), Relaxed);
            }
        }
        self.asked.load(Relaxed).to_string()
    }
}

/// Tokio's own sleep takes a millisecond for nothing.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed_unsync()
}

fn respond(content_type: &'static str, body: Body) -> Response<Body> {
    let response = Response::builder().header(header::CONTENT_TYPE, content_type);
    response.body(body).expect("a response")
}

/// A chat completion of about 2 KB.
pub fn document(number: u64) -> String {
    let text = "The quick brown fox jumps over the lazy dog, then writes it up in detail. ";
    format!(
        "{{\"id\":\"chatcmpl-{number:08}\",\"object\":\"chat.completion\",\"created\":1700000000,\
         \"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\
         \"content\":\"{}\",\"refusal\":null}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":210,\"completion_tokens\":400,\"total_tokens\":610}},\
         \"system_fingerprint\":\"fp_mock\"}}",
        text.repeat(23)
    )
}

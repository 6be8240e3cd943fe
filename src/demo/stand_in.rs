//! A server that behaves like an LLM provider, without a model: it listens on loopback, takes its
//! time, counts its calls.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::ask::Refusal;
use super::reply::{Body, Call, Reply, json_response};
use super::{MODEL, anthropic, embeddings, openai};

/// Prompts of agents reach a few hundred kilobytes; a demo needs no more than this.
pub(super) const BODY_BYTES_MAX: usize = 4 << 20;
/// Above the hundred clients of the last scene, should the proxy coalesce nothing at all.
const CONNECTIONS_MAX: usize = 512;
const BODY_WAIT_MAX: Duration = Duration::from_secs(30);
/// A failing accept is most often a full table of file descriptors, which wants time to empty.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a stand-in takes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the request to the first token.
    pub first_token: Duration,
    /// From each token to the next.
    pub per_token: Duration,
}

impl Pace {
    /// About what a hosted model takes.
    pub const REALISTIC: Pace = Pace {
        first_token: Duration::from_millis(600),
        per_token: Duration::from_millis(35),
    };

    /// From the request to the last of `tokens` tokens.
    pub fn whole(self, tokens: usize) -> Duration {
        let further = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_token
            .saturating_add(self.per_token.saturating_mul(further))
    }
}

/// A running stand-in. Dropping it closes its listener and every connection.
pub struct StandIn {
    /// Where it listens: 127.0.0.1 and a port the system chose.
    pub addr: SocketAddr,
    pace: Pace,
    calls: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl StandIn {
    /// Starts one on the current tokio runtime.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(pace: Pace) -> std::io::Result<StandIn> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let calls = Arc::new(AtomicU64::new(0));
        let server = tokio::spawn(serve(listener, pace, calls.clone()));
        Ok(StandIn {
            addr,
            pace,
            calls,
            server,
        })
    }

    /// POST requests that have arrived so far, refused ones included: each is one a provider could
    /// charge for.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The pace it answers at.
    pub fn pace(&self) -> Pace {
        self.pace
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, pace: Pace, calls: Arc<AtomicU64>) {
    // Owned here, so that aborting this task ends its connections too.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(serve_connection(socket, pace, calls.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn serve_connection(socket: TcpStream, pace: Pace, calls: Arc<AtomicU64>) {
    // Without it a token may wait for the acknowledgement of the one before.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let calls = calls.clone();
        async move { Ok::<_, Infallible>(respond(request, pace, &calls).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    // A client that leaves is no event worth telling of.
    let _ = builder
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn respond(request: Request<Incoming>, pace: Pace, calls: &AtomicU64) -> Response<Body> {
    let number = match request.method() {
        &Method::POST => calls.fetch_add(1, Ordering::SeqCst) + 1,
        _ => 0,
    };
    let path = request.uri().path().to_owned();
    match handle(request, &path, pace, number).await {
        Ok(reply) => reply.into_response().await,
        Err(refusal) if path == anthropic::PATH => {
            json_response(refusal.status, &refusal.anthropic())
        }
        Err(refusal) => json_response(refusal.status, &refusal.openai()),
    }
}

async fn handle(
    request: Request<Incoming>,
    path: &str,
    pace: Pace,
    number: u64,
) -> Result<Reply, Refusal> {
    let created = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let endpoint: fn(&Call) -> Result<Reply, Refusal> = match (request.method(), path) {
        (&Method::GET, "/v1/models") => return Ok(Reply::Json(Duration::ZERO, models())),
        (&Method::POST, openai::PATH) => openai::chat,
        (&Method::POST, embeddings::PATH) => embeddings::embed,
        (&Method::POST, anthropic::PATH) => anthropic::messages,
        (_, "/v1/models" | openai::PATH | embeddings::PATH | anthropic::PATH) => {
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method not allowed here",
            ));
        }
        _ => {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "the stand-in has no such path",
            ));
        }
    };
    let body = read(request.into_body()).await?;
    endpoint(&Call {
        pace,
        number,
        created,
        body: &body,
    })
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    match timeout(BODY_WAIT_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than 4 MiB",
        )),
        Ok(Err(_)) => Err(Refusal::bad("the body broke off")),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive",
        )),
    }
}

fn models() -> Value {
    let model =
        json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "llm-cache-server"});
    json!({"object": "list", "data": [model]})
}

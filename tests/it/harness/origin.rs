//! A mock LLM provider inside the test process: HTTP/1.1 and HTTP/2, plain or over TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::exchange::{Body, Exchange, Sent, play};
use super::gate::bounded;
use super::h1::Socket;
use super::llm;
use super::reply::{Call, Reply};
use super::tls::Identity;

/// A provider that answers every API well; behaviour is added to it.
pub fn origin() -> OriginBuilder {
    OriginBuilder {
        answer: Arc::new(llm::any),
        tls: None,
        alpn: Vec::new(),
    }
}

type AnswerFn = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

pub struct OriginBuilder {
    answer: AnswerFn,
    tls: Option<Identity>,
    alpn: Vec<&'static str>,
}

/// The running provider; ends when dropped.
pub struct Origin {
    pub addr: SocketAddr,
    /// The certificate it shows, if it speaks TLS.
    pub identity: Option<Identity>,
    log: Arc<Log>,
    accepting: JoinHandle<()>,
}

struct Log {
    exchanges: watch::Sender<Vec<Arc<Exchange>>>,
    answer: AnswerFn,
    connections: AtomicUsize,
}

impl OriginBuilder {
    /// Answers every request by this function.
    pub fn answer(mut self, answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        self.answer = Arc::new(answer);
        self
    }

    /// Streams `words` words, `gap` apart.
    pub fn chat_stream(self, words: usize, gap: Duration) -> Self {
        self.answer(move |call| llm::chat_stream(call, words).paced(gap))
    }

    /// Speaks TLS with a certificate of its own and offers these protocols by ALPN.
    pub fn tls(mut self, alpn: &[&'static str]) -> Self {
        self.tls = Some(Identity::new());
        self.alpn = alpn.to_vec();
        self
    }

    pub async fn start(self) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Arc::new(Log {
            exchanges: watch::channel(Vec::new()).0,
            answer: self.answer,
            connections: AtomicUsize::new(0),
        });
        let acceptor = self
            .tls
            .as_ref()
            .map(|identity| identity.acceptor(&self.alpn));
        let accepting = tokio::spawn(accept(listener, log.clone(), acceptor));
        Origin {
            addr,
            identity: self.tls,
            log,
            accepting,
        }
    }
}

impl Origin {
    /// The URL an upstream is configured with.
    pub fn url(&self) -> String {
        match self.identity {
            Some(_) => format!("https://localhost:{}/v1", self.addr.port()),
            None => format!("http://{}/v1", self.addr),
        }
    }

    /// Every request that arrived whole, in order.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        self.log.exchanges.borrow().clone()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.exchanges().iter().map(|e| e.call.clone()).collect()
    }

    /// How many requests arrived.
    pub fn count(&self) -> usize {
        self.log.exchanges.borrow().len()
    }

    /// Forgets what came so far, for stories with more answers than fit in memory; calls are
    /// counted from 1 again.
    pub fn forget(&self) {
        self.log.exchanges.send_replace(Vec::new());
    }

    /// The latest request.
    #[track_caller]
    pub fn last(&self) -> Call {
        self.calls().pop().expect("the upstream was called")
    }

    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::Relaxed)
    }

    #[track_caller]
    pub fn was_called(&self, times: usize) {
        let calls = self.calls();
        if calls.len() != times {
            let list: String = calls
                .iter()
                .map(|c| format!("\n  {} {}", c.method, c.target))
                .collect();
            panic!(
                "expected {times} upstream calls, saw {}:{list}",
                calls.len()
            );
        }
    }

    /// Waits until `times` requests have arrived.
    #[track_caller]
    pub fn called(&self, times: usize) -> impl Future<Output = ()> {
        let mut seen = self.log.exchanges.subscribe();
        bounded(format!("upstream call {times}"), async move {
            let _ = seen.wait_for(|list| list.len() >= times).await;
        })
    }

    /// Waits until the answer to call `number` has ended, and says how.
    #[track_caller]
    pub fn ended(&self, number: usize) -> impl Future<Output = Sent> {
        let exchange = self
            .exchanges()
            .into_iter()
            .find(|e| e.call.number == number);
        let mut sent = exchange.expect("that call was made").sent.subscribe();
        bounded(
            format!("the end of the answer to call {number}"),
            async move {
                let ended = sent
                    .wait_for(|(_, end)| end.is_some())
                    .await
                    .map(|state| state.1);
                ended.unwrap().unwrap()
            },
        )
    }

    /// Stops listening and drops every connection.
    pub async fn stop(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, log: Arc<Log>, tls: Option<TlsAcceptor>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        log.connections.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
        connections.spawn(serve(stream, log.clone(), tls.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, log: Arc<Log>, tls: Option<TlsAcceptor>) {
    let socket: Box<dyn Socket> = match tls {
        None => Box::new(stream),
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let service = service_fn(move |request| answer(request, log.clone()));
    // A connection error is the other side's doing, or the script's.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn answer(request: Request<Incoming>, log: Arc<Log>) -> Result<Response<Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut exchange = None;
    log.exchanges.send_modify(|list| {
        let call = Call {
            number: list.len() + 1,
            method: parts.method.to_string(),
            target: parts
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            version: parts.version,
            headers: parts.headers,
            body,
        };
        list.push(Arc::new(Exchange {
            call,
            sent: watch::channel((Vec::new(), None)).0,
        }));
        exchange = list.last().cloned();
    });
    let exchange = exchange.expect("just pushed");
    let reply = (log.answer)(&exchange.call);
    for gate in &reply.before {
        gate.passed().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = if reply.sized {
        exchange
            .sent
            .send_replace((reply.bytes().to_vec(), Some(Sent::Whole)));
        Full::new(reply.bytes())
            .map_err(|never: Infallible| match never {})
            .boxed_unsync()
    } else {
        play(reply.steps, exchange)
    };
    Ok(response.body(body).unwrap())
}

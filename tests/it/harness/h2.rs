//! An HTTP/2 client: one connection, streams side by side.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::answer::{Answer, End, Gathering, Head};
use super::ask::{Ask, Sending};
use super::gate::bounded;
use super::h1::Socket;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One connection; clones share it.
#[derive(Clone)]
pub struct H2 {
    send: SendRequest<Body>,
    scheme: &'static str,
}

/// An answer whose head has arrived.
pub struct H2Answer {
    gathering: Gathering,
    body: Incoming,
}

impl H2 {
    /// HTTP/2 over plain TCP, by prior knowledge.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = match bounded("a connection", TcpStream::connect(addr)).await {
            Ok(stream) => stream,
            Err(error) => panic!("cannot connect to {addr}: {error}"),
        };
        stream.set_nodelay(true).unwrap();
        Self::over(Box::new(stream), "http").await.0
    }

    /// HTTP/2 over a connection made elsewhere, and the task that ends with it.
    pub async fn over(socket: Box<dyn Socket>, scheme: &'static str) -> (Self, JoinHandle<()>) {
        let greeting = handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (send, connection) = match bounded("the HTTP/2 preface", greeting).await {
            Ok(pair) => pair,
            Err(error) => panic!("no HTTP/2: {error}"),
        };
        let task = tokio::spawn(async move {
            // How it ended shows on the streams.
            let _ = connection.await;
        });
        (Self { send, scheme }, task)
    }

    /// Asks and reads the whole answer.
    #[track_caller]
    pub fn ask(&self, ask: &Ask) -> impl Future<Output = Answer> {
        let what = format!("the answer to {} {} over HTTP/2", ask.method, ask.path);
        bounded(what, async move { self.start(ask).await.finish().await })
    }

    /// Asks and reads the answer's head.
    pub async fn start(&self, ask: &Ask) -> H2Answer {
        let mut send = self.send.clone();
        let answer = async {
            send.ready().await?;
            send.send_request(request_of(ask, self.scheme)).await
        };
        match answer.await {
            Ok(answer) => H2Answer::new(answer),
            Err(error) => {
                panic!(
                    "{} {} over HTTP/2 has no answer: {error:?}",
                    ask.method, ask.path
                )
            }
        }
    }
}

impl H2Answer {
    fn new(answer: Response<Incoming>) -> Self {
        let (parts, body) = answer.into_parts();
        let fields = parts.headers.iter().map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let head = Head {
            status: parts.status.as_u16(),
            fields: fields.collect(),
        };
        Self {
            gathering: Gathering::new(head),
            body,
        }
    }

    pub fn head(&self) -> &Head {
        self.gathering.head()
    }

    /// Reads until `text` has arrived `times` times.
    #[track_caller]
    pub fn until(&mut self, text: &str, times: usize) -> impl Future<Output = ()> {
        bounded(format!("{text:?} for the {times}th time"), async move {
            while self.gathering.count(text) < times {
                match self.body.frame().await {
                    Some(Ok(frame)) => self.gathering.push(data_of(&frame)),
                    ended => panic!("ended before {text:?} came {times} times: {ended:?}"),
                }
            }
        })
    }

    /// How often `text` has arrived so far.
    pub fn count(&self, text: &str) -> usize {
        self.gathering.count(text)
    }

    /// Reads the rest.
    pub async fn finish(mut self) -> Answer {
        let end = loop {
            match self.body.frame().await {
                Some(Ok(frame)) => self.gathering.push(data_of(&frame)),
                Some(Err(error)) => break End::Broken(format!("{error:?}")),
                None => break End::Clean,
            }
        };
        self.gathering.end(end)
    }
}

fn request_of(ask: &Ask, scheme: &str) -> Request<Body> {
    let uri = format!("{scheme}://cache.test{}", ask.path);
    let mut request = Request::builder().method(ask.method.as_str()).uri(uri);
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let body = match ask.sending {
        Sending::Nothing => Empty::new().boxed_unsync(),
        Sending::Length => Full::new(ask.body.clone()).boxed_unsync(),
        Sending::Pieces(_) => {
            let frames = ask.cut().into_iter().map(|piece| Ok(Frame::data(piece)));
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        }
    };
    request.body(body).unwrap()
}

fn data_of(frame: &Frame<Bytes>) -> &[u8] {
    frame.data_ref().map_or(&[], |data| &data[..])
}

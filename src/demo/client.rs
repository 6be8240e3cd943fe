//! An HTTP/1.1 client of the demo's needs: one connection, a clock, and a call for every piece that
//! arrives.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// For a connection to open, and again for a request from its first byte sent to its answer's last.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);
/// Of an answer; the demo's own have some ten kilobytes.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Why a request of the demo has no complete answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The connection broke.
    #[error("the connection broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// Nothing for too long.
    #[error("no complete answer within {} s", WAIT_MAX.as_secs())]
    Late,
    /// More than a demo should answer.
    #[error("the answer is larger than {} MiB", BODY_BYTES_MAX >> 20)]
    TooLarge,
    /// The caller's own function for arriving pieces failed.
    #[error("cannot pass the answer on: {0}")]
    Sink(std::io::Error),
}

/// A complete answer and when it came, counted from the moment the request was sent on an open
/// connection.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Until the first byte of the body, or its end if it is empty.
    pub first_byte: Duration,
    /// Until the last byte of the body. What the caller does with that last piece does not count.
    pub last_byte: Duration,
}

/// One kept-alive connection.
pub(super) struct Client {
    addr: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Result<Client, ClientError> {
        let socket = timeout(WAIT_MAX, TcpStream::connect(addr)).await;
        let socket = socket
            .map_err(|_| ClientError::Late)?
            .map_err(ClientError::Connect)?;
        // Only a slower measurement if it fails.
        let _ = socket.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        // Its error, if any, reaches the request under way as well.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Client {
            addr,
            sender,
            driver,
        })
    }

    /// Sends one request and hands every piece of the answer's body to `on_piece` as it arrives.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        on_piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        // The demo's paths are constants; one that is no URI asks for "/", and the answer to that
        // tells.
        *request.uri_mut() = path.parse().unwrap_or_default();
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Ok(host) = self.addr.to_string().parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        timeout(WAIT_MAX, self.exchange(request, on_piece))
            .await
            .map_err(|_| ClientError::Late)?
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        mut on_piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Answer, ClientError> {
        self.sender.ready().await?;
        let sent = Instant::now();
        let (head, mut incoming) = self.sender.send_request(request).await?.into_parts();
        let mut body = Vec::new();
        let (mut first_byte, mut last_byte) = (None, None);
        while let Some(frame) = incoming.frame().await {
            let Ok(piece) = frame?.into_data() else {
                continue;
            };
            if piece.is_empty() {
                continue;
            }
            last_byte = Some(sent.elapsed());
            first_byte = first_byte.or(last_byte);
            if body.len() + piece.len() > BODY_BYTES_MAX {
                return Err(ClientError::TooLarge);
            }
            body.extend_from_slice(&piece);
            on_piece(&piece).map_err(ClientError::Sink)?;
        }
        let last_byte = last_byte.unwrap_or_else(|| sent.elapsed());
        let first_byte = first_byte.unwrap_or(last_byte);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            first_byte,
            last_byte,
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Takes the text out of a streamed chat completion while it arrives.
#[derive(Default)]
pub(super) struct LiveText {
    rest: Vec<u8>,
}

impl LiveText {
    /// The texts of the events that `piece` completes, in order.
    pub fn push(&mut self, piece: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(piece);
        let mut texts = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            let data = event.strip_prefix(b"data: ").unwrap_or_default();
            let chunk: Value = serde_json::from_slice(data).unwrap_or_default();
            if let Some(text) = chunk
                .pointer("/choices/0/delta/content")
                .and_then(Value::as_str)
            {
                texts.push(text.to_owned());
            }
        }
        texts
    }
}

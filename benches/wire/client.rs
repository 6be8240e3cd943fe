//! A client that does little itself: a socket, and when which bytes came.

use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use crate::framing::Head;
use crate::system::now_ns;

/// An answer that has not ended by then never will.
const ANSWER_MAX: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 64 * 1024;

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Target {
    addr: SocketAddr,
    path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Target, String> {
        let url = Url::parse(text).map_err(|e| e.to_string())?;
        if url.scheme() != "http" {
            return Err("must begin with http://".to_owned());
        }
        let host = url.host_str().ok_or("has no host")?;
        let port = url.port_or_known_default().ok_or("has no port")?;
        let mut found = (host, port).to_socket_addrs().map_err(|e| e.to_string())?;
        Ok(Target {
            addr: found.next().ok_or("has no address")?,
            path: url[url::Position::BeforePath..].to_owned(),
        })
    }
}

impl Target {
    /// A request with this body, as it goes over the wire.
    pub fn post(&self, body: &[u8]) -> Vec<u8> {
        let (addr, path, len) = (self.addr, &self.path, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer sk-bench\r\n\
             Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    /// The text that a path of this server has.
    pub async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr);
        let mut connection = Connection::open(self).await.expect("a server");
        let answer = connection.ask(request.as_bytes()).await;
        answer.expect("an answer");
        String::from_utf8(connection.body).expect("text")
    }
}

/// A connection, and the body that came over it last.
pub struct Connection {
    stream: TcpStream,
    input: BytesMut,
    pub body: Vec<u8>,
    /// Of the last answer: where in its body the bytes end that came at a time (nanoseconds).
    pub arrivals: Vec<(usize, u64)>,
}

/// Times of one answer, nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub status: u16,
    /// Before the request was written.
    pub asked_ns: u64,
    /// The first bytes, which are its head.
    pub first_ns: u64,
    pub end_ns: u64,
}

impl Connection {
    pub async fn open(target: &Target) -> Result<Connection> {
        let stream = TcpStream::connect(target.addr).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            input: BytesMut::with_capacity(READ_BYTES),
            body: Vec::new(),
            arrivals: Vec::new(),
        })
    }

    /// Writes a request and reads its answer to the end.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        timeout(ANSWER_MAX, self.exchange(request)).await?
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.body.clear();
        self.arrivals.clear();
        let asked_ns = now_ns();
        self.stream.write_all(request).await?;
        let first_ns = self.read().await?;
        let mut at_ns = first_ns;
        let mut head = loop {
            match Head::take(&mut self.input) {
                Some(head) => break head,
                None => at_ns = self.read().await?,
            }
        };
        loop {
            let before = self.body.len();
            let over = head.framing.take(&mut self.input, &mut self.body);
            if self.body.len() > before {
                self.arrivals.push((self.body.len(), at_ns));
            }
            if over {
                return Ok(Answer {
                    status: head.status,
                    asked_ns,
                    first_ns,
                    end_ns: at_ns,
                });
            }
            at_ns = self.read().await?;
        }
    }

    /// Reads something; when it was there.
    async fn read(&mut self) -> Result<u64> {
        self.input.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        Ok(now_ns())
    }
}

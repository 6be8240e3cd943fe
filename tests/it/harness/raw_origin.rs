//! An upstream that works on bytes, for misbehaviour no HTTP library would send.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::framing::{Framing, Reader};
use super::gate::Gate;

/// One step of what the upstream does with a request it has read.
#[derive(Debug, Clone)]
pub enum Act {
    Write(Vec<u8>),
    Hold(Gate),
    /// Closes the connection; without it the next request is awaited.
    Close,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct RawCall {
    pub body: Bytes,
}

/// The running upstream; ends when dropped.
pub struct RawOrigin {
    pub addr: SocketAddr,
    calls: Arc<watch::Sender<Vec<RawCall>>>,
    accepting: JoinHandle<()>,
}

type Script = Arc<dyn Fn(usize) -> Vec<Act> + Send + Sync>;

/// Starts an upstream that does `script(n)` with the n-th request, counted from 1.
pub async fn raw_origin(script: impl Fn(usize) -> Vec<Act> + Send + Sync + 'static) -> RawOrigin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let calls = Arc::new(watch::channel(Vec::new()).0);
    let script: Script = Arc::new(script);
    let log = calls.clone();
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, log.clone(), script.clone()));
        }
    });
    RawOrigin {
        addr,
        calls,
        accepting,
    }
}

impl RawOrigin {
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    pub fn calls(&self) -> Vec<RawCall> {
        self.calls.borrow().clone()
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, log: Arc<watch::Sender<Vec<RawCall>>>, script: Script) {
    let _ = stream.set_nodelay(true);
    let (read, mut write) = stream.split();
    let mut reader = Reader::new(read);
    while let Ok(Some((_, fields))) = reader.head().await {
        let mut framing = Framing::of(&fields, false);
        let mut body = BytesMut::new();
        while let Ok(Some(piece)) = reader.piece(&mut framing).await {
            body.extend_from_slice(&piece);
        }
        let mut number = 0;
        log.send_modify(|list| {
            list.push(RawCall {
                body: body.freeze(),
            });
            number = list.len();
        });
        for act in script(number) {
            match act {
                Act::Write(bytes) => {
                    if write.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Act::Hold(gate) => gate.passed().await,
                Act::Close => return,
            }
        }
    }
}

/// A 200 with this content type whose body ends with the connection only.
pub fn until_close(content_type: &str, body: &str) -> Vec<Act> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n");
    vec![
        Act::Write(head.into_bytes()),
        Act::Write(body.into()),
        Act::Close,
    ]
}

//! An HTTP/1 connection to a client, between pingora and the stream.
//!
//! Pingora writes the head of an answer and its body one after the other, through a buffer that is as
//! large for an idle connection as for a busy one. Here a head waits for what follows it and leaves
//! together with it, in one system call and without a copy of the body.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures_util::FutureExt;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is held back until more comes or it must go: the head of nearly every answer, the small events
/// of a stream with what frames them.
const HELD_BYTES_MAX: usize = 1024;

/// Bytes that came from a client.
pub type Received = Arc<AtomicU64>;

/// A stream that joins small writes with what follows them.
#[derive(Debug)]
pub struct Joined {
    stream: Stream,
    held: Vec<u8>,
    received: Received,
}

impl Joined {
    /// Over `stream`, counting what comes from it in `received`.
    pub fn new(stream: Stream, received: Received) -> Joined {
        Joined {
            stream,
            held: Vec::new(),
            received,
        }
    }

    /// Writes what is held, and of `more` what goes with it. How many bytes of `more` that were.
    fn poll_write_out(
        &mut self,
        cx: &mut Context<'_>,
        more: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            // A size, a chunk, its end: pingora writes no more than that at once.
            let mut parts = [IoSlice::new(&[]); 4];
            let all = std::iter::once(IoSlice::new(&self.held)).chain(more.iter().copied());
            let parts: &[IoSlice<'_>] = {
                let count = parts
                    .iter_mut()
                    .zip(all)
                    .map(|(part, of)| *part = of)
                    .count();
                parts.get(..count).unwrap_or_default()
            };
            let stream = Pin::new(&mut self.stream);
            let written = match ready!(stream.poll_write_vectored(cx, parts))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => written,
            };
            let of_held = written.min(self.held.len());
            self.held.drain(..of_held);
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for Joined {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        this.received.fetch_add(bytes as u64, Relaxed);
        read
    }
}

impl AsyncWrite for Joined {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if this.held.len() + length <= HELD_BYTES_MAX {
            bufs.iter().for_each(|buf| this.held.extend_from_slice(buf));
            return Poll::Ready(Ok(length));
        }
        match ready!(this.poll_write_out(cx, bufs))? {
            0 => Pin::new(&mut this.stream).poll_write_vectored(cx, bufs),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(cx, &[]))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(cx, &[]))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Joined {
    async fn shutdown(&mut self) {
        // As pingora's own streams do: whoever cannot be told any more is not waited for.
        let _ = tokio::io::AsyncWriteExt::flush(self).await;
        self.stream.shutdown().await;
    }
}

impl Drop for Joined {
    /// What was written belongs to the client even if the answer breaks off. Pingora's own streams do the
    /// same with their buffers.
    fn drop(&mut self) {
        if !self.held.is_empty() {
            let _ = tokio::io::AsyncWriteExt::flush(self).now_or_never();
        }
    }
}

impl UniqueID for Joined {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Joined {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Joined {
    /// Asked for by every request, and read by none.
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Joined {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Joined {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Joined {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buf).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Buf, Bytes};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn joined(room: usize) -> (Joined, DuplexStream) {
        let (ours, theirs) = duplex(room);
        (Joined::new(Box::new(ours), Received::default()), theirs)
    }

    #[tokio::test]
    async fn a_head_waits_for_its_body_or_for_a_flush() {
        let (mut joined, mut client) = joined(1 << 20);
        let mut seen = [0; 16];
        joined.write_all(b"head").await.unwrap();
        let early = tokio::time::timeout(std::time::Duration::ZERO, client.read(&mut seen));
        assert!(early.await.is_err());
        joined.flush().await.unwrap();
        assert_eq!(client.read(&mut seen).await.unwrap(), 4);
        joined.write_all(b"head").await.unwrap();
        joined.write_all(&[b'b'; 5000]).await.unwrap();
        let mut all = vec![0; 5004];
        client.read_exact(&mut all).await.unwrap();
        assert!(all.starts_with(b"headbbb") && joined.held.is_empty());
    }

    /// Whatever the sizes of writes, and however little the other side takes at once.
    #[tokio::test]
    async fn nothing_is_lost_or_moved() {
        for room in [1, 7, 1000, 4096, 100_000] {
            let (mut joined, mut client) = joined(room);
            let sizes = [
                1, 318, 2041, 0, 1023, 1, 1, 1024, 1025, 50_000, 700, 700, 700, 3,
            ];
            let piece = |size: i32| (0..size).map(|i| (i % 251) as u8).collect::<Vec<u8>>();
            let expected: Vec<u8> = sizes
                .iter()
                .map(|size| piece(*size))
                .flat_map(|piece| [&piece[..], b"5f\r\n", &piece, b"\r\n"].concat())
                .collect();
            let reader = tokio::spawn(async move {
                let mut all = Vec::new();
                client.read_to_end(&mut all).await.map(|_| all)
            });
            for (at, size) in sizes.iter().enumerate() {
                let piece = piece(*size);
                joined.write_all(&piece).await.unwrap();
                if at % 3 == 0 {
                    joined.flush().await.unwrap();
                }
                // As pingora writes chunks.
                let mut chunk = Bytes::from_static(b"5f\r\n")
                    .chain(&piece[..])
                    .chain(&b"\r\n"[..]);
                joined.write_all_buf(&mut chunk).await.unwrap();
            }
            AsyncWriteExt::shutdown(&mut joined).await.unwrap();
            drop(joined);
            assert_eq!(reader.await.unwrap().unwrap(), expected, "room {room}");
        }
    }

    #[tokio::test]
    async fn what_is_held_leaves_when_the_connection_is_dropped() {
        let (mut joined, mut client) = joined(100);
        joined.write_all(b"begun").await.unwrap();
        drop(joined);
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "begun");
    }

    #[tokio::test]
    async fn what_comes_is_counted() {
        let (mut joined, mut client) = joined(100);
        client.write_all(b"hello").await.unwrap();
        let mut seen = [0; 3];
        joined.read_exact(&mut seen).await.unwrap();
        assert_eq!(joined.received.load(Relaxed), 3);
    }
}

//! A deadline for the whole request header.
//!
//! Pingora's own timeout starts anew with every byte, and it waits without any for the first bytes
//! of a connection, so a client that trickles could hold a connection for ever. Here every
//! HTTP/1 connection carries a clock: running while a header is awaited, stopped while a request is
//! answered. HTTP/2 connections have pingora's idle timeout, and no header longer than a frame.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;

use super::joined::{Joined, Received};

/// What an HTTP/2 client without TLS says first.
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The part of it that tells it from HTTP/1: requests can be shorter than the whole.
const H2_PREFACE_START: &[u8; 4] = b"PRI ";

/// What is read at once of a request that begins; pingora takes as much.
const FIRST_BYTES_MAX: usize = 4096;

tokio::task_local! {
    static CLOCK: Arc<Clock>;
}

/// Serves connections through `app` and drops those whose header takes too long.
pub struct Deadline<A> {
    app: Arc<A>,
    header: Duration,
    keepalive: Duration,
}

impl<A> Deadline<A> {
    /// `header`: limit for the header of a connection's first request; of later ones, `keepalive`
    /// comes on top, the time a connection may be unused.
    pub fn new(app: A, header: Duration, keepalive: Duration) -> Deadline<A> {
        Deadline {
            app: Arc::new(app),
            header,
            keepalive,
        }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Deadline<A> {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        if self.is_h2(&mut stream).await? {
            return self.app.process_new(stream, shutdown).await;
        }
        let clock = Arc::new(Clock::new(self.header, self.keepalive));
        // Asked only when there is something new: every step of every request would otherwise take locks
        // that all connections share.
        let mut ends = FuturesUnordered::from_iter([
            clock.expired().boxed(),
            clock.idle_at_shutdown(shutdown.clone()).boxed(),
        ]);
        tokio::select! {
            biased;
            () = CLOCK.scope(clock.clone(), self.http1(stream, &clock, shutdown)) => {}
            _ = ends.next() => {}
        }
        None
    }

    async fn cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Deadline<A> {
    /// `None`: nothing came in time.
    async fn is_h2(&self, stream: &mut Stream) -> Option<bool> {
        if let Some(protocol) = stream.selected_alpn_proto() {
            return Some(protocol == ALPN::H2);
        }
        let deadline = tokio::time::Instant::now() + self.header;
        let mut start = [0; H2_PREFACE_START.len()];
        let peeked = tokio::time::timeout_at(deadline, stream.try_peek(&mut start)).await;
        if !peeked.ok()?.ok()? || start != *H2_PREFACE_START {
            return Some(false);
        }
        let mut preface = [0; H2_PREFACE.len()];
        let peeked = tokio::time::timeout_at(deadline, stream.try_peek(&mut preface)).await;
        Some(peeked.ok()?.ok()? && preface == *H2_PREFACE)
    }

    /// One request after the other. Pingora does the same, but looks for 24 bytes first, and health
    /// checks in HTTP/1.0 are shorter than that.
    async fn http1(&self, stream: Stream, clock: &Clock, shutdown: &ShutdownWatch) {
        let plain = stream.get_ssl_digest().is_none();
        let stream = Joined::new(stream, clock.received.clone());
        let mut session = ServerSession::new_http1(Box::new(stream));
        let closing = *shutdown.borrow();
        session.set_keepalive((!closing).then_some(self.keepalive.as_secs()));
        let mut left = self.app.process_new_http(session, shutdown).await;
        while let Some((mut stream, settings)) = left.map(|reusable| reusable.consume()) {
            let mut begun = None;
            // A shutdown ends idle connections, but what has arrived is answered: pingora looks once more.
            if plain && clock.is_between_requests() && !*shutdown.borrow() {
                clock.set(Some(Instant::now() + self.keepalive));
                begun = next_bytes(&mut stream).await;
                if begun.is_none() {
                    return;
                }
                let header = Instant::now() + self.header;
                clock.set(clock.deadline().map(|idle| idle.max(header)));
            }
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            if let (ServerSession::H1(session), Some(begun)) = (&mut session, begun) {
                session.set_pipelined_prefix(begun);
            }
            left = self.app.process_new_http(session, shutdown).await;
        }
    }
}

/// Waits for the first bytes of a next request, with no more than the connection itself: the state of a
/// request is many times its size. `None`: there will be none.
async fn next_bytes(stream: &mut Stream) -> Option<BytesMut> {
    std::future::poll_fn(|cx| {
        // On the stack, so that who waits holds nothing.
        let mut bytes = [MaybeUninit::uninit(); FIRST_BYTES_MAX];
        let mut read = ReadBuf::uninit(&mut bytes);
        let done = ready!(Pin::new(&mut *stream).poll_read(cx, &mut read));
        let came = done.is_ok() && !read.filled().is_empty();
        Poll::Ready(came.then(|| {
            // With room for more of the header, as pingora has it.
            let mut begun = BytesMut::with_capacity(FIRST_BYTES_MAX);
            begun.extend_from_slice(read.filled());
            begun
        }))
    })
    .await
}

/// In a request's first phase: its header has been read.
pub fn header_is_read() {
    let _ = CLOCK.try_with(|clock| clock.set(None));
}

/// After a request: the connection may be idle for a while, then the next header is due.
pub fn header_is_due(session: &ServerSession) {
    let _ = CLOCK.try_with(|clock| {
        let length = match session {
            // Pingora escapes what must not stand in a path, and then has more bytes than came.
            ServerSession::H1(h1) if !h1.req_header().raw_path().contains(&b'%') => {
                h1.get_headers_raw_bytes().len() + h1.body_bytes_read()
            }
            _ => 0,
        };
        clock.answered.fetch_add(length as u64, Relaxed);
        clock.set(Some(Instant::now() + clock.next));
    });
}

struct Clock {
    deadlines: Mutex<Deadlines>,
    changed: Notify,
    next: Duration,
    received: Received,
    /// Bytes of the requests that have been answered; never more than they had, and of some fewer: of one
    /// in chunks, one with escapes.
    answered: AtomicU64,
}

struct Deadlines {
    /// `None` while a request is answered.
    next: Option<Instant>,
    /// What is slept for, which may be a deadline of before.
    awaited: Option<Instant>,
}

impl Clock {
    fn new(first: Duration, keepalive: Duration) -> Clock {
        Clock {
            deadlines: Mutex::new(Deadlines {
                next: Some(Instant::now() + first),
                awaited: None,
            }),
            changed: Notify::new(),
            next: keepalive + first,
            received: Received::default(),
            answered: AtomicU64::new(0),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadlines.lock().next
    }

    /// Nothing of a next request has been read. False if that cannot be told.
    fn is_between_requests(&self) -> bool {
        self.received.load(Relaxed) == self.answered.load(Relaxed)
    }

    /// Resolves at a shutdown, unless a request is being answered: whoever answers looks afterwards.
    async fn idle_at_shutdown(&self, mut shutdown: ShutdownWatch) {
        // A sender that is gone never shuts down.
        let shuts_down = shutdown.wait_for(|shuts_down| *shuts_down).await.is_ok();
        if !shuts_down || self.deadline().is_none() {
            std::future::pending::<()>().await;
        }
    }

    fn set(&self, deadline: Option<Instant>) {
        let mut deadlines = self.deadlines.lock();
        deadlines.next = deadline;
        // One that is further away is found out when the old one has come.
        let nearer = |awaited| deadline.is_some_and(|deadline| deadline < awaited);
        let wake = deadlines.awaited.map_or(deadline.is_some(), nearer);
        drop(deadlines);
        if wake {
            self.changed.notify_one();
        }
    }

    async fn expired(&self) {
        loop {
            let deadline = {
                let mut deadlines = self.deadlines.lock();
                deadlines.awaited = deadlines.next;
                deadlines.next
            };
            match deadline {
                None => self.changed.notified().await,
                Some(at) if at <= Instant::now() => return,
                Some(at) => {
                    let nearer = self.changed.notified();
                    let _ = tokio::time::timeout_at(at.into(), nearer).await;
                }
            }
        }
    }
}

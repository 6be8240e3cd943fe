//! A deadline for the whole request header.
//!
//! Pingora's own timeout starts anew with every byte, and it waits without any for the first bytes
//! of a connection, so a client that trickles could hold a connection for ever. Here every
//! HTTP/1 connection carries a clock: running while a header is awaited, stopped while a request is
//! answered. HTTP/2 connections have pingora's idle timeout, and no header longer than a frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::sync::Notify;

/// What an HTTP/2 client without TLS says first.
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The part of it that tells it from HTTP/1: requests can be shorter than the whole.
const H2_PREFACE_START: &[u8; 4] = b"PRI ";

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
        tokio::select! {
            biased;
            () = CLOCK.scope(clock.clone(), self.http1(stream, shutdown)) => {}
            () = clock.expired() => {}
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
    async fn http1(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let mut session = ServerSession::new_http1(stream);
        let closing = *shutdown.borrow();
        session.set_keepalive((!closing).then_some(self.keepalive.as_secs()));
        let mut left = self.app.process_new_http(session, shutdown).await;
        while let Some((stream, settings)) = left.map(|reusable| reusable.consume()) {
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            left = self.app.process_new_http(session, shutdown).await;
        }
    }
}

/// In a request's first phase: its header has been read.
pub fn header_is_read() {
    let _ = CLOCK.try_with(|clock| clock.set(None));
}

/// After a request: the connection may be idle for a while, then the next header is due.
pub fn header_is_due() {
    let _ = CLOCK.try_with(|clock| clock.set(Some(Instant::now() + clock.next)));
}

struct Clock {
    deadline: Mutex<Option<Instant>>,
    changed: Notify,
    next: Duration,
}

impl Clock {
    fn new(first: Duration, keepalive: Duration) -> Clock {
        Clock {
            deadline: Mutex::new(Some(Instant::now() + first)),
            changed: Notify::new(),
            next: keepalive + first,
        }
    }

    fn set(&self, deadline: Option<Instant>) {
        *self.deadline.lock() = deadline;
        // A deadline that is further away is found out when the old one has come.
        if deadline.is_some() {
            self.changed.notify_one();
        }
    }

    async fn expired(&self) {
        loop {
            let deadline = *self.deadline.lock();
            match deadline {
                None => self.changed.notified().await,
                Some(at) if at <= Instant::now() => return,
                Some(at) => tokio::time::sleep_until(at.into()).await,
            }
        }
    }
}

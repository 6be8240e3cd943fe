//! The admin listener: `/livez`, `/readyz`, `/metrics` for machines, and `/cache/…` for operators.
//!
//! It runs on threads of its own. What reads the store runs on the blocking pool, two at a time, beside two
//! purges and one copy; every answer has a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use http::{Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;

use crate::cache::Cache;
use crate::config::Secret;
use access::Access;
use reply::Reply;

mod access;
mod body;
pub mod entries;
pub mod entry;
mod operate;
pub mod purge;
mod reply;
pub mod stats;
pub mod times;

/// Whether clients should be sent here: true once the listeners accept, false as soon as shutdown
/// begins.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Relaxed);
    }

    /// What was said last.
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Answers operators and their tools.
pub struct Admin {
    cache: &'static Cache,
    readiness: Readiness,
    access: Access,
    desk: operate::Desk,
}

impl Admin {
    /// An admin over a running server. Without a token `/cache/…` is for this machine only.
    pub fn new(cache: &'static Cache, readiness: Readiness, token: Option<&Secret>) -> Admin {
        Admin {
            cache,
            readiness,
            access: Access::new(token),
            desk: operate::Desk::new(cache),
        }
    }

    /// Probes and metrics, for whoever reaches the port.
    fn probe(&self, method: &Method, path: &str) -> Reply {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match path {
            _ if !is_read => Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
            "/livez" => Reply::text(StatusCode::OK, "ok\n"),
            "/readyz" if self.readiness.get() => Reply::text(StatusCode::OK, "ok\n"),
            "/readyz" => Reply::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/metrics" => self.metrics(),
            _ => Reply::text(
                StatusCode::NOT_FOUND,
                "try /livez, /readyz, /metrics or /cache/stats\n",
            ),
        }
    }

    fn metrics(&self) -> Reply {
        self.cache.store().observe();
        match self.cache.metrics().render() {
            Ok(text) => Reply::text(StatusCode::OK, text),
            Err(e) => Reply::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("metrics cannot be read: {e}\n"),
            ),
        }
    }

    async fn operate(&self, session: &mut ServerSession) -> Reply {
        if let Err(refusal) = self.access.check_session(session) {
            // What it sends is not read.
            session.set_keepalive(None);
            return refusal.into();
        }
        match self.desk.answer(session).await {
            Ok(reply) => reply,
            Err(error) => {
                session.set_keepalive(None);
                Reply::error(&error)
            }
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let path = request.uri.path();
        let reply = match path == "/cache" || path.starts_with("/cache/") {
            true => self.operate(session).await,
            false => self.probe(&request.method, path),
        };
        reply.into_response()
    }
}

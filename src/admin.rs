//! The admin listener: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;

use crate::cache::Cache;

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
}

impl Admin {
    /// An admin over a running server.
    pub fn new(cache: &'static Cache, readiness: Readiness) -> Admin {
        Admin { cache, readiness }
    }

    fn metrics(&self) -> (StatusCode, String) {
        self.cache.store().observe();
        match self.cache.metrics().render() {
            Ok(text) => (StatusCode::OK, text),
            Err(e) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("metrics cannot be read: {e}\n"),
            ),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let (status, text) = match request.uri.path() {
            _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
            "/livez" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" if self.readiness.get() => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
            "/metrics" => self.metrics(),
            _ => (
                StatusCode::NOT_FOUND,
                "try /livez, /readyz or /metrics\n".to_owned(),
            ),
        };
        let mut response = Response::new(text.into_bytes());
        *response.status_mut() = status;
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

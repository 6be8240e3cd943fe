//! Brings spans to the collector, by pingora's connector.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use pingora::http::RequestHeader;
use pingora_core::Result;
use pingora_core::connectors::http::Connector;
use tokio::runtime::Handle;

use crate::config;
use crate::metrics::Metrics;
use crate::upstream::Upstream;

/// One batch, from the connect to the end of the collector's answer.
const SEND_MAX: Duration = Duration::from_secs(5);
/// A collector answers with a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends requests for the exporter.
pub struct Courier {
    link: Arc<Link>,
    runtime: Handle,
    metrics: Arc<Metrics>,
    endpoint: String,
    /// The last batch did not arrive: said once, not with every batch.
    down: AtomicBool,
}

struct Link {
    collector: Upstream,
    connector: Connector,
}

impl Courier {
    /// A courier to the configured collector.
    pub fn new(
        config: &config::Tracing,
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> Result<Courier> {
        let collector = Upstream::new(config::Upstream {
            name: "collector".to_owned(),
            url: config.endpoint.clone(),
            models: Vec::new(),
            api_key: None,
            timeouts: config::Timeouts {
                connect: SEND_MAX,
                first_byte: SEND_MAX,
                idle: SEND_MAX,
            },
            prices: Vec::new(),
        })?;
        Ok(Courier {
            link: Arc::new(Link {
                collector,
                connector: Connector::new(None),
            }),
            runtime,
            metrics,
            endpoint: config.endpoint.to_string(),
            down: AtomicBool::new(false),
        })
    }

    fn note(&self, result: &Result<Response<Bytes>, String>) {
        let failure = match result {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("status {}", answer.status())),
            Err(error) => Some(error.clone()),
        };
        let was_down = self.down.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) => {
                self.metrics.trace_exports_failed.inc();
                if !was_down {
                    let endpoint = &self.endpoint;
                    log::warn!("traces are lost, {endpoint} does not take them: {why}");
                }
            }
            None if was_down => log::info!("traces are delivered again to {}", self.endpoint),
            None => {}
        }
    }
}

#[async_trait]
impl HttpClient for Courier {
    /// Called on the exporter's own thread, which has no runtime.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let link = self.link.clone();
        // All of it inside the task: this thread has no clock of the runtime's either.
        let sent = self.runtime.spawn(async move {
            let sending = async { link.send(request).await.map_err(|e| e.to_string()) };
            tokio::time::timeout(SEND_MAX, sending).await
        });
        let result = match sent.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("no answer within {SEND_MAX:?}")),
            Err(_) => Err("the server is ending".to_owned()),
        };
        self.note(&result);
        Ok(result?)
    }
}

impl Link {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
        let mut header = RequestHeader::build(parts.method, target.as_bytes(), None)?;
        for (name, value) in &parts.headers {
            header.append_header(name.clone(), value.clone())?;
        }
        header.insert_header(HOST, self.collector.authority())?;
        header.insert_header(CONTENT_LENGTH, body.len())?;
        header.insert_header(
            USER_AGENT,
            concat!("llm-cache-server/", env!("CARGO_PKG_VERSION")),
        )?;

        let peer = self.collector.peer(0).await?;
        let (mut session, _reused) = self.connector.get_http_session(&*peer).await?;
        session.set_read_timeout(Some(SEND_MAX));
        session.set_write_timeout(Some(SEND_MAX));
        session.write_request_header(Box::new(header)).await?;
        session.write_request_body(body, true).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map(|h| h.status);
        let mut answer = BytesMut::new();
        while let Some(piece) = session.read_response_body().await? {
            if answer.len() + piece.len() <= ANSWER_BYTES_MAX {
                answer.extend_from_slice(&piece);
            }
        }
        self.connector
            .release_http_session(session, &*peer, Some(Duration::from_secs(30)))
            .await;
        let mut response = Response::new(answer.freeze());
        *response.status_mut() = status.unwrap_or(http::StatusCode::BAD_GATEWAY);
        Ok(response)
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier")
            .field("endpoint", &self.endpoint)
            .finish()
    }
}

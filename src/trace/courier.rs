//! Brings spans to the collector, by pingora's connector.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use pingora::http::RequestHeader;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use tokio::runtime::Handle;

use crate::config;
use crate::upstream::Upstream;

/// One batch, from the connect to the end of the collector's answer.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Addresses tried for one batch.
const CONNECT_ATTEMPTS_MAX: usize = 3;
/// A collector answers with a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends requests for the exporter.
pub struct Courier {
    link: Arc<Link>,
    runtime: Handle,
}

struct Link {
    collector: Upstream,
    connector: Connector,
}

impl Courier {
    /// A courier to the configured collector.
    pub fn new(config: &config::Tracing, runtime: Handle) -> Result<Courier> {
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
        })
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
        match sent.await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) => Err(format!("no answer within {SEND_MAX:?}").into()),
            Err(_) => Err("the server is ending".into()),
        }
    }
}

impl Link {
    /// A connection to the first of the collector's addresses that takes one.
    async fn connect(&self) -> Result<(HttpSession, Box<HttpPeer>)> {
        let mut last = None;
        for attempt in 0..CONNECT_ATTEMPTS_MAX {
            let peer = self.collector.peer(attempt).await?;
            match self.connector.get_http_session(&*peer).await {
                Ok((session, _reused)) => return Ok((session, peer)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::explain(ErrorType::ConnectNoRoute, "no attempt")))
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
        let mut header = RequestHeader::build(parts.method, target.as_bytes(), None)?;
        for (name, value) in &parts.headers {
            // The body has a length, whatever a variable of the environment may say.
            if name != TRANSFER_ENCODING {
                header.append_header(name.clone(), value.clone())?;
            }
        }
        header.insert_header(HOST, self.collector.authority())?;
        header.insert_header(CONTENT_LENGTH, body.len())?;
        header.insert_header(
            USER_AGENT,
            concat!("llm-cache-server/", env!("CARGO_PKG_VERSION")),
        )?;

        let (mut session, peer) = self.connect().await?;
        session.set_read_timeout(Some(SEND_MAX));
        session.set_write_timeout(Some(SEND_MAX));
        session.write_request_header(Box::new(header)).await?;
        session.write_request_body(body, true).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map(|h| h.status);
        let mut answer = BytesMut::new();
        while let Some(piece) = session.read_response_body().await? {
            if answer.len() + piece.len() > ANSWER_BYTES_MAX {
                session.shutdown().await;
                return Error::e_explain(ErrorType::InternalError, "its answer has no end");
            }
            answer.extend_from_slice(&piece);
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
        f.write_str("Courier")
    }
}

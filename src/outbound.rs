//! HTTP to what is no upstream of anyone's request: the collector of traces, a bucket of answers. By
//! pingora's connector, like the rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr, Result};
use url::Url;

use crate::config::Timeouts;
use crate::host::{Host, POOL_IDLE};

/// Unused connections that are kept.
const IDLE_MAX: usize = 64;
/// Addresses of a host tried for one request.
const CONNECT_ATTEMPTS_MAX: usize = 3;
/// Hosts whose addresses are remembered: a bucket, and the two or three that give out credentials.
const HOSTS_MAX: usize = 8;

/// A client for what is short in both directions.
pub struct Outbound {
    connector: Connector,
    hosts: Mutex<Vec<(String, Arc<Host>)>>,
    within: Duration,
    answer_bytes_max: usize,
}

impl Outbound {
    /// A client. `within`: from the connect to the end of the
    /// answer; `answer_bytes_max`: longer answers are errors; `authorities`: a file in PEM, in the place of those
    /// of the system. Panics if that holds none.
    pub fn new(within: Duration, answer_bytes_max: usize, authorities: Option<&Path>) -> Outbound {
        let options = authorities.map(|file| ConnectorOptions {
            ca_file: Some(file.display().to_string()),
            ..ConnectorOptions::new(IDLE_MAX)
        });
        Outbound {
            connector: Connector::new(options),
            hosts: Mutex::default(),
            within,
            answer_bytes_max,
        }
    }

    /// Sends a request whose target is a whole URL, and reads its answer to the end.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let sent = tokio::time::timeout(self.within, self.exchange(request)).await;
        sent.unwrap_or_else(|_| {
            let why = format!("no answer within {:?}", self.within);
            Error::e_explain(ErrorType::ReadTimedout, why)
        })
    }

    fn host(&self, uri: &Uri) -> Result<Arc<Host>> {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or("http"));
        let mut hosts = self.hosts.lock();
        if let Some((_, host)) = hosts.iter().find(|(known, _)| *known == origin) {
            return Ok(host.clone());
        }
        let url = Url::parse(&origin).or_err(ErrorType::InternalError, "not a URL")?;
        let timeouts = Timeouts {
            connect: self.within,
            first_byte: self.within,
            idle: self.within,
        };
        let host = Arc::new(Host::new(&url, timeouts)?);
        hosts.truncate(HOSTS_MAX - 1);
        hosts.insert(0, (origin, host.clone()));
        Ok(host)
    }

    /// A connection to the first of a host's addresses that takes one.
    async fn connect(&self, host: &Host) -> Result<(HttpSession, Box<HttpPeer>)> {
        let mut last = None;
        for attempt in 0..CONNECT_ATTEMPTS_MAX {
            let mut peer = host.peer(attempt).await?;
            // What is sent and read here is short, and a request that is given up closes its connection.
            peer.options.alpn = ALPN::H1;
            match self.connector.get_http_session(&*peer).await {
                Ok((session, _reused)) => return Ok((session, peer)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::explain(ErrorType::ConnectNoRoute, "no attempt")))
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let host = self.host(&parts.uri)?;
        let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
        let mut header = RequestHeader::build(parts.method, target.as_bytes(), None)?;
        for (name, value) in &parts.headers {
            // The body has a length, whatever a variable of the environment may say.
            if name != TRANSFER_ENCODING {
                header.append_header(name.clone(), value.clone())?;
            }
        }
        // One that is there already may have been signed.
        if !parts.headers.contains_key(HOST) {
            header.insert_header(HOST, host.authority())?;
        }
        header.insert_header(CONTENT_LENGTH, body.len())?;
        header.insert_header(
            USER_AGENT,
            concat!("llm-cache-server/", env!("CARGO_PKG_VERSION")),
        )?;

        let (mut session, peer) = self.connect(&host).await?;
        session.set_read_timeout(Some(self.within));
        session.set_write_timeout(Some(self.within));
        session.write_request_header(Box::new(header)).await?;
        session.write_request_body(body, true).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let mut answer = BytesMut::new();
        while let Some(piece) = session.read_response_body().await? {
            if answer.len() + piece.len() > self.answer_bytes_max {
                session.shutdown().await;
                let why = format!("its answer is longer than {} bytes", self.answer_bytes_max);
                return Error::e_explain(ErrorType::InternalError, why);
            }
            answer.extend_from_slice(&piece);
        }
        let mut response = Response::new(answer.freeze());
        match session.response_header() {
            Some(head) => {
                *response.status_mut() = head.status;
                *response.headers_mut() = head.headers.clone();
            }
            None => *response.status_mut() = StatusCode::BAD_GATEWAY,
        }
        self.connector
            .release_http_session(session, &*peer, Some(POOL_IDLE))
            .await;
        Ok(response)
    }
}

//! A host that this server connects to: its addresses, and how to reach it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;
use pingora_core::protocols::{ALPN, TcpKeepalive};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr, Result};
use url::Url;

use crate::config::Timeouts;

/// An unused connection is closed after this time: shorter than the idle limits of the providers'
/// front ends (OpenAI, Anthropic and cloud load balancers keep 60 s and more), since a request on
/// a connection that dies under it cannot be repeated.
pub const POOL_IDLE: Duration = Duration::from_secs(30);
/// How long addresses are believed before the name is looked up again.
const ADDRESSES_TTL: Duration = Duration::from_secs(30);
/// Requests on one HTTP/2 connection; servers commonly allow 100.
const H2_STREAMS: usize = 100;

/// A host and a port, with or without TLS.
pub struct Host {
    name: String,
    port: u16,
    tls: bool,
    authority: HeaderValue,
    timeouts: Timeouts,
    addresses: Mutex<Option<Addresses>>,
}

struct Addresses {
    list: Vec<SocketAddr>,
    looked_up: Instant,
}

impl Host {
    /// The host of an http or https URL.
    pub fn new(url: &Url, timeouts: Timeouts) -> Result<Host> {
        let name = url.host_str().unwrap_or_default().to_owned();
        let authority = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.clone(),
        };
        let authority = HeaderValue::from_str(&authority).or_err(
            ErrorType::InternalError,
            "the upstream's host is no header value",
        )?;
        Ok(Host {
            name,
            port: url.port_or_known_default().unwrap_or(443),
            tls: url.scheme() == "https",
            authority,
            timeouts,
            addresses: Mutex::new(None),
        })
    }

    /// Its name, without the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its name, with the port where that is not the usual one.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Where to connect to. `attempt` moves on through the host's addresses.
    pub async fn peer(&self, attempt: usize) -> Result<Box<HttpPeer>> {
        let addresses = self.resolve().await?;
        let address = addresses
            .get(attempt % addresses.len().max(1))
            .ok_or_else(|| Error::explain(ErrorType::ConnectNoRoute, "the host has no address"))?;
        let timeouts = &self.timeouts;
        let mut peer = HttpPeer::new(*address, self.tls, self.name.clone());
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect * 2);
        // The finer limits (first byte, idle) are kept by whoever watches the exchange.
        options.read_timeout = Some(timeouts.first_byte.max(timeouts.idle));
        options.write_timeout = Some(timeouts.idle);
        options.idle_timeout = Some(POOL_IDLE);
        options.alpn = if self.tls { ALPN::H2H1 } else { ALPN::H1 };
        options.max_h2_streams = H2_STREAMS;
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            count: 3,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::from_secs(60),
        });
        Ok(Box::new(peer))
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>> {
        if let Some(known) = self.known(Some(ADDRESSES_TTL)) {
            return Ok(known);
        }
        let host = self.name.trim_start_matches('[').trim_end_matches(']');
        let limit = self.timeouts.connect;
        let found = tokio::time::timeout(limit, tokio::net::lookup_host((host, self.port))).await;
        match found {
            Ok(Ok(list)) => {
                let list: Vec<SocketAddr> = list.collect();
                let entry = Addresses {
                    list: list.clone(),
                    looked_up: Instant::now(),
                };
                *self.addresses.lock() = Some(entry);
                Ok(list)
            }
            // Old addresses are better than none while the name service is away.
            failed => self.known(None).ok_or_else(|| {
                let why = match failed {
                    Ok(Err(e)) => e.to_string(),
                    _ => format!("no answer within {limit:?}"),
                };
                Error::explain(
                    ErrorType::ConnectNoRoute,
                    format!("cannot look up {}: {why}", self.name),
                )
            }),
        }
    }

    fn known(&self, not_older_than: Option<Duration>) -> Option<Vec<SocketAddr>> {
        let addresses = self.addresses.lock();
        let known = addresses.as_ref()?;
        let young = not_older_than.is_none_or(|max| known.looked_up.elapsed() < max);
        young.then(|| known.list.clone())
    }
}

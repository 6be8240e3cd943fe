//! How a connection to a server is made: TCP, TLS, credentials, and with sentinels which server.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, Value};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::slots::Addr;

/// From the first packet to a server that answers. It is nobody's wait: operations fail meanwhile.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// One sentinel of several may be dead.
const SENTINEL_MAX: Duration = Duration::from_secs(1);
/// Commands between operations and the socket; beyond it operations wait, within their deadline.
const QUEUE_MAX: usize = 64;
/// Bytes that gather for one write to the socket.
const WRITE_BYTES: usize = 32 * 1024;

/// Moves bytes between operations and the socket; ends with the connection.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// The network's fault.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server's, or of the credentials.
    #[error("{0}")]
    Server(#[from] RedisError),
    /// Something answers, but not as a server of this mode does.
    #[error("{0}")]
    Answer(&'static str),
    /// Nothing answers.
    #[error("no answer in time")]
    Elapsed(#[from] Elapsed),
}

/// Which server a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This one.
    Node(Addr),
    /// Whichever the sentinels say is the master.
    Master {
        /// The sentinels.
        sentinels: Vec<Addr>,
        /// What they call it.
        name: String,
    },
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Node(addr) => addr.fmt(f),
            Target::Master { name, .. } => write!(f, "the master of {name}"),
        }
    }
}

/// Everything but the address.
pub struct Dialer {
    /// TLS, with the authorities it trusts.
    pub tls: Option<TlsConnector>,
    /// User and password of servers.
    pub server: RedisConnectionInfo,
    /// User and password of sentinels.
    pub sentinel: RedisConnectionInfo,
    /// Whether replicas are read from.
    pub readonly: bool,
}

/// TLS that trusts this file, or what the system trusts. Blocks: reads files.
pub fn connector(authorities: Option<&Path>) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let pem = std::fs::read(path)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(io::Error::other)?;
                roots.add(certificate).map_err(io::Error::other)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs()?);
        }
    }
    if roots.is_empty() {
        return Err(io::Error::other("no certificate authority to trust"));
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Dialer {
    /// Connects, within [`DIAL_MAX`].
    pub async fn dial(
        &self,
        target: &Target,
    ) -> Result<(MultiplexedConnection, Driver), DialError> {
        timeout(DIAL_MAX, async {
            match target {
                Target::Node(addr) => self.server(addr).await,
                Target::Master { sentinels, name } => self.master(sentinels, name).await,
            }
        })
        .await?
    }

    async fn server(&self, addr: &Addr) -> Result<(MultiplexedConnection, Driver), DialError> {
        let (mut connection, mut driver) = self.open(addr, &self.server).await?;
        let greeting = match self.readonly {
            // Without effect on a master.
            true => redis::cmd("READONLY"),
            false => redis::cmd("PING"),
        };
        ask(&mut connection, &mut driver, &greeting).await?;
        Ok((connection, driver))
    }

    async fn master(
        &self,
        sentinels: &[Addr],
        name: &str,
    ) -> Result<(MultiplexedConnection, Driver), DialError> {
        let mut error = DialError::Answer("no sentinel");
        for sentinel in sentinels {
            let master = match timeout(SENTINEL_MAX, self.resolve(sentinel, name)).await {
                Ok(Ok(master)) => master,
                Ok(Err(failed)) => {
                    error = failed;
                    continue;
                }
                Err(elapsed) => {
                    error = elapsed.into();
                    continue;
                }
            };
            let (mut connection, mut driver) = self.open(&master, &self.server).await?;
            // A sentinel may not have heard yet.
            match ask(&mut connection, &mut driver, &redis::cmd("ROLE")).await? {
                Value::Array(role) if text(role.first()) == Some("master") => {
                    return Ok((connection, driver));
                }
                _ => error = DialError::Answer("what the sentinel names is not a master"),
            }
        }
        Err(error)
    }

    async fn resolve(&self, sentinel: &Addr, name: &str) -> Result<Addr, DialError> {
        let (mut connection, mut driver) = self.open(sentinel, &self.sentinel).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer = ask(&mut connection, &mut driver, &question).await?;
        let Value::Array(fields) = answer else {
            return Err(DialError::Answer("the sentinel does not know this master"));
        };
        let host = text(fields.first());
        let port = text(fields.get(1)).and_then(|port| port.parse().ok());
        match (host, port) {
            (Some(host), Some(port)) => Ok(Addr {
                host: host.to_owned(),
                port,
            }),
            _ => Err(DialError::Answer("the sentinel does not name an address")),
        }
    }

    async fn open(
        &self,
        addr: &Addr,
        info: &RedisConnectionInfo,
    ) -> Result<(MultiplexedConnection, Driver), DialError> {
        let stream = TcpStream::connect((addr.host.as_str(), addr.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(addr.host.clone()).map_err(io::Error::other)?;
                greet(info, tls.connect(name, stream).await?).await
            }
            None => greet(info, stream).await,
        }
    }
}

async fn greet<S>(
    info: &RedisConnectionInfo,
    stream: S,
) -> Result<(MultiplexedConnection, Driver), DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The deadline is the caller's.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(QUEUE_MAX)
        .set_write_backpressure_boundary(WRITE_BYTES);
    let (connection, driver) = MultiplexedConnection::new_with_config(info, stream, config).await?;
    Ok((connection, Box::pin(driver)))
}

/// One question over a connection that nobody drives yet.
async fn ask(
    connection: &mut MultiplexedConnection,
    driver: &mut Driver,
    question: &redis::Cmd,
) -> Result<Value, DialError> {
    tokio::select! {
        answer = connection.send_packed_command(question) => Ok(answer?.extract_error()?),
        () = driver => Err(DialError::Answer("the server closed the connection")),
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

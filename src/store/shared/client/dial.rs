//! How a connection to a server is made: TCP, TLS, credentials, and with sentinels which server.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, Value};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::slots::Addr;
use super::stream::{Cause, Stream};

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
    /// The same, once there was a connection.
    #[error("{0}")]
    Broken(String),
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
    /// TLS, with the authorities it trusts and who we are.
    pub tls: Option<TlsConnector>,
    /// User and password of servers.
    pub server: RedisConnectionInfo,
    /// User and password of sentinels.
    pub sentinel: RedisConnectionInfo,
    /// Whether replicas are read from.
    pub readonly: bool,
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
        let mut fresh = self.open(addr, &self.server).await?;
        let greeting = match self.readonly {
            // Without effect on a master.
            true => redis::cmd("READONLY"),
            false => redis::cmd("PING"),
        };
        fresh.ask(&greeting).await?;
        Ok((fresh.connection, fresh.driver))
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
            let mut fresh = self.open(&master, &self.server).await?;
            // A sentinel may not have heard yet.
            match fresh.ask(&redis::cmd("ROLE")).await? {
                Value::Array(role) if text(role.first()) == Some("master") => {
                    return Ok((fresh.connection, fresh.driver));
                }
                _ => error = DialError::Answer("what the sentinel names is not a master"),
            }
        }
        Err(error)
    }

    async fn resolve(&self, sentinel: &Addr, name: &str) -> Result<Addr, DialError> {
        let mut fresh = self.open(sentinel, &self.sentinel).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer = fresh.ask(&question).await?;
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

    async fn open(&self, addr: &Addr, info: &RedisConnectionInfo) -> Result<Fresh, DialError> {
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

/// A connection that nobody drives yet.
struct Fresh {
    connection: MultiplexedConnection,
    driver: Driver,
    cause: Cause,
}

impl Fresh {
    async fn ask(&mut self, question: &redis::Cmd) -> Result<Value, DialError> {
        let answer = tokio::select! {
            answer = self.connection.send_packed_command(question) => {
                answer.and_then(Value::extract_error).map_err(DialError::from)
            }
            () = &mut self.driver => {
                Err(DialError::Answer("the server closed the connection"))
            }
        };
        answer.map_err(|error| blame(&self.cause, error))
    }
}

async fn greet<S>(info: &RedisConnectionInfo, stream: S) -> Result<Fresh, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The deadline is the caller's.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(QUEUE_MAX)
        .set_write_backpressure_boundary(WRITE_BYTES);
    let (stream, cause) = Stream::new(stream);
    match MultiplexedConnection::new_with_config(info, stream, config).await {
        Ok((connection, driver)) => Ok(Fresh {
            connection,
            driver: Box::pin(driver),
            cause,
        }),
        Err(error) => Err(blame(&cause, error.into())),
    }
}

/// What broke the stream says more than that it broke.
fn blame(cause: &Cause, error: DialError) -> DialError {
    match cause.get() {
        Some(cause) => DialError::Broken(cause.clone()),
        None => error,
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

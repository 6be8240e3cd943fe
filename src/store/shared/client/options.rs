//! What the engine is told, and what may be wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// How servers are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The one node.
    Single,
    /// The nodes are sentinels.
    Sentinel {
        /// What they call the master.
        master: String,
        /// User of the sentinels themselves.
        username: Option<String>,
        /// Password of the sentinels themselves.
        password: Option<String>,
    },
    /// The nodes are some of a cluster.
    Cluster,
}

/// A client's certificate and its key, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Ours first, then those that lead to an authority.
    pub certificate: PathBuf,
    /// Not encrypted.
    pub key: PathBuf,
}

/// What the engine needs to know. Not printable: it holds a password.
#[derive(Clone)]
pub struct Options {
    /// `host:port` each.
    pub nodes: Vec<String>,
    /// How servers are found.
    pub mode: Mode,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Certificate authorities in PEM; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// For servers that ask who we are, sentinels included.
    pub identity: Option<Identity>,
    /// ACL user; without it the default one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Whether values are read from replicas of a cluster.
    pub read_replicas: bool,
    /// For every operation.
    pub deadline: Duration,
}

/// Why there is no engine. All of these are the configuration's fault; a server is not needed.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Not an address.
    #[error("{0:?} is not host:port")]
    Node(String),
    /// None, or several where one is meant.
    #[error("{0}")]
    Nodes(&'static str),
    /// Authorities, certificate or key cannot be read or do not fit.
    #[error("cannot prepare TLS: {0}")]
    Tls(std::io::Error),
}

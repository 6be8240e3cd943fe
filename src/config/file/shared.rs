//! `shared`: the cache that replicas have in common.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::sections::value;
use super::super::units::{Bytes, List, OnOff, Span};

/// A server of the Redis protocol that several replicas share, below memory and disk.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shared {
    /// Servers of the Redis protocol (Valkey, Redis, Kvrocks) as host:port: one, or some of a cluster,
    /// or the sentinels. Empty: no shared tier.
    pub nodes: List<String>,
    /// The nodes are of a cluster. A few of them are enough: they tell about the others.
    pub cluster: OnOff,
    /// Name of the master that sentinels watch. The nodes are the sentinels then.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub sentinel: Option<String>,
    /// Connections use TLS, to sentinels as well.
    pub tls: OnOff,
    /// PEM file with the authorities that the servers' certificates are checked with. Absent: those of
    /// the system.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate for servers and sentinels that ask for one. Needs
    /// `key_file`, too. Absent: none is shown.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key of `cert_file`, not encrypted.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub key_file: Option<PathBuf>,
    /// User of the server's ACL. Absent: the default user.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub username: Option<String>,
    /// Environment variable with the password. Absent: none is sent.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub password_env: Option<String>,
    /// User at the sentinels, which have users of their own.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub sentinel_username: Option<String>,
    /// Environment variable with the password for the sentinels.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub sentinel_password_env: Option<String>,
    /// Answers are read from the replicas of a cluster, too. They may lag behind: a miss where there is
    /// an answer, or the one before the latest.
    pub read_replicas: OnOff,
    /// What all keys begin with: 1 to 64 bytes without braces and white space. Servers that are to share
    /// answers have the same one.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[^{}\s]+$"))]
    pub prefix: String,
    /// How long one operation may take, 1ms to 1s. Beyond that it counts as failed, and the request goes
    /// on without it.
    pub deadline: Span,
    /// The same question at several replicas at once costs one upstream call.
    pub single_flight: OnOff,
    /// Memory for answers on their way to the servers; beyond that new ones are not shared.
    pub write_queue_bytes_max: Bytes,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            nodes: List::default(),
            cluster: OnOff(false),
            sentinel: None,
            tls: OnOff(false),
            ca_file: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_env: None,
            sentinel_username: None,
            sentinel_password_env: None,
            read_replicas: OnOff(false),
            prefix: "llmc:".to_owned(),
            deadline: Span::millis(30),
            single_flight: OnOff(true),
            write_queue_bytes_max: Bytes::mib(64),
        }
    }
}

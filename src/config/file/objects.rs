//! `objects`: the bucket below the shared tier.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::sections::value;
use super::super::units::{Bytes, Span};

/// A bucket that speaks S3, below the shared tier, for answers that are not asked for often.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    /// Name of the bucket. Empty: there is none. It needs `shared.nodes`, where purges are remembered.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// URL of the service, without the bucket's name. Absent: Amazon's in the region.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub endpoint: Option<String>,
    /// PEM file with the authorities that the service's certificate is checked with. Absent: those of the
    /// system.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub ca_file: Option<PathBuf>,
    /// What all names in it begin with: up to 256 letters, digits and any of `._-/`. Servers that are to
    /// share answers have the same one.
    #[schemars(length(max = 256), regex(pattern = r"^[A-Za-z0-9._/-]*$"))]
    pub prefix: String,
    /// Environment variable with the access key. Absent, with the others: the identity that Amazon gives to
    /// the pod, the container or the machine.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub access_key_env: Option<String>,
    /// Environment variable with the secret key.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub secret_key_env: Option<String>,
    /// Environment variable with the session token that belongs to keys for a while.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub session_token_env: Option<String>,
    /// How long a miss waits for the bucket, 1ms to 1s. Beyond that the provider is asked.
    pub deadline: Span,
    /// An answer that is fresh for a shorter time is not written there.
    pub ttl_min: Span,
    /// Memory for answers on their way to the bucket; beyond that new ones are not written.
    pub write_queue_bytes_max: Bytes,
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            ca_file: None,
            prefix: "llm-cache/".to_owned(),
            access_key_env: None,
            secret_key_env: None,
            session_token_env: None,
            deadline: Span::millis(250),
            ttl_min: Span::secs(3600),
            write_queue_bytes_max: Bytes::mib(64),
        }
    }
}

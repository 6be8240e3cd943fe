//! A bucket: where it is, who asks, and what can be asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStoreExt, PutPayload, RetryConfig};

use super::connector::Connector;
use crate::key::Key;
use crate::outbound::Outbound;

/// One request, from the connect to the end of its answer.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// After the first attempt, for what a bucket cannot do at the moment (503, 429, a lost connection).
const RETRIES_MAX: usize = 2;
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// An error in XML, or credentials.
const BESIDE_OBJECTS: usize = 64 << 10;

/// Where a bucket is, and who asks. Not printable: it holds a secret.
#[derive(Clone)]
pub struct BucketOptions {
    /// Its URL without the bucket's name, or that of Amazon in the region.
    pub endpoint: Option<String>,
    /// The authorities that it is trusted by, in PEM; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// Its name.
    pub bucket: String,
    /// Its region, which is part of what is signed.
    pub region: String,
    /// What all names begin with.
    pub prefix: String,
    /// Who asks.
    pub credentials: Credentials,
}

/// Who asks.
#[derive(Clone)]
pub enum Credentials {
    /// These.
    Keys {
        /// The access key.
        access: String,
        /// The secret key.
        secret: String,
        /// Of a session; `None`: the keys are good without.
        session: Option<String>,
    },
    /// Whom these variables of Amazon's tools name (a web identity, a container), else the machine.
    Surroundings(BTreeMap<String, String>),
}

/// A bucket.
pub struct Bucket {
    s3: AmazonS3,
    prefix: String,
}

impl Bucket {
    /// Prepares the bucket; connects to nothing. Objects of more than `bytes_max` are not read.
    pub fn new(options: &BucketOptions, bytes_max: usize) -> object_store::Result<Bucket> {
        let answer_bytes_max = bytes_max.max(BESIDE_OBJECTS);
        let outbound = Outbound::new(REQUEST_MAX, answer_bytes_max, options.ca_file.as_deref());
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&options.bucket)
            .with_region(&options.region)
            .with_allow_http(true)
            // Not every server of this kind has the other way.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: RETRY_AFTER,
                    ..BackoffConfig::default()
                },
                max_retries: RETRIES_MAX,
                retry_timeout: REQUEST_MAX,
            })
            .with_http_connector(Connector(Arc::new(outbound)));
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder = match &options.credentials {
            Credentials::Keys {
                access,
                secret,
                session,
            } => {
                let builder = builder
                    .with_access_key_id(access)
                    .with_secret_access_key(secret);
                match session {
                    Some(session) => builder.with_token(session),
                    None => builder,
                }
            }
            Credentials::Surroundings(variables) => {
                let known = variables.iter().filter_map(|(name, value)| {
                    let key: AmazonS3ConfigKey = name.to_lowercase().parse().ok()?;
                    Some((key, value))
                });
                known.fold(builder, |builder, (key, value)| {
                    builder.with_config(key, value)
                })
            }
        };
        Ok(Bucket {
            s3: builder.build()?,
            prefix: options.prefix.clone(),
        })
    }

    /// What there is under a key. `None`: nothing.
    pub async fn get(&self, key: &Key) -> object_store::Result<Option<Bytes>> {
        match self.s3.get(&self.path(key)).await {
            Ok(found) => found.bytes().await.map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object, in the place of what is there.
    pub async fn put(&self, key: &Key, parts: Vec<Vec<u8>>) -> object_store::Result<()> {
        let payload = parts.into_iter().map(Bytes::from);
        let payload: PutPayload = payload.collect();
        self.s3.put(&self.path(key), payload).await.map(drop)
    }

    /// Removes an object, if there is one.
    pub async fn delete(&self, key: &Key) -> object_store::Result<()> {
        match self.s3.delete(&self.path(key)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => deleted,
        }
    }

    /// Folders of a byte, for people who look; the server does not need them.
    fn path(&self, key: &Key) -> Path {
        let name = key.to_string();
        let folder = name.get(..2).unwrap_or_default();
        Path::from(format!("{}{folder}/{name}", self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_amazons_tools_are_known() {
        for name in [
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_ENDPOINT_URL_STS",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_METADATA_ENDPOINT",
        ] {
            let key: Result<AmazonS3ConfigKey, _> = name.to_lowercase().parse();
            assert!(key.is_ok(), "{name}");
        }
    }

    #[test]
    fn objects_have_folders_and_a_prefix() {
        let options = BucketOptions {
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            ca_file: None,
            bucket: "answers".to_owned(),
            region: "us-east-1".to_owned(),
            prefix: "a/b-".to_owned(),
            credentials: Credentials::Surroundings(BTreeMap::new()),
        };
        let bucket = Bucket::new(&options, 1).unwrap();
        let name = bucket.path(&Key::from_bytes([0xab; 32])).to_string();
        assert_eq!(name, format!("a/b-ab/{}", "ab".repeat(32)));
    }
}

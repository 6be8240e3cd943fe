//! The bucket below the shared tier: where it is, who asks, and what fits together.

use std::collections::BTreeMap;

use super::super::error::Problems;
use super::super::file;
use super::super::path::Path;
use super::super::units::{Bytes, Span};
use super::super::{Objects, ObjectsCredentials, Server};
use super::{in_memory, pem, positive, secret, sized, upstream};

/// Amazon allows names of 1,024 bytes, of which the key takes 67.
const PREFIX_LEN_MAX: usize = 256;
/// A lease lives for two.
const DEADLINE_MAX: Span = Span::secs(1);
/// What Amazon's own tools read, and pods and containers are given.
const SURROUNDINGS: &[&str] = &[
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];

/// `None` without a bucket. What else stands in the section is checked all the same; only secrets are not
/// looked for.
pub fn build(
    file: Option<&file::Objects>,
    with_shared: bool,
    server: &Server,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Objects> {
    let file = file?;
    let path = |key| Path::from(["objects", key]);
    let mut name = |key, text: &str, most: usize, besides: &str, example: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || besides.contains(c);
        if text.len() > most || !text.chars().all(good) {
            let message = format!(
                "not up to {most} letters, digits and any of {besides} (write e.g. {example})"
            );
            problems.report(&path(key), message);
        }
    };
    name("bucket", &file.bucket, 63, ".-", "llm-cache");
    name("region", &file.region, 64, "-", "eu-central-1");
    name("prefix", &file.prefix, PREFIX_LEN_MAX, "._-/", "llm-cache/");
    if file.region.is_empty() {
        problems.report(&path("region"), "is empty (write e.g. us-east-1)");
    }
    let example = "https://s3.example.com";
    let endpoint = file.endpoint.as_deref().and_then(|endpoint| {
        let url = upstream::base_url(Some(endpoint), server, example);
        let url = url.map_err(|message| problems.report(&path("endpoint"), message));
        url.ok()
    });
    let tls = endpoint.as_ref().is_none_or(|url| url.scheme() == "https");
    if file.ca_file.is_some() && !tls {
        let message = "is used only with an https endpoint: remove it, or name one";
        problems.report(&path("ca_file"), message);
    }
    let deadline = positive(&path("deadline"), file.deadline, problems);
    if file.deadline > DEADLINE_MAX {
        let message = format!("{} is too long: at most {DEADLINE_MAX}", file.deadline);
        problems.report(&path("deadline"), message);
    }
    let queue = (Bytes::kib(64), Bytes::tib(1));
    let queue_path = path("write_queue_bytes_max");
    let queue = sized(&queue_path, file.write_queue_bytes_max, queue, problems);
    if file.bucket.is_empty() {
        return None;
    }
    if !with_shared {
        let message = "needs `shared.nodes`: which answers are purged is remembered there";
        problems.report(&path("bucket"), message);
    }
    if let Some(authorities) = &file.ca_file
        && let Err(message) = pem::certificates(authorities)
    {
        problems.report(&path("ca_file"), message);
    }
    Some(Objects {
        bucket: file.bucket.clone(),
        region: file.region.clone(),
        endpoint,
        ca_file: file.ca_file.clone(),
        prefix: file.prefix.clone(),
        credentials: credentials(file, env, problems)?,
        deadline,
        ttl_min: file.ttl_min.0,
        write_queue_bytes_max: in_memory(queue),
    })
}

fn credentials(
    file: &file::Objects,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<ObjectsCredentials> {
    let path = |key| Path::from(["objects", key]);
    let mut secret = |key, name: &Option<String>| {
        let name = name.as_deref()?;
        secret::store_key(name, &path(key), env, problems)
    };
    let access = secret("access_key_env", &file.access_key_env);
    let key = secret("secret_key_env", &file.secret_key_env);
    let session = secret("session_token_env", &file.session_token_env);
    match (&file.access_key_env, &file.secret_key_env) {
        (Some(_), Some(_)) => Some(ObjectsCredentials::Keys {
            access: access?,
            secret: key?,
            session,
        }),
        (None, None) if file.session_token_env.is_none() => {
            let known = SURROUNDINGS.iter().filter_map(|name| {
                let value = env.get(*name).filter(|value| !value.is_empty())?;
                Some(((*name).to_owned(), value.clone()))
            });
            Some(ObjectsCredentials::Surroundings(known.collect()))
        }
        (None, _) => {
            let message = "is missing: an access key and a secret key belong together";
            problems.report(&path("access_key_env"), message);
            None
        }
        (_, None) => {
            let message = "is missing: an access key and a secret key belong together";
            problems.report(&path("secret_key_env"), message);
            None
        }
    }
}

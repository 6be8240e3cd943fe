//! What is parsed: the configuration file, key by key. The comment on a field is its description in
//! the JSON Schema, so it speaks to the operator.
//!
//! Nothing is required here, so that one missing key does not hide the errors of others;
//! [`super::build`] says what is missing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sections::{optional_section, section, sections, value};
use super::units::{Address, Bytes, List, OnOff, Span};

mod objects;
mod shared;

pub use objects::Objects;
pub use shared::Shared;

/// Configuration of llm-cache-server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "llm-cache-server")]
pub struct File {
    /// Where the server listens and how it runs.
    #[serde(deserialize_with = "section")]
    pub server: Server,
    /// Limits on what clients may take; beyond them a request is refused or passed through.
    #[serde(deserialize_with = "section")]
    pub limits: Limits,
    /// The providers to ask. The first one is the default.
    #[serde(deserialize_with = "sections")]
    #[schemars(with = "Vec<Upstream>", length(min = 1))]
    pub upstreams: Vec<Option<Upstream>>,
    /// What is cached, for whom and for how long.
    #[serde(deserialize_with = "section")]
    pub cache: Cache,
    /// Where answers are kept and how much room they get.
    #[serde(deserialize_with = "section")]
    pub store: Store,
    /// The cache that replicas have in common. Absent, or without nodes: each has its own only.
    #[serde(
        deserialize_with = "optional_section",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Shared")]
    pub shared: Option<Shared>,
    /// A bucket for answers that are not asked for often. Absent: none.
    #[serde(
        deserialize_with = "optional_section",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Objects")]
    pub objects: Option<Objects>,
    /// What the server says about itself, on standard error.
    #[serde(deserialize_with = "section")]
    pub log: Log,
    /// Where traces of requests are sent. Absent: nowhere; a client's `traceparent` is passed on.
    #[serde(
        deserialize_with = "optional_section",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Tracing")]
    pub tracing: Option<Tracing>,
}

/// Where the server listens and how it runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Addresses for clients: HTTP/1.1 and HTTP/2 (cleartext h2c, or by ALPN with `tls`).
    pub listen: List<Address>,
    /// Serve TLS on `listen`. Absent: cleartext.
    #[serde(
        deserialize_with = "optional_section",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Tls")]
    pub tls: Option<Tls>,
    /// Address for operators: /metrics, /livez, /readyz, /cache/…. Keep it away from clients.
    pub admin: Address,
    /// Environment variable with the token that /cache/… on `admin` asks for. Absent: /cache/… is for
    /// requests from this machine only.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub admin_token_env: Option<String>,
    /// Worker threads; 0: one per core.
    pub threads: usize,
    /// How long in-flight answers may go on after SIGTERM. The server exits earlier if it is idle.
    pub shutdown_deadline: Span,
    /// How long an idle client connection is kept open; at least 1s.
    pub keepalive: Span,
    /// Answers from the cache are compressed for clients that accept it (zstd, br, gzip).
    pub compression: OnOff,
}

/// A certificate and its key, both in PEM files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["cert", "key"]))]
pub struct Tls {
    /// File with the certificate, followed by its intermediates.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub cert: Option<PathBuf>,
    /// File with the private key, not encrypted.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub key: Option<PathBuf>,
}

/// Limits on what clients may take.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest request body; a longer one is refused with 413.
    pub body_bytes_max: Bytes,
    /// How long a client may take to send its request's headers.
    pub header_timeout: Span,
    /// How long a client may pause while it sends a request body.
    pub body_timeout: Span,
    /// Longest answer that is recorded; a longer one still reaches the client, but is not kept.
    pub answer_bytes_max: Bytes,
    /// Answers in flight that further clients can join; beyond that, each request asks upstream
    /// itself.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub fills_max: usize,
    /// How long an answer may go on being fetched after its last client left.
    pub fill_detached_max: Span,
    /// A client is dropped if its answer makes no progress for so long. Kernels buffer megabytes, so at the default a client needs about 50 KB/s.
    pub write_timeout: Span,
}

/// A provider to ask.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "url"]))]
pub struct Upstream {
    /// Name of the upstream, which is also its path: /NAME/…. Lower-case letters, digits, dots,
    /// dashes, underscores; not a word of the paths such as `cache` or `v1`.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[a-z0-9][a-z0-9._-]*$"))]
    pub name: Option<String>,
    /// Base URL, ending where the API's own paths begin, such as https://api.openai.com/v1.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^https?://"))]
    pub url: Option<String>,
    /// Models that are asked here when the path names no upstream: patterns with `*` and `?`.
    pub models: List<String>,
    /// Environment variable with the API key that replaces the client's. Absent, with no
    /// `api_key_file` either: the client's own credential goes upstream.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub api_key_env: Option<String>,
    /// File with that API key, instead of `api_key_env`.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub api_key_file: Option<PathBuf>,
    /// How long this upstream may take.
    #[serde(deserialize_with = "section")]
    pub timeouts: Timeouts,
    /// What its tokens cost; for the metrics of money spent and saved. The first fit counts.
    #[serde(deserialize_with = "sections", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Price>")]
    pub prices: Vec<Option<Price>>,
}

/// What the tokens of some models cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["models", "input", "output"]))]
pub struct Price {
    /// The models: patterns with `*` and `?`.
    pub models: List<String>,
    /// Dollars for a million tokens of a question.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", range(min = 0))]
    pub input: Option<f64>,
    /// Dollars for a million tokens of an answer.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", range(min = 0))]
    pub output: Option<f64>,
}

/// How long an upstream may take.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect, TLS included. Only a failed connect is tried again.
    pub connect: Span,
    /// From the request sent to the first byte of its answer. Reasoning models think for minutes.
    pub first_byte: Span,
    /// Between two pieces of an answer.
    pub idle: Span,
}

/// What is cached, for whom and for how long.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// on: every path is cached. off: only paths under /cache.
    #[serde(rename = "default")]
    pub default_on: OnOff,
    /// Who may get the answer to whose question.
    pub scope: Scope,
    /// Says that everyone who can reach the port may read every answer. `scope: shared` demands it.
    pub trust_network: OnOff,
    /// How long an answer is fresh.
    pub ttl: Span,
    /// For so long after that it is still served at once, while one request asks anew.
    pub stale_while_revalidate: Span,
    /// For so long after that it is served in the place of a failure of the upstream (429, 5xx, a
    /// timeout, no connection).
    pub stale_if_error: Span,
    /// Other times for some requests. Of the rules that fit, the first one counts.
    #[serde(deserialize_with = "sections", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Rule>")]
    pub rules: Vec<Option<Rule>>,
    /// The longest time to live that a client can ask for with `x-llm-cache-ttl`.
    pub request_ttl_max: Span,
    /// Complete answers that are kept although a retry might mend them. Empty: none of these kinds.
    #[serde(skip_serializing_if = "List::is_empty")]
    pub keep: List<Keep>,
    /// What a client gets that retries by itself (`x-stainless-retry-count` above 0) and was given
    /// the stored answer before.
    pub retries: Retries,
    /// Embeddings are kept by text, so that only the texts of a batch that are not known are asked
    /// for.
    pub embeddings_by_item: OnOff,
    /// What becomes of an answer in flight when all its clients have left.
    pub abandoned: Abandoned,
    /// A failed answer (429, 5xx, no connection) is shared with identical requests arriving so soon
    /// after it, to spare a struggling upstream; 0s: only with those that were waiting.
    pub error_linger: Span,
}

/// Other times for some requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Only requests to this upstream.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub upstream: Option<String>,
    /// Only requests to this API, by its label in the metrics, such as `embeddings`.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub api: Option<String>,
    /// Only requests for these models: patterns with `*` and `?`. Empty: all.
    #[serde(skip_serializing_if = "List::is_empty")]
    pub models: List<String>,
    /// In the place of `cache.ttl`.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    pub ttl: Option<Span>,
    /// In the place of `cache.stale_while_revalidate`.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    pub stale_while_revalidate: Option<Span>,
    /// In the place of `cache.stale_if_error`.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    pub stale_if_error: Option<Span>,
}

/// A kind of complete answer that is not kept unless it is named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Ended by a limit on tokens.
    Length,
    /// Ended by a filter.
    Filtered,
    /// The model refused.
    Refused,
    /// Nothing a user or a tool could take.
    Empty,
    /// Arguments of a tool call that are not JSON.
    BadToolCall,
    /// An item of a list (embeddings and the like) that is null or empty.
    NullItem,
    /// Other items than were asked for.
    WrongCount,
}

/// What a client gets that retries by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Retries {
    /// A new answer: it may be retrying because of the stored one.
    #[default]
    Refresh,
    /// The stored answer.
    Hit,
}

/// Who may get the answer to whose question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Only clients with the same credential.
    #[default]
    Credential,
    /// Everyone who can reach the port.
    Shared,
}

/// What becomes of an answer in flight when all its clients have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Abandoned {
    /// It is fetched to its end and kept: it is paid for already.
    #[default]
    Finish,
    /// The connection to the upstream is closed.
    Stop,
}

/// Where answers are kept and how much room they get.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// off: answers are kept in memory, and in the shared tier if there is one; no directory is used.
    pub disk: OnOff,
    /// Directory of the database, made if it is not there; relative to the working directory.
    pub path: PathBuf,
    /// Memory for the answers used most.
    pub memory_bytes_max: Bytes,
    /// Disk for all answers; beyond that those go that have not been used for longest. At least 16MiB.
    pub disk_bytes_max: Bytes,
    /// Memory for answers on their way to the disk; beyond that new ones are not written.
    pub write_queue_bytes_max: Bytes,
    /// What a stored answer survives.
    pub durability: Durability,
    /// Namespaces (`x-llm-cache-namespace`) whose entries are not evicted, as long as they take less than
    /// half of the disk.
    pub pinned: List<String>,
}

/// What a stored answer survives. A clean end always keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Neither the death of the process nor a power failure: the last seconds or minutes are lost.
    None,
    /// The death of the process; a power failure costs what the system had not written yet.
    #[default]
    Process,
    /// A power failure: every write waits for the disk. Requests do not.
    Power,
}

/// What the server says about itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important lines that are still written.
    pub level: LogLevel,
}

/// Where traces of requests are sent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["endpoint"]))]
pub struct Tracing {
    /// Base URL of an OpenTelemetry collector (OTLP over HTTP), such as http://localhost:4318;
    /// /v1/traces is appended.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^https?://"))]
    pub endpoint: Option<String>,
    /// Share of the requests traced, 0 to 1. A client's `traceparent` has the say over its own.
    #[schemars(range(min = 0, max = 1))]
    pub sample_ratio: f64,
    /// The name of this service in the traces.
    pub service_name: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object per line, for machines.
    Json,
}

/// The least important log lines that are still written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Default for Server {
    fn default() -> Self {
        let address = |ip: Ipv4Addr, port| Address(SocketAddr::from((ip, port)));
        Self {
            listen: List::of([address(Ipv4Addr::UNSPECIFIED, 9999)]),
            tls: None,
            admin: address(Ipv4Addr::LOCALHOST, 9901),
            admin_token_env: None,
            threads: 0,
            shutdown_deadline: Span::secs(25),
            keepalive: Span::secs(60),
            compression: OnOff(true),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: Bytes::mib(32),
            header_timeout: Span::secs(10),
            body_timeout: Span::secs(60),
            answer_bytes_max: Bytes::mib(64),
            fills_max: 4096,
            fill_detached_max: Span::secs(10 * 60),
            write_timeout: Span::secs(60),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::secs(5),
            first_byte: Span::secs(300),
            idle: Span::secs(120),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            default_on: OnOff(true),
            scope: Scope::default(),
            trust_network: OnOff(false),
            ttl: Span::days(30),
            stale_while_revalidate: Span::secs(0),
            stale_if_error: Span::days(1),
            rules: Vec::new(),
            request_ttl_max: Span::days(30),
            keep: List::default(),
            retries: Retries::default(),
            embeddings_by_item: OnOff(true),
            abandoned: Abandoned::default(),
            error_linger: Span::millis(200),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            disk: OnOff(true),
            path: PathBuf::from("./data"),
            memory_bytes_max: Bytes::mib(512),
            disk_bytes_max: Bytes::gib(20),
            write_queue_bytes_max: Bytes::mib(64),
            durability: Durability::default(),
            pinned: List::default(),
        }
    }
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 0.05,
            service_name: "llm-cache-server".to_owned(),
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

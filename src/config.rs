//! The configuration that runs.
//!
//! One YAML file, overlaid with `LLM_CACHE__…` variables, is parsed ([`file`]), checked and built
//! into a [`Config`] ([`build`]). Whatever is wrong is reported at once, each error with its line
//! and column or the name of its variable. This room is the only reader of YAML and of environment
//! variables; the environment is handed in as a map, so that two servers with two environments fit
//! in one process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod build;
mod error;
mod file;
mod overlay;
mod parse;
mod path;
mod sections;
mod seed;
#[cfg(test)]
mod tests;
mod units;
mod yaml;

pub use build::{APIS, NAMESPACE_LEN_MAX, Secret, is_namespace};
pub use error::{ConfigError, Errors, Place};
pub use file::{Abandoned, Durability, Keep, LogFormat, Retries, Scope};

/// The commented configuration file as shipped; it is also what runs when there is no file at all.
pub const DEFAULT_YAML: &str = include_str!("../conf/llm-cache-server.yaml");

/// A whole configuration, checked: every address parses, every secret is there, every file was
/// readable.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Listeners, threads and the end.
    pub server: Server,
    /// Bounds on bodies, headers and waits.
    pub limits: Limits,
    /// At least one; the first is the default. Names are unique.
    pub upstreams: Vec<Upstream>,
    /// What is cached, for whom and for how long.
    pub cache: Cache,
    /// Where answers are kept.
    pub store: Store,
    /// What replicas have in common; `None`: nothing.
    pub shared: Option<Shared>,
    /// A bucket below that; only with `shared`.
    pub objects: Option<Objects>,
    /// How the server speaks.
    pub log: Log,
    /// Where traces go; `None`: nowhere.
    pub tracing: Option<Tracing>,
}

/// Where the server listens and how it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// At least one address; none of them overlaps another or `admin` (port 0 aside).
    pub listen: Vec<SocketAddr>,
    /// `None`: plain HTTP/1.1 and h2c.
    pub tls: Option<Tls>,
    /// Metrics and probes, and `/cache/…`.
    pub admin: SocketAddr,
    /// What `/cache/…` asks for; `None`: it is for requests from this machine only.
    pub admin_token: Option<Secret>,
    /// Worker threads, at least one; the file's 0 is already resolved to the number of cores.
    pub threads: usize,
    /// Zero ends the server at once.
    pub shutdown_deadline: Duration,
    /// How long an idle client connection stays open; at least one second.
    pub keepalive: Duration,
    /// Answers from the cache are compressed for clients that accept it.
    pub compression: bool,
}

/// A certificate and its key. Both files were readable and held the PEM blocks they should when the
/// configuration was loaded; whether they belong together is found out by whoever uses them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// PEM, the server's certificate first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Limits on what clients and fills may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of the longest request body.
    pub body_bytes_max: usize,
    /// Until a request's headers are complete.
    pub header_timeout: Duration,
    /// Between two reads of a request body.
    pub body_timeout: Duration,
    /// Bytes of the longest answer that is recorded; longer ones still reach the client.
    pub answer_bytes_max: usize,
    /// In-flight fills that others can join.
    pub fills_max: usize,
    /// How long a fill may go on after its last client left.
    pub fill_detached_max: Duration,
    /// A client whose answer makes no progress for so long is dropped.
    pub write_timeout: Duration,
}

/// One provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// `[a-z0-9][a-z0-9._-]*`, never a word of the path grammar.
    pub name: String,
    /// http or https, with a host, without query, fragment, credentials or a trailing slash in its
    /// path (a URL without a path has the path `/`: there is no other way to write that one).
    pub url: url::Url,
    /// Patterns with `*` and `?`.
    pub models: Vec<String>,
    /// `None`: only the client's own credential goes upstream.
    pub api_key: Option<ApiKey>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// What its tokens cost; the first that fits a model counts.
    pub prices: Vec<Price>,
}

/// What the tokens of some models cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Patterns with `*` and `?`, at least one.
    pub models: Vec<String>,
    /// What they cost.
    pub rate: Rate,
}

/// Dollars for a million tokens; finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Of a question.
    pub input: f64,
    /// Of an answer.
    pub output: f64,
}

impl Rate {
    /// Dollars for (input, output) tokens.
    pub fn dollars(self, (input, output): (u64, u64)) -> f64 {
        (input as f64 * self.input + output as f64 * self.output) / 1e6
    }
}

/// The key an upstream is asked with.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// Not empty, and valid as part of a header value.
    pub secret: Secret,
    /// true: replaces the client's credential. false: used only when the client sends none.
    pub replaces: bool,
}

/// How long an upstream may take; none of them is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two reads of the answer.
    pub idle: Duration,
}

/// What is cached, for whom and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// false: only paths under `/cache` are cached.
    pub default_on: bool,
    /// Who shares entries with whom.
    pub scope: Scope,
    /// The operator said that everyone who can reach the port may read every answer. Always true
    /// when `scope` is [`Scope::Shared`].
    pub trust_network: bool,
    /// For how long an answer is fresh, and usable after that, where no rule says otherwise.
    pub freshness: Freshness,
    /// Other times for some requests; the first one that fits counts.
    pub rules: Vec<Rule>,
    /// The longest time to live that a client can ask for.
    pub request_ttl_max: Duration,
    /// Bad answers that are kept all the same.
    pub keep: Vec<Keep>,
    /// What a client gets that retries by itself.
    pub retries: Retries,
    /// Embeddings are kept by text.
    pub embeddings_by_item: bool,
    /// What a fill does when all its clients have left.
    pub abandoned: Abandoned,
    /// A failed answer is shared with identical requests that arrive so soon after it; may be zero.
    pub error_linger: Duration,
}

impl Cache {
    /// For how long after its expiry an answer may be of use, by any rule.
    pub fn stale_max(&self) -> Duration {
        let rules = self.rules.iter().map(|rule| rule.freshness);
        rules
            .chain([self.freshness])
            .map(|times| times.stale_while_revalidate.max(times.stale_if_error))
            .max()
            .unwrap_or_default()
    }
}

/// For how long an answer can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// It is fresh; not zero.
    pub ttl: Duration,
    /// After that it is still served at once, while it is asked for anew.
    pub stale_while_revalidate: Duration,
    /// After that it is served where the upstream fails.
    pub stale_if_error: Duration,
}

/// Other times for the requests that fit all it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name of an upstream.
    pub upstream: Option<String>,
    /// The label of an API, one of [`APIS`].
    pub api: Option<String>,
    /// Patterns with `*` and `?`; none: all models.
    pub models: Vec<String>,
    /// The times, those it does not give taken from the section.
    pub freshness: Freshness,
}

/// Where answers are kept and how much room they get.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// false: memory and the shared tier only. What is said below about the database does not count.
    pub disk: bool,
    /// Directory of the database.
    pub path: PathBuf,
    /// Bytes of the hot tier and of what the database holds in memory.
    pub memory_bytes_max: usize,
    /// Bytes of the database's files.
    pub disk_bytes_max: u64,
    /// Bytes of finished answers waiting to be written.
    pub write_queue_bytes_max: usize,
    /// What a stored answer survives.
    pub durability: Durability,
    /// Namespaces whose entries are not evicted.
    pub pinned: Vec<String>,
}

/// A server of the Redis protocol below memory and disk, which several replicas share.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// `host:port`, at least one, none of them twice; exactly one if `mode` is
    /// [`SharedMode::Single`]. An IPv6 address stands in brackets.
    pub nodes: Vec<String>,
    /// What the nodes are.
    pub mode: SharedMode,
    /// To all of them, sentinels included.
    pub tls: bool,
    /// PEM, for `tls` only, and readable when the configuration was loaded; `None`: the authorities of
    /// the system.
    pub ca_file: Option<PathBuf>,
    /// For `tls` only: who we are, for servers that ask.
    pub identity: Option<Tls>,
    /// Only with a password; `None`: the default user.
    pub username: Option<String>,
    /// `None`: none is sent.
    pub password: Option<Secret>,
    /// Only with [`SharedMode::Cluster`].
    pub read_replicas: bool,
    /// 1 to 64 bytes, without braces, white space and control characters.
    pub prefix: String,
    /// Of one operation; 1ms to 1s.
    pub deadline: Duration,
    /// The same question at several replicas costs one upstream call.
    pub single_flight: bool,
    /// Bytes of finished answers waiting to be sent.
    pub write_queue_bytes_max: usize,
}

/// What the nodes of the shared tier are.
#[derive(Clone, Debug, PartialEq)]
pub enum SharedMode {
    /// One server.
    Single,
    /// Sentinels, which know where the server is.
    Sentinel {
        /// The name they know it by.
        master: String,
        /// At the sentinels; only with a password.
        username: Option<String>,
        /// At the sentinels.
        password: Option<Secret>,
    },
    /// Some nodes of a cluster.
    Cluster,
}

/// A bucket below the shared tier, for answers that are not asked for often.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// Its name, not empty.
    pub bucket: String,
    /// Not empty.
    pub region: String,
    /// http or https, without the bucket's name; `None`: Amazon's in the region.
    pub endpoint: Option<url::Url>,
    /// PEM, for https only, and readable when the configuration was loaded; `None`: the authorities of the
    /// system.
    pub ca_file: Option<PathBuf>,
    /// Up to 256 letters, digits and any of `._-/`.
    pub prefix: String,
    /// Who asks.
    pub credentials: ObjectsCredentials,
    /// Of a read; 1ms to 1s.
    pub deadline: Duration,
    /// What is fresh for a shorter time is not written; may be zero.
    pub ttl_min: Duration,
    /// Bytes of finished answers waiting to be written.
    pub write_queue_bytes_max: usize,
}

/// Who asks for objects.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectsCredentials {
    /// These keys.
    Keys {
        /// The access key.
        access: Secret,
        /// The secret key.
        secret: Secret,
        /// What belongs to keys for a while.
        session: Option<Secret>,
    },
    /// The identity of the pod, the container or the machine, by the variables that lead to it.
    Surroundings(BTreeMap<String, String>),
}

/// How the server speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: log::LevelFilter,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// http or https, the full path of the collector's trace receiver.
    pub endpoint: url::Url,
    /// 0 to 1, of the requests whose client has no say in it.
    pub sample_ratio: f64,
    /// Not empty.
    pub service_name: String,
}

/// Where the YAML comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file of the operator.
    File(&'a Path),
    /// [`DEFAULT_YAML`].
    Embedded,
}

/// Loads the YAML, lays `env` over it, checks and builds. Relative paths are taken from the working
/// directory. Reads the files the configuration names (secrets, certificates) to see that they are
/// usable.
///
/// # Errors
/// Every error of the file and of the variables at once, sorted by place. A file that cannot be
/// read, or is no YAML, is one error.
pub fn load(source: Source<'_>, env: &BTreeMap<String, String>) -> Result<Config, Errors> {
    load_changed(source, env, |_| {})
}

/// Loads what commands need that only talk to a server, or look at its store: they may run where the
/// server's secrets and certificates cannot be read. The token for the server's admin listener is
/// asked for only where it is wanted.
///
/// # Errors
/// As for [`load`].
pub fn load_for_tools(
    source: Source<'_>,
    env: &BTreeMap<String, String>,
    with_token: bool,
) -> Result<Config, Errors> {
    load_changed(source, env, |file| {
        file.server.tls = None;
        file.shared = None;
        file.objects = None;
        if !with_token {
            file.server.admin_token_env = None;
        }
        for upstream in file.upstreams.iter_mut().flatten() {
            upstream.api_key_env = None;
            upstream.api_key_file = None;
        }
    })
}

fn load_changed(
    source: Source<'_>,
    env: &BTreeMap<String, String>,
    change: impl FnOnce(&mut file::File),
) -> Result<Config, Errors> {
    let mut errors = Vec::new();
    let (text, origin) = yaml::open(source).map_err(Errors::one)?;
    let Some(document) = yaml::read(&text, &origin, &mut errors) else {
        return Err(Errors::new(errors));
    };
    let mut value = document.value;
    let mut problems = error::Problems::new(document.marks, errors);
    overlay::apply(&mut value, env, &mut problems);
    let mut file = parse::parse(value, &mut problems);
    let first = seed::apply(&mut file, env, problems.marks_mut());
    change(&mut file);
    let mut config = build::build(&file, env, &mut problems);
    problems.finish()?;
    if let Some(index) = first.filter(|index| *index < config.upstreams.len()) {
        let upstream = config.upstreams.remove(index);
        config.upstreams.insert(0, upstream);
    }
    Ok(config)
}

/// The JSON Schema of the configuration file, for editors and other checkers.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(file::File).to_value();
    unwrap_descriptions(&mut schema);
    schema
}

/// Descriptions are the doc comments of the types; their line breaks are those of the source code.
fn unwrap_descriptions(schema: &mut serde_json::Value) {
    use serde_json::Value;

    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" => *text = text.replace('\n', " "),
                    other => unwrap_descriptions(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_descriptions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

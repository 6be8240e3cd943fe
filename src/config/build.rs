//! From what was parsed to what runs: everything that makes sense only together with something
//! else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::error::Problems;
use super::file::{self, File, LogLevel};
use super::path::Path;
use super::units::{Bytes, List, Span};
use super::{Config, Limits, Log, Server, Store, Tracing};

mod cache;
mod objects;
mod pem;
mod secret;
mod shared;
mod upstream;

pub use cache::APIS;
pub use secret::Secret;

/// The most worker threads; more than this is a slip of the hand.
const THREADS_MAX: usize = 1024;
/// The most fills in flight: each costs memory, and a socket to the upstream.
const FILLS_MAX: usize = 1_000_000;
/// The longest name of a namespace, in bytes.
pub const NAMESPACE_LEN_MAX: usize = 64;

/// Builds the configuration. What is wrong goes to `problems`; the configuration is good only if
/// there are none.
pub fn build(file: &File, env: &BTreeMap<String, String>, problems: &mut Problems) -> Config {
    let server = server(&file.server, env, problems);
    let shared = shared::build(file.shared.as_ref(), env, problems);
    let objects = file.objects.as_ref();
    Config {
        limits: limits(&file.limits, problems),
        upstreams: upstream::build(file, &server, env, problems),
        cache: cache::build(file, problems),
        store: store(&file.store, problems),
        objects: objects::build(objects, shared.is_some(), &server, env, problems),
        shared,
        log: log(&file.log),
        tracing: tracing(file.tracing.as_ref(), &server, problems),
        server,
    }
}

fn server(file: &file::Server, env: &BTreeMap<String, String>, problems: &mut Problems) -> Server {
    let path = Path::from(["server"]);
    let mut listen = Vec::new();
    for (index, slot) in file.listen.0.iter().enumerate() {
        let path = path.key("listen").item(index);
        match slot {
            None => problems.report(&path, "an empty entry"),
            Some(address) if listen.iter().any(|other| overlap(*other, address.0)) => {
                problems.report(&path, format!("{address} is listed already"));
            }
            Some(address) => listen.push(address.0),
        }
    }
    if file.listen.0.is_empty() {
        problems.report(&path.key("listen"), "at least one address is needed");
    }
    if listen.iter().any(|address| overlap(*address, file.admin.0)) {
        let message = format!(
            "{} is among server.listen: operators need an own port",
            file.admin
        );
        problems.report(&path.key("admin"), message);
    }
    if file.threads > THREADS_MAX {
        problems.report(&path.key("threads"), format!("more than {THREADS_MAX}"));
    }
    let threads = match file.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Server {
        listen,
        tls: file
            .tls
            .as_ref()
            .and_then(|tls| pem::tls(tls, &path.key("tls"), problems)),
        admin: file.admin.0,
        admin_token: file.admin_token_env.as_deref().and_then(|name| {
            secret::admin_token(name, &path.key("admin_token_env"), env, problems)
        }),
        threads,
        shutdown_deadline: file.shutdown_deadline.0,
        // The server counts this one in seconds, where a fraction would become a zero: for ever.
        keepalive: lasting(
            &path.key("keepalive"),
            file.keepalive,
            Span::secs(1),
            problems,
        ),
        compression: file.compression.0,
    }
}

/// True if both cannot be bound at once. Port 0 is a fresh one each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || any(a.ip()) || any(b.ip()))
}

fn limits(file: &file::Limits, problems: &mut Problems) -> Limits {
    let path = |key| Path::from(["limits", key]);
    if !(1..=FILLS_MAX).contains(&file.fills_max) {
        problems.report(&path("fills_max"), format!("not between 1 and {FILLS_MAX}"));
    }
    let body = (Bytes::kib(1), Bytes::gib(1));
    let mut bytes = |key, value| in_memory(sized(&path(key), value, body, problems));
    let body_bytes_max = bytes("body_bytes_max", file.body_bytes_max);
    let answer_bytes_max = bytes("answer_bytes_max", file.answer_bytes_max);
    let mut time = |key, value| positive(&path(key), value, problems);
    Limits {
        body_bytes_max,
        header_timeout: time("header_timeout", file.header_timeout),
        body_timeout: time("body_timeout", file.body_timeout),
        answer_bytes_max,
        fills_max: file.fills_max,
        fill_detached_max: time("fill_detached_max", file.fill_detached_max),
        write_timeout: time("write_timeout", file.write_timeout),
    }
}

fn store(file: &file::Store, problems: &mut Problems) -> Store {
    let path = |key| Path::from(["store", key]);
    if file.path.as_os_str().is_empty() {
        problems.report(&path("path"), "is empty");
    }
    let mut bytes = |key, value, least, most| sized(&path(key), value, (least, most), problems);
    let (memory, disk) = (file.memory_bytes_max, file.disk_bytes_max);
    let queue = file.write_queue_bytes_max;
    Store {
        disk: file.disk.0,
        path: PathBuf::from(&file.path),
        memory_bytes_max: in_memory(bytes(
            "memory_bytes_max",
            memory,
            Bytes::mib(16),
            Bytes::tib(16),
        )),
        disk_bytes_max: bytes("disk_bytes_max", disk, Bytes::mib(16), Bytes::tib(1024)),
        write_queue_bytes_max: in_memory(bytes(
            "write_queue_bytes_max",
            queue,
            Bytes::kib(64),
            Bytes::tib(1),
        )),
        durability: file.durability,
        pinned: namespaces(&file.pinned, &path("pinned"), problems),
    }
}

/// Whether a text can be the name of a namespace: `A-Z a-z 0-9 . _ -`, not empty, not too long.
pub fn is_namespace(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAMESPACE_LEN_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

fn namespaces(list: &List<String>, path: &Path, problems: &mut Problems) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, slot) in list.0.iter().enumerate() {
        let path = path.item(index);
        match slot.as_deref() {
            None | Some("") => problems.report(&path, "an empty entry"),
            Some(name) if !is_namespace(name) => {
                let message = format!(
                    "`{name}` is not a namespace: 1 to {NAMESPACE_LEN_MAX} letters (a to z, A to Z), digits, \
                     dots, dashes, underscores"
                );
                problems.report(&path, message);
            }
            Some(name) if names.iter().any(|other| other == name) => {
                problems.report(&path, format!("`{name}` is listed already"));
            }
            Some(name) => names.push(name.to_owned()),
        }
    }
    names
}

fn log(file: &file::Log) -> Log {
    let level = match file.level {
        LogLevel::Off => LevelFilter::Off,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    };
    Log {
        format: file.format,
        level,
    }
}

fn tracing(
    file: Option<&file::Tracing>,
    server: &Server,
    problems: &mut Problems,
) -> Option<Tracing> {
    const RECEIVER: &str = "/v1/traces";
    let file = file?;
    let path = |key| Path::from(["tracing", key]);
    if !(0.0..=1.0).contains(&file.sample_ratio) {
        problems.report(&path("sample_ratio"), "not between 0 and 1");
    }
    if file.service_name.trim().is_empty() {
        problems.report(&path("service_name"), "is empty");
    }
    let endpoint = file.endpoint.as_deref();
    match upstream::base_url(endpoint, server, "http://localhost:4318") {
        Ok(mut url) => {
            if !url.path().ends_with(RECEIVER) {
                let base = url.path().trim_end_matches('/').to_owned();
                url.set_path(&format!("{base}{RECEIVER}"));
            }
            Some(Tracing {
                endpoint: url,
                sample_ratio: file.sample_ratio,
                service_name: file.service_name.clone(),
            })
        }
        Err(message) => {
            problems.report(&path("endpoint"), message);
            None
        }
    }
}

fn sized(path: &Path, value: Bytes, (least, most): (Bytes, Bytes), problems: &mut Problems) -> u64 {
    if value < least {
        problems.report(path, format!("{value} is too little: at least {least}"));
    }
    if value > most {
        problems.report(path, format!("{value} is too much: at most {most}"));
    }
    value.0
}

/// Saturates where memory is addressed with fewer bits.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn positive(path: &Path, value: Span, problems: &mut Problems) -> Duration {
    lasting(path, value, Span::millis(1), problems)
}

fn lasting(path: &Path, value: Span, least: Span, problems: &mut Problems) -> Duration {
    if value < least {
        problems.report(path, format!("{value} is too short: at least {least}"));
    }
    value.0
}

//! Logging: one access line per request, everything else through the `log` crate.

use std::io::Write;
use std::time::Duration;

use env_logger::{Builder, Target, fmt::Formatter};
use log::{LevelFilter, Record};
use serde_json::{Map, Value};

use crate::config::LogFormat;

/// The log target of access lines, for filters.
const ACCESS: &str = "access";
/// Text that clients choose (paths, model names) is cut to this many characters.
const CLIENT_TEXT_MAX: usize = 128;

/// As much of a client's text as logs and traces take.
pub fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(CLIENT_TEXT_MAX);
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

/// Sends the log to standard error. Call once.
pub fn init(format: LogFormat, level: LevelFilter) {
    let mut builder = Builder::new();
    builder.target(Target::Stderr);
    // Others stay quiet at every level: at debug, libraries print headers, and with them
    // credentials. What pingora's proxy says about single connections is in the access line.
    builder.filter_level(level.min(LevelFilter::Error));
    for trouble_of_single_connections in [
        "pingora_proxy",
        "pingora_core::apps",
        "pingora_core::connectors",
    ] {
        builder.filter_module(trouble_of_single_connections, LevelFilter::Off);
    }
    builder.filter_module("llm_cache_server", level);
    builder.filter_module(ACCESS, level);
    match format {
        LogFormat::Text => builder.format(text),
        LogFormat::Json => builder.format(json),
    };
    // A second logger in one process (only tests do that) leaves the first one in place.
    let _ = builder.try_init();
}

/// What there is to say about a finished request.
#[derive(Debug, Default)]
pub struct Line<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// Path without its query, which may carry a key.
    pub path: &'a str,
    /// Status sent; 499 if the client left before there was one.
    pub status: u16,
    /// How it was answered.
    pub outcome: Option<&'a str>,
    /// The API asked.
    pub api: Option<&'a str>,
    /// Name of the upstream.
    pub upstream: Option<&'a str>,
    /// The model the client named.
    pub model: Option<&'a str>,
    /// First bytes of the key, hex.
    pub key: Option<String>,
    /// First bytes of the tenant's digest, hex.
    pub tenant: Option<String>,
    /// The trace it belongs to.
    pub trace: Option<String>,
    /// Body bytes sent.
    pub bytes: usize,
    /// Until the answer's head.
    pub first_byte: Option<Duration>,
    /// Until the end.
    pub total: Duration,
    /// Why the cache was not used, or what went wrong.
    pub detail: Option<&'a str>,
    /// The framework's own words about a failure.
    pub error: Option<String>,
}

/// Writes access lines.
#[derive(Debug, Clone, Copy)]
pub struct AccessLog {
    format: LogFormat,
}

impl AccessLog {
    /// Lines in the format of the rest of the log.
    pub fn new(format: LogFormat) -> AccessLog {
        AccessLog { format }
    }

    /// Writes one line.
    pub fn write(&self, line: &Line<'_>) {
        if !log::log_enabled!(target: ACCESS, log::Level::Info) {
            return;
        }
        let fields = fields(line);
        match self.format {
            LogFormat::Json => log::info!(target: ACCESS, "{}", Value::Object(fields)),
            LogFormat::Text => {
                let pairs: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| match value {
                        Value::String(s) if is_plain(s) => format!("{name}={s}"),
                        value => format!("{name}={value}"),
                    })
                    .collect();
                log::info!(target: ACCESS, "{}", pairs.join(" "));
            }
        }
    }
}

fn fields(line: &Line<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    let millis = |d: Duration| Value::from((d.as_secs_f64() * 1e6).round() / 1e3);
    let mut text = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            fields.insert(name.into(), Value::from(cut(value)));
        }
    };
    text("method", Some(line.method));
    text("path", Some(line.path));
    text("outcome", line.outcome);
    text("api", line.api);
    text("upstream", line.upstream);
    text("model", line.model);
    text("key", line.key.as_deref());
    text("tenant", line.tenant.as_deref());
    text("trace", line.trace.as_deref());
    text("detail", line.detail);
    text("error", line.error.as_deref());
    fields.insert("status".into(), Value::from(line.status));
    fields.insert("bytes".into(), Value::from(line.bytes));
    if let Some(first_byte) = line.first_byte {
        fields.insert("first_byte_ms".into(), millis(first_byte));
    }
    fields.insert("total_ms".into(), millis(line.total));
    fields
}

/// Whether a value needs no quotes in a text line. Control characters never get there unescaped.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// The listener reports clients that hang up in the TLS handshake (port probes do) in the same
/// place and at the same level as ports that do not accept, which is for the operator.
fn is_client_trouble(record: &Record<'_>) -> bool {
    record.target() == "pingora_core::services::listening"
        && record
            .args()
            .to_string()
            .starts_with("Downstream handshake")
}

fn text(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    if is_client_trouble(record) {
        return Ok(());
    }
    let time = out.timestamp_millis();
    writeln!(
        out,
        "{time} {:5} {} {}",
        record.level(),
        record.target(),
        record.args()
    )
}

fn json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    if is_client_trouble(record) {
        return Ok(());
    }
    let mut fields = Map::new();
    fields.insert(
        "time".into(),
        Value::from(out.timestamp_millis().to_string()),
    );
    fields.insert(
        "level".into(),
        Value::from(record.level().as_str().to_ascii_lowercase()),
    );
    fields.insert("target".into(), Value::from(record.target()));
    let message = record.args().to_string();
    match serde_json::from_str(&message) {
        Ok(Value::Object(access)) if record.target() == ACCESS => fields.extend(access),
        _ => {
            fields.insert("message".into(), Value::from(message));
        }
    }
    writeln!(out, "{}", Value::Object(fields))
}

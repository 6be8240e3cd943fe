//! Logging: one access line per request, everything else through the `log` crate.

use std::io::{self, Write};

use env_logger::{Builder, Target, fmt::Formatter};
use log::{LevelFilter, Record};
use prometheus::IntCounter;
use serde_json::{Map, Value};

use crate::config::LogFormat;
pub use line::{Line, cut};
use sink::Sink;

mod line;
mod sink;

/// The log target of access lines, for filters.
const ACCESS: &str = "access";
/// What most lines are shorter than, in bytes.
const LINE_BYTES: usize = 512;

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

/// Writes access lines, off the threads that answer requests.
#[derive(Clone)]
pub struct AccessLog {
    format: LogFormat,
    /// `None`: the level leaves no room for them.
    sink: Option<Sink>,
}

impl AccessLog {
    /// Lines in the format of the rest of the log, from now on. `dropped` counts those that standard
    /// error did not take in time. Fails only if the system has no thread left.
    pub fn start(format: LogFormat, dropped: IntCounter) -> io::Result<AccessLog> {
        let wanted = log::log_enabled!(target: ACCESS, log::Level::Info);
        let sink = match wanted {
            true => Some(Sink::start(dropped)?),
            false => None,
        };
        Ok(AccessLog { format, sink })
    }

    /// Writes one line, soon. Never waits.
    pub fn write(&self, line: &Line<'_>) {
        if let Some(sink) = &self.sink {
            let mut text = Vec::with_capacity(LINE_BYTES);
            line.render(self.format, &mut text);
            sink.push(&text);
        }
    }

    /// Writes what waits, if standard error takes it. Blocks for a second at most.
    pub fn close(&self) {
        if let Some(sink) = &self.sink {
            sink.close();
        }
    }
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
    fields.insert("message".into(), Value::from(record.args().to_string()));
    writeln!(out, "{}", Value::Object(fields))
}

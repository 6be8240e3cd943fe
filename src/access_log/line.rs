//! What an access line says, and how.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::ACCESS;
use crate::config::LogFormat;
use crate::key::Key;
use crate::tenant::Tenant;

/// Text that clients choose (paths, model names) is cut to this many characters.
const CLIENT_TEXT_MAX: usize = 128;
/// As much of a key as finds it again, and short enough to read.
const KEY_DIGITS_LOGGED: usize = 16;

/// As much of a client's text as logs and traces take.
pub fn cut(text: &str) -> &str {
    if text.len() <= CLIENT_TEXT_MAX {
        return text;
    }
    let end = text.char_indices().nth(CLIENT_TEXT_MAX);
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
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
    /// The key of the answer, of which the beginning is said.
    pub key: Option<Key>,
    /// Who asked, of whose digest the beginning is said.
    pub tenant: Option<Tenant>,
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

impl Line<'_> {
    /// The beginning of the key, hexadecimal.
    pub fn key_text(&self) -> Option<String> {
        let digits = self.key?.hex().into_iter().take(KEY_DIGITS_LOGGED);
        Some(digits.map(char::from).collect())
    }

    /// Appends the line with its line break.
    pub fn render(&self, format: LogFormat, out: &mut Vec<u8>) {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let json = format == LogFormat::Json;
        // Writing into memory does not fail.
        let _ = match json {
            true => write!(
                out,
                r#"{{"time":"{time}","level":"info","target":"{ACCESS}""#
            ),
            false => write!(out, "{time} INFO  {ACCESS}"),
        };
        let mut fields = Fields { json, out };
        fields.text("method", Some(self.method));
        fields.text("path", Some(self.path));
        fields.number("status", self.status.into());
        fields.word("outcome", self.outcome);
        fields.word("api", self.api);
        fields.text("upstream", self.upstream);
        fields.text("model", self.model);
        if let Some(key) = &self.key {
            let digits = key.hex();
            fields.digits("key", digits.get(..KEY_DIGITS_LOGGED).unwrap_or(&digits));
        }
        if let Some(tenant) = &self.tenant {
            fields.digits("tenant", &tenant.short());
        }
        fields.text("trace", self.trace.as_deref());
        fields.number("bytes", self.bytes as u64);
        fields.millis("first_byte_ms", self.first_byte);
        fields.millis("total_ms", Some(self.total));
        fields.text("detail", self.detail);
        fields.text("error", self.error.as_deref());
        out.extend_from_slice(if json { b"}\n" } else { b"\n" });
    }
}

/// Appends names and values.
struct Fields<'a> {
    json: bool,
    out: &'a mut Vec<u8>,
}

impl Fields<'_> {
    /// `name` is a word of this program.
    fn name(&mut self, name: &str) {
        let (before, behind): (&[u8], &[u8]) = match self.json {
            true => (b",\"", b"\":"),
            false => (b" ", b"="),
        };
        self.out.extend_from_slice(before);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(behind);
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value.map(cut) else { return };
        self.name(name);
        if is_plain(value) {
            let quote: &[u8] = if self.json { b"\"" } else { b"" };
            self.out.extend_from_slice(quote);
            self.out.extend_from_slice(value.as_bytes());
            self.out.extend_from_slice(quote);
        } else {
            // Writing text into memory does not fail.
            let _ = serde_json::to_writer(&mut *self.out, value);
        }
    }

    /// A word of this program.
    fn word(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.digits(name, value.as_bytes());
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.append(value);
    }

    fn append(&mut self, value: u64) {
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(value).as_bytes());
    }

    /// A value that needs no escapes.
    fn digits(&mut self, name: &str, digits: &[u8]) {
        self.name(name);
        let quote: &[u8] = if self.json { b"\"" } else { b"" };
        for part in [quote, digits, quote] {
            self.out.extend_from_slice(part);
        }
    }

    fn millis(&mut self, name: &str, value: Option<Duration>) {
        let Some(value) = value else { return };
        self.name(name);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.append(micros / 1000);
        // With the 1 that keeps its zeros.
        let mut digits = itoa::Buffer::new();
        let thousandths = digits.format(1000 + micros % 1000).as_bytes();
        self.out.push(b'.');
        self.out
            .extend_from_slice(thousandths.get(1..).unwrap_or_default());
    }
}

/// Whether a value needs no escapes, nor quotes in a text line. Control characters never get there
/// unescaped.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            method: "POST",
            path: "/v1/chat/\u{1b}[31m\"x\n",
            status: 200,
            outcome: Some("hit"),
            model: Some("gpt 4"),
            key: Some(Key::from_bytes([0xab; 32])),
            bytes: 2041,
            first_byte: Some(Duration::from_micros(66)),
            total: Duration::from_micros(12_007),
            ..Line::default()
        }
    }

    fn rendered(format: LogFormat) -> String {
        let mut out = Vec::new();
        line().render(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_in_text() {
        let text = rendered(LogFormat::Text);
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
        assert_eq!(
            rest,
            "INFO  access method=POST path=\"/v1/chat/\\u001b[31m\\\"x\\n\" status=200 outcome=hit \
             model=\"gpt 4\" key=abababababababab bytes=2041 first_byte_ms=0.066 total_ms=12.007\n"
        );
    }

    #[test]
    fn a_line_in_json() {
        let text = rendered(LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "level": "info", "target": "access", "method": "POST", "path": line().path,
            "status": 200, "outcome": "hit", "model": "gpt 4", "key": "abababababababab",
            "bytes": 2041, "first_byte_ms": 0.066, "total_ms": 12.007, "time": value["time"],
        });
        assert_eq!(value, expected);
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(cut(&"é".repeat(500)), "é".repeat(128));
        assert_eq!(cut("short"), "short");
    }
}

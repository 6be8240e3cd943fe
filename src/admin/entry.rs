//! One entry with everything that is known of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::times;
use crate::store::record::Record;

/// Bytes of a body that are shown.
pub const BODY_SHOWN_MAX: usize = 4 << 20;

/// One entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// The key, as in `x-llm-cache-key`.
    pub key: String,
    /// The API's label in the metrics.
    pub api: String,
    /// The model as the client named it.
    pub model: String,
    /// The namespace.
    pub namespace: String,
    /// The beginning of the tenant's digest.
    pub tenant: String,
    /// When it was stored.
    pub stored: String,
    /// Until when it is fresh.
    pub expires: String,
    /// Whether it is.
    pub fresh: bool,
    /// Seconds since it was stored.
    pub age_seconds: u64,
    /// The HTTP status.
    pub status: u16,
    /// Whether it is an event stream.
    pub stream: bool,
    /// The headers that are replayed.
    pub headers: Vec<(String, String)>,
    /// Tokens that the provider counted.
    pub usage: Option<Usage>,
    /// In how many pieces it came.
    pub pieces: usize,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// How the body is given here.
    pub body_as: BodyAs,
    /// Only the beginning of it is given.
    pub body_truncated: bool,
    /// The body; absent if it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<Box<RawValue>>,
}

/// Tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of the question.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
}

/// How a body is written into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyAs {
    /// It is JSON and stands there as it is.
    Json,
    /// A string.
    Text,
    /// A string in base64.
    Base64,
}

impl Shown {
    /// Shows a record.
    pub fn of(record: &Record, with_body: bool, now_ms: u64) -> Result<Shown, serde_json::Error> {
        let about = &record.about;
        let (body_as, body) = body(record)?;
        Ok(Shown {
            key: record.key.to_string(),
            api: about.api.to_string(),
            model: about.model.to_string(),
            namespace: about.namespace.to_string(),
            tenant: hex::encode(about.tenant),
            stored: times::written(record.stored_ms),
            expires: times::written(record.expires_ms),
            fresh: record.is_fresh(now_ms),
            age_seconds: record.age_secs(now_ms),
            status: record.status,
            stream: record.stream,
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), lossy(value)))
                .collect(),
            usage: record.usage.map(|(input, output)| Usage { input, output }),
            pieces: record.chunks.len(),
            body_bytes: record.body.len(),
            body_as,
            body_truncated: record.body.len() > BODY_SHOWN_MAX,
            body: with_body.then_some(body),
        })
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The body as JSON: itself where it is that, else a text, else base64.
fn body(record: &Record) -> Result<(BodyAs, Box<RawValue>), serde_json::Error> {
    let whole = &record.body;
    let part = whole.get(..BODY_SHOWN_MAX).unwrap_or(whole);
    let says_json = record.headers.iter().any(|(name, value)| {
        name == CONTENT_TYPE && value.to_str().is_ok_and(|kind| kind.contains("json"))
    });
    // The value stands there as it came: numbers keep their digits, and members their order.
    if says_json
        && part.len() == whole.len()
        && let Ok(value) = serde_json::from_slice::<Box<RawValue>>(whole)
    {
        return Ok((BodyAs::Json, value));
    }
    let text = match std::str::from_utf8(part) {
        Ok(text) => Some(text),
        // A character that was cut in two is left out.
        Err(e) if e.error_len().is_none() && part.len() < whole.len() => part
            .get(..e.valid_up_to())
            .and_then(|part| std::str::from_utf8(part).ok()),
        Err(_) => None,
    };
    match text {
        Some(text) => Ok((BodyAs::Text, serde_json::value::to_raw_value(text)?)),
        None => {
            let digits = STANDARD.encode(part);
            Ok((BodyAs::Base64, serde_json::value::to_raw_value(&digits)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::key::Key;
    use crate::store::about::About;

    fn shown(kind: &'static str, body: impl Into<Bytes>) -> Shown {
        let record = Record {
            key: Key::from_bytes([1; 32]),
            stored_ms: 0,
            expires_ms: 1,
            generation: 0,
            about: Arc::new(About::new("chat", Some("m"), None, [0; 8], [0; 8])),
            status: 200,
            stream: false,
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static(kind))],
            body: body.into(),
            chunks: Vec::new(),
            usage: Some((1, 2)),
        };
        Shown::of(&record, true, 5).unwrap()
    }

    fn body_of(shown: &Shown) -> &str {
        shown.body.as_ref().unwrap().get()
    }

    #[test]
    fn json_stands_there_as_it_came() {
        let text = r#"{"b": 1.0, "a": 123456789012345678901234567890}"#;
        let json = shown("application/json", text);
        assert_eq!((json.body_as, body_of(&json)), (BodyAs::Json, text));
        let written = serde_json::to_string(&json).unwrap();
        assert!(written.contains(text));
        let read: Shown = serde_json::from_str(&written).unwrap();
        assert_eq!(body_of(&read), text);
        let broken = shown("application/json", "{");
        assert_eq!((broken.body_as, body_of(&broken)), (BodyAs::Text, r#""{""#));
    }

    #[test]
    fn text_is_a_string_and_the_rest_base64() {
        let text = shown("text/event-stream", "data: {}\n\n");
        assert_eq!(body_of(&text), r#""data: {}\n\n""#);
        let speech = shown("audio/mpeg", &b"\xff\xfb"[..]);
        assert_eq!(
            (speech.body_as, body_of(&speech)),
            (BodyAs::Base64, "\"//s=\"")
        );
    }

    #[test]
    fn of_a_long_body_the_beginning_is_shown() {
        let long = "é".repeat(BODY_SHOWN_MAX);
        let cut = shown("text/plain", format!("x{long}"));
        assert!(cut.body_truncated && cut.body_as == BodyAs::Text);
        assert_eq!(body_of(&cut).len(), BODY_SHOWN_MAX + 1);
        assert_eq!(cut.body_bytes, 2 * BODY_SHOWN_MAX + 1);
        let json = shown("application/json", format!("\"{long}\""));
        assert!(json.body_truncated && json.body_as == BodyAs::Text);
        let bytes = shown("text/plain", vec![0xff; BODY_SHOWN_MAX + 1]);
        assert!(bytes.body_truncated && bytes.body_as == BodyAs::Base64);
    }
}

//! What came back: status, fields, bytes, when, and whether the end was an end.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::framing::{Fields, field};

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By the framing's own end: length reached, final chunk, END_STREAM.
    Clean,
    /// By a broken connection or a reset stream; says how.
    Broken(String),
}

/// The status and fields of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    pub fields: Fields,
}

/// A whole answer, as far as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub head: Head,
    pub body: Bytes,
    pub end: End,
    /// When the first body byte arrived.
    pub first_byte: Option<Instant>,
}

impl Head {
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// The `x-llm-cache` word; empty if there is none.
    pub fn outcome(&self) -> &str {
        self.field("x-llm-cache").unwrap_or_default()
    }
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub fn outcome(&self) -> &str {
        self.head.outcome()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("not JSON ({error}): {}", self.dump()),
        }
    }

    /// The number of the upstream call that wrote this answer: the mock marks its ids `call-N`.
    #[track_caller]
    pub fn call(&self) -> usize {
        let text = self.text();
        let digits = text.split("call-").nth(1).map(|t| {
            t.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        });
        match digits.and_then(|d| d.parse().ok()) {
            Some(number) => number,
            None => panic!("no call number in {}", self.dump()),
        }
    }

    /// Clean, with this status and this `x-llm-cache` word (empty: without the header).
    #[track_caller]
    pub fn is(&self, status: u16, outcome: &str) -> &Self {
        let same = self.head.status == status && self.outcome() == outcome;
        if !same || self.end != End::Clean {
            panic!("expected a clean {status} {outcome:?}, got {}", self.dump());
        }
        self
    }

    #[track_caller]
    pub fn is_clean(&self, status: u16) -> &Self {
        if self.head.status != status || self.end != End::Clean {
            panic!("expected a clean {status}, got {}", self.dump());
        }
        self
    }

    #[track_caller]
    pub fn is_broken(&self) -> &Self {
        if self.end == End::Clean {
            panic!("expected a broken answer, got {}", self.dump());
        }
        self
    }

    /// Clean, with this status and an error object of the OpenAI shape.
    #[track_caller]
    pub fn is_error(&self, status: u16) -> &Self {
        self.is_clean(status);
        let error = self.json()["error"].clone();
        let shaped = error["message"].as_str().is_some_and(|m| !m.is_empty())
            && error["type"].as_str().is_some_and(|t| !t.is_empty())
            && error.get("param").is_some_and(Value::is_null)
            && error.get("code").is_some();
        let json = self
            .field("content-type")
            .is_some_and(|t| t.starts_with("application/json"));
        if !shaped || !json {
            panic!(
                "expected a JSON error object of the OpenAI shape, got {}",
                self.dump()
            );
        }
        self
    }

    /// The parts of `Cache-Status`, the cache's name first.
    #[track_caller]
    pub fn cache_status(&self) -> Vec<String> {
        let Some(value) = self.field("cache-status") else {
            panic!("no cache-status in {}", self.dump());
        };
        let parts: Vec<_> = value.split(';').map(|p| p.trim().to_owned()).collect();
        assert_eq!(parts[0], "llm-cache-server", "cache-status: {value}");
        parts
    }

    /// `Cache-Status` carries this part, exactly.
    #[track_caller]
    pub fn says(&self, part: &str) -> &Self {
        if !self.cache_status().iter().any(|p| p == part) {
            panic!("cache-status lacks {part:?} in {}", self.dump());
        }
        self
    }

    /// Everything a failure message needs.
    pub fn dump(&self) -> String {
        let mut text = self.text();
        if text.len() > 600 {
            let mut at = 600;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.truncate(at);
            text.push('…');
        }
        let fields: String = self
            .head
            .fields
            .iter()
            .map(|(n, v)| format!("\n    {n}: {v}"))
            .collect();
        let (status, end, length) = (self.head.status, &self.end, self.body.len());
        format!("\n  status {status}, end {end:?}, {length} bytes{fields}\n    {text}")
    }
}

/// Puts an answer together while its pieces arrive.
pub struct Gathering {
    head: Head,
    body: BytesMut,
    first_byte: Option<Instant>,
}

impl Gathering {
    pub fn new(head: Head) -> Self {
        Self {
            head,
            body: BytesMut::new(),
            first_byte: None,
        }
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn push(&mut self, piece: &[u8]) {
        if !piece.is_empty() {
            self.first_byte.get_or_insert_with(Instant::now);
        }
        self.body.extend_from_slice(piece);
    }

    /// How often `text` has arrived so far.
    pub fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.body).matches(text).count()
    }

    pub fn end(self, end: End) -> Answer {
        let Self {
            head,
            body,
            first_byte,
        } = self;
        Answer {
            head,
            body: body.freeze(),
            end,
            first_byte,
        }
    }
}

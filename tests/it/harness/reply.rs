//! What the mock upstream hears and how it answers, step by step.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::gate::Gate;

/// One request as the upstream received it, whole.
#[derive(Debug, Clone)]
pub struct Call {
    /// Counts from 1 over all requests of this origin.
    pub number: usize,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub version: http::Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn streams(&self) -> bool {
        self.json()["stream"] == json!(true)
    }

    pub fn model(&self) -> String {
        self.json()["model"].as_str().unwrap_or("none").to_owned()
    }
}

/// One step of an answer's body.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Bytes),
    Pause(Duration),
    Hold(Gate),
    /// Drops the connection (HTTP/1.1) or resets the stream (HTTP/2) without an end.
    Break,
}

/// One answer of the mock.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Closed gates in front of the head.
    pub before: Vec<Gate>,
    pub steps: Vec<Step>,
    /// Sends a `Content-Length` instead of chunks.
    pub sized: bool,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), content_type.into())],
            before: Vec::new(),
            steps: vec![Step::Send(body.into())],
            sized: true,
        }
    }

    pub fn json(status: u16, body: Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// An event stream, one step per frame; the frames are sent as they are.
    pub fn frames<S: Into<Bytes>>(frames: impl IntoIterator<Item = S>) -> Self {
        let mut reply = Self::new(200, "text/event-stream; charset=utf-8", "");
        reply.steps = frames
            .into_iter()
            .map(|frame| Step::Send(frame.into()))
            .collect();
        reply.sized = false;
        reply
    }

    /// An error as OpenAI words it.
    pub fn error(status: u16, message: &str) -> Self {
        Self::json(status, error_object(message))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Holds the head back until the gate opens.
    pub fn held(mut self, gate: &Gate) -> Self {
        self.before.push(gate.clone());
        self
    }

    /// Holds back what follows the first `frames` steps.
    pub fn held_after(mut self, frames: usize, gate: &Gate) -> Self {
        self.sized = false;
        self.steps.insert(frames, Step::Hold(gate.clone()));
        self
    }

    /// Breaks behind the first `frames` steps.
    pub fn broken_after(mut self, frames: usize) -> Self {
        self.sized = false;
        self.steps.truncate(frames);
        self.steps.push(Step::Break);
        self
    }

    /// Pauses in front of every frame.
    pub fn paced(mut self, gap: Duration) -> Self {
        self.sized = false;
        self.steps = self
            .steps
            .into_iter()
            .flat_map(|s| [Step::Pause(gap), s])
            .collect();
        self
    }

    /// Says its length, and ends this long after its last byte: over HTTP/2 in a frame of its own.
    pub fn ending_apart(mut self, gap: Duration) -> Self {
        let length = self.bytes().len().to_string();
        self = self.header("content-length", &length);
        self.sized = false;
        self.steps.push(Step::Pause(gap));
        self
    }

    /// All bytes this answer sends.
    pub fn bytes(&self) -> Bytes {
        let sent = self.steps.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(bytes.to_vec()),
            Step::Pause(_) | Step::Hold(_) | Step::Break => None,
        });
        sent.collect::<Vec<_>>().concat().into()
    }
}

pub fn error_object(message: &str) -> Value {
    json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}})
}

//! Requests as values: what is asked, and how its body goes over the wire.

use bytes::Bytes;
use serde_json::{Value, json};

/// How a request body is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// No body and no framing header.
    Nothing,
    /// With a `Content-Length`.
    Length,
    /// Without one: chunks (HTTP/1.1) or data frames (HTTP/2) of these sizes, over and over.
    Pieces(Vec<usize>),
}

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub sending: Sending,
}

/// The model the stories ask when the model does not matter.
pub const MODEL: &str = "gpt-4o";

impl Ask {
    /// A POST of `body` as JSON with the credential every story uses unless it brings its own.
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self {
            method: "POST".into(),
            path: path.into(),
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("authorization".into(), "Bearer sk-test".into()),
            ],
            body: body.into(),
            sending: Sending::Length,
        }
    }

    /// A request without a body.
    pub fn bodiless(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: vec![("authorization".into(), "Bearer sk-test".into())],
            body: Bytes::new(),
            sending: Sending::Nothing,
        }
    }

    pub fn get(path: &str) -> Self {
        Self::bodiless("GET", path)
    }

    /// Adds a header, or replaces the one of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn cache_control(self, value: &str) -> Self {
        self.header("cache-control", value)
    }

    pub fn to(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// Sent without a length, in pieces of these sizes, over and over.
    pub fn pieces(mut self, sizes: &[usize]) -> Self {
        self.sending = Sending::Pieces(sizes.to_vec());
        self
    }

    /// Waits for `100 Continue` (HTTP/1.1) before it sends the body.
    pub fn expecting(self) -> Self {
        self.header("expect", "100-continue")
    }

    pub fn expects(&self) -> bool {
        self.headers
            .iter()
            .any(|(n, v)| n == "expect" && v == "100-continue")
    }

    /// The body cut into the pieces it is sent in.
    pub fn cut(&self) -> Vec<Bytes> {
        let Sending::Pieces(sizes) = &self.sending else {
            return vec![self.body.clone()];
        };
        let mut rest = self.body.clone();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            pieces.push(rest.split_to((*size).min(rest.len())));
        }
        pieces
    }
}

/// The body of a chat question.
pub fn chat_body(question: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": question}]})
}

/// A chat question with a plain JSON answer.
pub fn chat(question: &str) -> Ask {
    Ask::post("/v1/chat/completions", chat_body(question).to_string())
}

/// A chat question with a streamed answer.
pub fn chat_stream(question: &str) -> Ask {
    let mut body = chat_body(question);
    body["stream"] = json!(true);
    Ask::post("/v1/chat/completions", body.to_string())
}

/// A chat question whose body is exactly `size` bytes long (at least 100).
pub fn chat_of_size(tag: &str, size: usize) -> Ask {
    let empty = chat_body(&format!("{tag} ")).to_string().len();
    assert!(
        size >= empty,
        "a question tagged {tag:?} takes {empty} bytes at least"
    );
    let filling: String = (0..size - empty)
        .map(|i| char::from(b'a' + (i % 23) as u8))
        .collect();
    let ask = chat(&format!("{tag} {filling}"));
    assert_eq!(ask.body.len(), size);
    ask
}

/// A completions question.
pub fn completion(prompt: &str) -> Ask {
    Ask::post(
        "/v1/completions",
        json!({"model": MODEL, "prompt": prompt}).to_string(),
    )
}

/// An embeddings question.
pub fn embeddings(inputs: &[&str]) -> Ask {
    let body = json!({"model": "text-embedding-3-small", "input": inputs});
    Ask::post("/v1/embeddings", body.to_string())
}

/// A question to the responses API that leaves no state behind.
pub fn responses(input: &str, stream: bool) -> Ask {
    let body = json!({"model": MODEL, "input": input, "store": false, "stream": stream});
    Ask::post("/v1/responses", body.to_string())
}

/// A question to the Anthropic messages API, credential and version as its SDK sends them.
pub fn messages(question: &str, stream: bool) -> Ask {
    let body = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 64, "stream": stream,
        "messages": [{"role": "user", "content": question}],
    });
    Ask::post("/v1/messages", body.to_string())
        .without("authorization")
        .header("x-api-key", "sk-ant-test")
        .header("anthropic-version", "2023-06-01")
}

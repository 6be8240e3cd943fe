//! What a chat request asks, what the stand-in says to it, and how it refuses what it cannot read.

use http::StatusCode;
use serde_json::{Map, Value, json};

/// A question may be quoted in its answer, up to here.
const QUOTE_CHARS_MAX: usize = 60;

/// The parts of a chat request, OpenAI's or Anthropic's, that shape the answer.
pub(super) struct Ask {
    pub model: String,
    pub stream: bool,
    /// The answer, cut where the request says so.
    pub tokens: Vec<String>,
    /// The answer was longer than the request allows.
    pub cut: bool,
    /// One for each word of the question.
    pub prompt_tokens: usize,
    /// `stream_options.include_usage`.
    pub include_usage: bool,
}

impl Ask {
    /// Reads a body. `tokens_max` are the names a limit may have, in order of precedence.
    pub fn read(body: &[u8], tokens_max: &[&str]) -> Result<Ask, Refusal> {
        let request = object(body)?;
        let question = question(&request)?;
        let limit = tokens_max
            .iter()
            .find_map(|name| request.get(*name).filter(|v| !v.is_null()));
        let limit = match limit.map(Value::as_u64) {
            None => usize::MAX,
            Some(Some(limit @ 1..)) => usize::try_from(limit).unwrap_or(usize::MAX),
            Some(_) => return Err(Refusal::bad("the token limit must be a positive integer")),
        };
        if request
            .get("n")
            .is_some_and(|n| !n.is_null() && n.as_u64() != Some(1))
        {
            return Err(Refusal::bad("the stand-in gives one choice: n must be 1"));
        }
        let mut tokens: Vec<String> = answer(&question)
            .split_inclusive(' ')
            .map(str::to_owned)
            .collect();
        let cut = tokens.len() > limit;
        tokens.truncate(limit);
        Ok(Ask {
            model: model(&request)?,
            stream: flag(request.get("stream"), "stream")?,
            tokens,
            cut,
            prompt_tokens: question.split_whitespace().count(),
            include_usage: flag(
                request
                    .get("stream_options")
                    .and_then(|o| o.get("include_usage")),
                "include_usage",
            )?,
        })
    }
}

/// Why a request gets no answer, in the two shapes clients know.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    message: &'static str,
}

impl Refusal {
    pub fn new(status: StatusCode, message: &'static str) -> Refusal {
        Refusal { status, message }
    }

    pub fn bad(message: &'static str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn openai(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": "invalid_request_error",
            "param": null,
            "code": null,
        }})
    }

    pub fn anthropic(&self) -> Value {
        let kind = match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            _ => "invalid_request_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": self.message}})
    }
}

pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::bad("the body must be a JSON object")),
        Err(_) => Err(Refusal::bad("the body is not valid JSON")),
    }
}

pub(super) fn model(request: &Map<String, Value>) -> Result<String, Refusal> {
    match request.get("model").and_then(Value::as_str) {
        Some(model) if !model.is_empty() => Ok(model.to_owned()),
        _ => Err(Refusal::bad("model must be a string that is not empty")),
    }
}

fn flag(value: Option<&Value>, name: &'static str) -> Result<bool, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) if name == "stream" => Err(Refusal::bad("stream must be a boolean")),
        Some(_) => Err(Refusal::bad(
            "stream_options.include_usage must be a boolean",
        )),
    }
}

/// The text of the last user message.
fn question(request: &Map<String, Value>) -> Result<String, Refusal> {
    let Some(messages) = request.get("messages").and_then(Value::as_array) else {
        return Err(Refusal::bad("messages must be an array"));
    };
    let is_user = |message: &&Value| message.get("role").and_then(Value::as_str) == Some("user");
    let Some(message) = messages.iter().rev().find(is_user) else {
        return Err(Refusal::bad("messages must hold one with the role user"));
    };
    match message.get("content") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str));
            Ok(texts.collect::<Vec<_>>().join(" "))
        }
        _ => Err(Refusal::bad(
            "content must be a string or an array of parts",
        )),
    }
}

fn answer(question: &str) -> String {
    let lower = question.to_lowercase();
    let has = |word: &str| lower.contains(word);
    let text = if has("at once") || has("same moment") {
        "When a hundred people ask the same thing at the same moment, only one answer needs to be \
         made. The first question goes to the model; the others listen in, token by token, as if \
         each had asked alone. One bill is paid, and nobody waits longer than the first."
    } else if has("stream") {
        "Streaming lets you read while the model is still thinking. Each token leaves the moment \
         it is known, so the first word is before you long before the last one exists. A good \
         cache passes every token on as it comes, and remembers the whole for the next reader."
    } else if has("cache") {
        "A cache keeps the answers that were dear to make and hands them out again for next to \
         nothing. The first to ask waits and pays; everyone after gets the very same bytes. The \
         art lies in knowing when two questions are truly the same."
    } else {
        let quote: String = question
            .chars()
            .filter(|c| !c.is_control())
            .take(QUOTE_CHARS_MAX)
            .collect();
        return format!(
            "You asked: \"{}\" I am a stand-in and have no opinion on that, but I take as long as \
             a real model would. Ask again, word for word, and the cache will answer in my place, \
             before I have cleared my throat.",
            quote.trim()
        );
    };
    text.to_owned()
}

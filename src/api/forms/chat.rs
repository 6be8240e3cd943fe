//! OpenAI chat completions.

use super::events;
use super::json::{Fields, array, is_null, items, object, string, text};
use super::{same, stream_bytes_max};

mod fold;
mod usage;

pub(super) use usage::without_usage;

const OBJECT: &str = "chat.completion";
const CHUNK: &str = "chat.completion.chunk";

/// Most tool calls of a message that is made a stream. Each is a chunk or two, held together until
/// they are written.
const CALLS_MAX: usize = 1024;

/// See [`super::to_json`].
pub(super) fn to_json(stream: &[u8]) -> Option<Vec<u8>> {
    let folded = fold::fold(stream, true)?;
    let again = fold::fold(&expand(&folded, true)?, true)?;
    same(&again, &folded).then(|| folded.into_bytes())
}

/// See [`super::to_stream`].
pub(super) fn to_stream(json: &str, usage: bool) -> Option<Vec<u8>> {
    let answer = Fields::read(json)?;
    let counted = answer.some("usage").is_some();
    let stream = expand(json, counted)?;
    let folded = fold::fold(&stream, counted)?;
    let told = match counted {
        true => json.to_owned(),
        false => answer.without(&["usage"]).json(),
    };
    if !same(&folded, &told) {
        return None;
    }
    match usage == counted {
        true => Some(stream),
        false => expand(json, usage),
    }
}

/// One chunk for the role and all that stands beside the text, one for each text, two for each
/// tool call, one for the end.
fn expand(json: &str, usage: bool) -> Option<Vec<u8>> {
    let answer = Fields::read(json)?;
    if !answer.says("object", OBJECT) {
        return None;
    }
    let chunk = string(CHUNK);
    let mut head = answer
        .clone()
        .without(&["choices", "usage"])
        .with("object", chunk.as_str());
    if usage {
        head.set("usage", "null");
    }
    let mut out = Vec::new();
    for choice in items(answer.get("choices")?)? {
        for piece in pieces(choice)? {
            let choices = array([piece]);
            events::write(&mut out, &head.clone().with("choices", choices).json());
            // All chunks have the head, so that a large one soon passes the limit.
            if out.len() > stream_bytes_max(json) {
                return None;
            }
        }
    }
    if usage {
        let last = head
            .with("choices", "[]")
            .with("usage", answer.some("usage")?);
        events::write(&mut out, &last.json());
    }
    out.extend_from_slice(b"data: [DONE]\n\n");
    Some(out)
}

/// A message on its way into deltas.
#[derive(Default)]
struct Deltas {
    /// What the first delta holds.
    first: Fields<'static>,
    /// The others, each with whether log probabilities belong to it.
    rest: Vec<(Fields<'static>, bool)>,
}

impl Deltas {
    fn push(&mut self, key: &str, value: String, logprobs: bool) {
        self.rest
            .push((Fields::default().with(key, value), logprobs));
    }

    /// A text: an empty one or none at all in the first delta, else in one of its own.
    fn text(&mut self, key: &str, value: &str) -> Option<()> {
        match is_null(value) || text(value)?.is_empty() {
            true => self.first.set(key, value.to_owned()),
            false => {
                if key == "content" {
                    self.first.set(key, "\"\"");
                }
                let logprobs = matches!(key, "content" | "refusal");
                self.push(key, value.to_owned(), logprobs);
            }
        }
        Some(())
    }

    /// An array: an empty one or none at all in the first delta, else in one of its own.
    fn list(&mut self, key: &str, value: &str) -> Option<()> {
        match is_null(value) || items(value)?.is_empty() {
            true => self.first.set(key, value.to_owned()),
            false => self.push(key, value.to_owned(), false),
        }
        Some(())
    }

    fn tool_calls(&mut self, value: &str) -> Option<()> {
        if is_null(value) || items(value)?.is_empty() {
            self.first.set("tool_calls", value.to_owned());
            return Some(());
        }
        let calls = items(value)?;
        if calls.len() > CALLS_MAX {
            return None;
        }
        for (index, call) in calls.into_iter().enumerate() {
            let index = index.to_string();
            let call = Fields::read(call)?;
            let mut start = object([("index", &index)]);
            let mut arguments = None;
            for (key, value) in call.iter() {
                match key {
                    "function" if !is_null(value) => {
                        let (function, rest) = split_arguments(value)?;
                        start.set(key, function);
                        arguments = rest;
                    }
                    _ => start.set(key, value),
                }
            }
            self.push("tool_calls", array([start.json()]), false);
            if let Some(arguments) = arguments {
                let function = object([("arguments", &arguments)]).json();
                let more = object([("index", &index), ("function", &function)]);
                self.push("tool_calls", array([more.json()]), false);
            }
        }
        Some(())
    }

    fn function_call(&mut self, value: &str) -> Option<()> {
        if is_null(value) {
            self.first.set("function_call", value.to_owned());
            return Some(());
        }
        let (start, arguments) = split_arguments(value)?;
        self.push("function_call", start, false);
        if let Some(arguments) = arguments {
            let more = object([("arguments", &arguments)]).json();
            self.push("function_call", more, false);
        }
        Some(())
    }
}

/// A function with empty arguments, and the arguments if there are any.
fn split_arguments(function: &str) -> Option<(String, Option<String>)> {
    let function = Fields::read(function)?;
    let Some(arguments) = function.some("arguments") else {
        return Some((function.json(), None));
    };
    if text(arguments)?.is_empty() {
        return Some((function.json(), None));
    }
    let arguments = arguments.to_owned();
    Some((function.with("arguments", "\"\"").json(), Some(arguments)))
}

/// The pieces of one choice, each a choice of a chunk.
fn pieces(choice: &str) -> Option<Vec<String>> {
    let choice = Fields::read(choice)?;
    let message = Fields::read(choice.get("message")?)?;
    text(message.get("role")?)?;
    let mut deltas = Deltas::default();
    // In the order in which models speak, whatever the order of the members is.
    let order = ["reasoning", "reasoning_content", "content", "refusal"];
    for (key, value) in message.iter() {
        match key {
            "reasoning_details" | "annotations" | "tool_calls" | "function_call" => {}
            key if order.contains(&key) => {}
            _ => deltas.first.set(key, value.to_owned()),
        }
    }
    if let Some(value) = message.get("reasoning_details") {
        deltas.list("reasoning_details", value)?;
    }
    for key in order {
        if let Some(value) = message.get(key) {
            deltas.text(key, value)?;
        }
    }
    if let Some(value) = message.get("annotations") {
        deltas.list("annotations", value)?;
    }
    if let Some(value) = message.get("function_call") {
        deltas.function_call(value)?;
    }
    if let Some(value) = message.get("tool_calls") {
        deltas.tool_calls(value)?;
    }
    frame_choice(&choice, deltas)
}

/// Puts deltas into the choices of chunks. What a choice holds besides goes into the first: some
/// clients take it from there only.
fn frame_choice(choice: &Fields<'_>, deltas: Deltas) -> Option<Vec<String>> {
    let index = choice.get("index")?;
    let mut logprobs = choice.some("logprobs");
    let mut bare = object([("index", index), ("delta", "{}")]);
    if choice.get("logprobs").is_some() {
        bare.set("logprobs", "null");
    }
    bare.set("finish_reason", "null");
    let mut first = bare.clone().with("delta", deltas.first.json());
    for (key, value) in choice.iter() {
        if !matches!(key, "index" | "message" | "logprobs" | "finish_reason") {
            first.set(key, value);
        }
    }
    let mut pieces = vec![first.json()];
    for (delta, takes_logprobs) in deltas.rest {
        let mut piece = bare.clone().with("delta", delta.json());
        if let Some(logprobs) = logprobs.take_if(|_| takes_logprobs) {
            piece.set("logprobs", logprobs);
        }
        pieces.push(piece.json());
    }
    let mut last = bare.with("finish_reason", choice.get("finish_reason")?);
    if let Some(logprobs) = logprobs {
        last.set("logprobs", logprobs);
    }
    pieces.push(last.json());
    Some(pieces)
}

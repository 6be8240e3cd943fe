//! The grammar that Ollama's chat and generate share.
//!
//! Answers come in lines unless `stream` is false. They are complete iff the last line has
//! `done: true` and no line is an error. An answer in one piece is that one line.
//!
//! Complete, yet not worth keeping unless the operator says so: an answer that was cut by length,
//! that is empty or has a tool call whose arguments are not an object.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json_body::{JsonJudge, Reading};
use super::lines::LinesJudge;
use super::output::end_fault;
use super::request::Request;
use super::sse::Event;
use super::stream::{Seen, StreamRules};
use super::wire::{Count, Filled, Object, Text, any_filled, text, tokens};
use super::{Bypass, Facts, Fault, Form, Judge, Usage, Worth};
use crate::key::canonical::{Canonical, without_case};

/// How long the model stays loaded.
pub(super) const IGNORED: &[&str] = &["keep_alive"];

/// Fields that Ollama knows. It reads them in any case.
const FIELDS: &[&str] = &[
    "context",
    "dimensions",
    "format",
    "height",
    "images",
    "input",
    "keep_alive",
    "logprobs",
    "messages",
    "model",
    "name",
    "options",
    "prompt",
    "raw",
    "shift",
    "steps",
    "stream",
    "suffix",
    "system",
    "template",
    "think",
    "tools",
    "top_logprobs",
    "truncate",
    "width",
];

/// Refuses fields in another case than they should have: what they say is not read here.
pub(super) fn refuse_odd_names(request: &mut Request<'_>, body: &Canonical) {
    let is_odd = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        let reads = |known: &&str| without_case(&name).eq(known.chars());
        FIELDS.iter().any(|known| *known != name && reads(known))
    };
    let any = body.members().any(|(name, _)| is_odd(name));
    request.refuse_if(any, Bypass::OddField);
}

pub(super) fn judge(_: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    match form {
        Form::Lines => Some(LinesJudge::boxed(Tally::new(worth))),
        Form::Json => Some(JsonJudge::boxed(move |body| read(body, worth))),
        Form::Stream | Form::Text | Form::Binary => None,
    }
}

fn read(body: &str, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(line) = serde_json::from_str::<Object<Line<'_>>>(body)?;
    let mut tally = Tally::new(worth);
    tally.add(&line);
    let keep = match (line.error, line.done) {
        (Some(_), _) => Err(Fault::ErrorObject),
        (None, None) => Err(Fault::BadShape),
        (None, Some(false)) => Err(Fault::IncompleteStatus),
        (None, Some(true)) => tally.complete(),
    };
    Ok((keep, tally.usage))
}

#[derive(Deserialize)]
struct Line<'a> {
    error: Option<IgnoredAny>,
    done: Option<bool>,
    #[serde(borrow)]
    done_reason: Option<Text<'a>>,
    /// Chat.
    #[serde(borrow)]
    message: Option<Object<Message<'a>>>,
    /// Generate.
    response: Option<Filled>,
    /// Generate, by a model that paints.
    image: Option<Filled>,
    #[serde(default)]
    prompt_eval_count: Count,
    #[serde(default)]
    eval_count: Count,
}

#[derive(Deserialize)]
struct Message<'a> {
    content: Option<Filled>,
    images: Option<Filled>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Object<ToolCall<'a>>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Object<Function<'a>>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl ToolCall<'_> {
    /// A function without parameters may come without arguments.
    fn is_good(&self) -> bool {
        let Some(Object(function)) = &self.function else {
            return false;
        };
        function
            .arguments
            .is_none_or(|arguments| arguments.get().starts_with('{'))
    }
}

struct Tally {
    worth: Worth,
    filled: bool,
    bad_call: bool,
    end_fault: Option<Fault>,
    usage: Option<Usage>,
}

impl Tally {
    fn new(worth: Worth) -> Tally {
        Tally {
            worth,
            filled: false,
            bad_call: false,
            end_fault: None,
            usage: None,
        }
    }

    fn add(&mut self, line: &Line<'_>) {
        self.filled |= any_filled(&[&line.response, &line.image]);
        if let Some(Object(message)) = &line.message {
            let calls = message.tool_calls.as_deref().unwrap_or_default();
            self.bad_call |= !calls.iter().all(|Object(call)| call.is_good());
            self.filled |= !calls.is_empty() || any_filled(&[&message.content, &message.images]);
        }
        if line.done == Some(true) {
            self.end_fault = match text(&line.done_reason) {
                // Nothing was asked.
                "load" | "unload" => Some(Fault::Empty),
                reason => end_fault(reason),
            };
        }
        let usage = tokens(line.prompt_eval_count, line.eval_count);
        self.usage = usage.or(self.usage);
    }
}

impl StreamRules for Tally {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        let line = std::str::from_utf8(event.data)
            .ok()
            .and_then(|data| serde_json::from_str::<Object<Line<'_>>>(data).ok());
        let Some(Object(line)) = line else {
            return seen.fail(Fault::BadFrame);
        };
        self.add(&line);
        seen.spent(self.usage);
        if line.error.is_some() {
            seen.fail(Fault::ErrorObject);
        }
        if line.error.is_some() || line.done == Some(true) {
            seen.end();
        }
    }

    fn complete(&self) -> Result<(), Fault> {
        self.worth.pass(self.end_fault.map_or(Ok(()), Err))?;
        if self.bad_call {
            self.worth.check(Fault::BadToolCall)?;
        }
        match self.filled {
            true => Ok(()),
            false => self.worth.check(Fault::Empty),
        }
    }
}
